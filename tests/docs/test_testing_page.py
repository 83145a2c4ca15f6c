"""The page on testing one's own protocol: its code runs."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fsmserver.testing.leaks import LeakCheck
from fsmserver.testing.world import World

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
ONE_LINE, WITH_FIXTURES = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_one_line_runs() -> None:
    exec(ONE_LINE, {})


@pytest.mark.pure
def test_the_fixtures_are_as_it_says(sim_server: Callable[..., World], no_leaks: LeakCheck) -> None:
    space: dict[str, Any] = {}
    exec("from fsmserver.cli.echo import Echo\n" + WITH_FIXTURES, space)
    space["test_my_protocol_says_hello"](sim_server, no_leaks)
