"""What runs on which build of the package."""

import pytest

from fsmserver.core import compiling
from tests import builds

pytest_plugins = ["pytester"]

SUITE = """
import pytest

@pytest.mark.pure
def test_that_replaces_a_method(): pass

def test_of_behaviour(): pass
"""


def run(pytester: pytest.Pytester) -> pytest.RunResult:
    pytester.makepyfile(SUITE)
    pytester.makeini("[pytest]\nmarkers = pure")
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:cov", plugins=[builds])


def test_on_the_pure_build_everything_runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "is_compiled", lambda: False)
    done = run(pytester)
    done.assert_outcomes(passed=2, deselected=0)
    done.stdout.fnmatch_lines(["fsmserver: pure Python"])


def test_on_the_compiled_build_what_takes_the_pure_one_is_left_out_and_counted(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "is_compiled", lambda: True)
    done = run(pytester)
    done.assert_outcomes(passed=1, deselected=1)
    done.stdout.fnmatch_lines(["fsmserver: compiled; tests that are marked `pure` are deselected"])


def test_these_hooks_are_those_of_this_run(request: pytest.FixtureRequest) -> None:
    hook = request.config.hook.pytest_collection_modifyitems
    assert builds.pytest_collection_modifyitems in [each.function for each in hook.get_hookimpls()]
