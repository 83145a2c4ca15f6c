"""The page on exhaustive search: its examples run, and what it shows of the command is what the command prints."""

import re
from pathlib import Path

import pytest

from fsmserver.cli.exploring import COMPLETE
from fsmserver.testing.bounded import SMALL

pytestmark = pytest.mark.untraced("an explorer goes back to earlier states: what its server does is no trace")

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "explorer.md").read_text(encoding="utf-8")


@pytest.mark.pure
def test_its_examples_run() -> None:
    namespace: dict[str, object] = {}
    examples = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(example, namespace)


def test_it_shows_what_the_command_prints() -> None:
    assert f"\n{COMPLETE}\n" in PAGE


def test_it_counts_the_small_searches_rightly() -> None:
    words = {15: "fifteen", 16: "sixteen", 17: "seventeen"}
    assert f"`--small` makes {words[len(SMALL)]} searches" in PAGE
