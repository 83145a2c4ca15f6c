"""The page on traces: it names every field of a line and every word in it, and its code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fsmserver.core.line import NAMES
from fsmserver.core.reasons import Who
from fsmserver.core.states import INTEREST_WORDS, Event
from fsmserver.core.table import ALL_HOLDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "traces.md").read_text(encoding="utf-8")


def test_its_tables_have_each_name_of_a_line_and_no_other() -> None:
    cells = re.findall(r"^\| (`[^|]*`) \|", PAGE, flags=re.MULTILINE)
    assert [name for cell in cells for name in re.findall(r"`(\w+)`", cell)] == list(NAMES.values())


def test_it_has_each_word() -> None:
    for word in (*Event, *ALL_HOLDS[-1].words, *INTEREST_WORDS, *Who):
        assert f"`{word}`" in PAGE


@pytest.mark.slow
@pytest.mark.network
def test_its_code_runs() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
