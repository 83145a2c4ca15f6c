"""The page on servers that know nothing of us: its examples run, its table is what the search finds."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fsmserver.testing import foreign
from fsmserver.testing.foreign_scripts import Host, Script
from fsmserver.testing.foreign_search import run
from tests.specimens import tutorial

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "drop_in.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_python_block_runs(number: int, tmp_path: Path) -> None:
    example = tmp_path / "example.py"
    example.write_text(BLOCKS[number], encoding="utf-8")
    done = subprocess.run([sys.executable, "-W", "error", str(example)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)


def test_there_are_python_blocks() -> None:
    assert len(BLOCKS) == 3


def test_its_findings_are_those_of_the_driver() -> None:
    assert set(re.findall(r"^\| `(\w[\w ]*)`", PAGE, flags=re.MULTILINE)) | {"forgets after the end"} == set(
        re.findall(r"^\| `(\w[\w ]*)`", foreign.__doc__ or "", flags=re.MULTILINE)
    )


SHOWN = {
    "KeyError when": "dies: KeyError",
    "closes on": "closes",
    "dies when": "dies: ConnectionResetError",
    "one client": "hoards",
    "forgets what": "forgets",
    "dies past": "dies: ValueError",
}


@pytest.mark.parametrize("fault", list(SHOWN))
def test_its_scripts_show_what_they_are_said_to_show(fault: str) -> None:
    [(script, taken)] = re.findall(rf"^\| {fault} .+ \| `(.+)`(?:, where (\d+) .*)? \|$", PAGE, flags=re.MULTILINE)
    operations = [(name, *ast.literal_eval(f"[{arguments}]")) for name, arguments in re.findall(r"(\w+)\((.*?)\)", script)]
    host = Host(first_descriptor=int(taken or 3))
    report = run(lambda: tutorial.main("127.0.0.1", 8008), Script(host, tuple(operations)))
    assert [str(finding) for finding in report.findings if str(finding).startswith(SHOWN[fault])]
