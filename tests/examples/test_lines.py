"""The example of a line protocol with a planted bug: the search finds it within seconds, and what it says can be read."""

import inspect
import runpy
from pathlib import Path
from typing import Any

import pytest

from fsmserver.testing.stateful import run_machine

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "lines.py"
MACHINE_LINES = 25


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


@pytest.mark.slow
def test_the_planted_bug_is_found_and_told(example: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match=r"was answered by") as caught:
        run_machine(example["BackwardsMachine"])
    story = caught.value.__notes__[-1]
    assert "tell(1, " in story
    assert "reading --receive--> reading" in story
    assert "world.apply(('tell', 1, " in story


@pytest.mark.slow
def test_the_mended_protocol_passes(example: dict[str, Any]) -> None:
    # The small search of a test may miss a state: its least share is nothing.
    mended = type("MendedMachine", (example["BackwardsMachine"],), {"protocol": example["Mended"], "least_share": 0.0})
    run_machine(mended)


def test_the_machine_is_short(example: dict[str, Any]) -> None:
    source = EXAMPLE.read_text(encoding="utf-8").split("class BackwardsMachine")[1].split("\n\n\n")[0]
    assert len(source.splitlines()) <= MACHINE_LINES
    assert inspect.isclass(example["BackwardsMachine"])
