"""What cannot work on the compiled build says so, in one sentence, instead of seeing less than there is."""

from collections.abc import Callable

import pytest

from fsmserver.cli.exploring import run_exploration
from fsmserver.cli.failures import CommandFailed
from fsmserver.runtime.scheduler import Scheduler
from fsmserver.testing import builds
from fsmserver.testing.bounded import SMALL
from fsmserver.testing.builds import TakesPureBuild
from fsmserver.testing.leaks import LeakCheck
from fsmserver.testing.traces import Recorder

pytest_plugins = ["pytester"]

SENTENCE = "takes the pure build of fsmserver, and this is the compiled one: install it without FSMSERVER_COMPILE"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "is_compiled", lambda: True)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("begin", "tool"), [(LeakCheck().__enter__, "the leak check"), (Recorder().install, "the check of all traces")])
def test_a_tool_that_replaces_methods_refuses_and_replaces_none(begin: Callable[[], object], tool: str) -> None:
    before = Scheduler.__init__
    with pytest.raises(TakesPureBuild, match=f"^{tool} {SENTENCE}$"):
        begin()
    assert Scheduler.__init__ is before


@pytest.mark.usefixtures("compiled")
def test_the_command_that_explores_fails_with_the_sentence() -> None:
    with pytest.raises(CommandFailed, match=f"^the exhaustive search {SENTENCE}$"):
        run_exploration(SMALL["one connection"], small=False, most_states=None, graph=None)


@pytest.mark.slow
def test_pytest_with_the_option_ends_with_the_sentence(pytester: pytest.Pytester) -> None:
    pytester.syspathinsert()
    pytester.makepyfile(as_compiled="from fsmserver.testing import builds; builds.is_compiled = lambda: True")
    done = pytester.runpytest_subprocess("-p", "as_compiled", "-p", "no:cacheprovider", "-p", "no:cov", "--fsm-traces")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"ERROR: the check of all traces {SENTENCE}"])
