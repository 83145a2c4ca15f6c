"""The hooks by which these tests run on either build of the package; `conftest.py` hands them to pytest."""

import pytest

from fsmserver.core import compiling


def pytest_report_header() -> str:
    """Say which build is tested."""
    if compiling.is_compiled():
        return "fsmserver: compiled; tests that are marked `pure` are deselected"
    return "fsmserver: pure Python"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave those that take the pure build out of a run on the compiled one, and have pytest say how many."""
    if not compiling.is_compiled():
        return
    left_out = [item for item in items if item.get_closest_marker("pure")]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker("pure")]
        config.hook.pytest_deselected(items=left_out)
