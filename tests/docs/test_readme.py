"""What the README says is so: its code runs, its table is the table, its commands exist."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fsmserver.cli.diagram import markdown

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def readme_command() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_command", ROOT / "scripts" / "readme_command.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_python_block_runs(number: int) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", BLOCKS[number]], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_there_are_python_blocks() -> None:
    assert len(BLOCKS) >= 2


def test_its_grid_is_the_table() -> None:
    assert markdown() in README


def test_the_first_command_starts_the_server_and_the_second_runs_the_tests() -> None:
    commands = readme_command().commands(README)
    assert commands["start"].endswith("python -m fsmserver")
    assert "-m pytest" in commands["test"]


def test_the_files_it_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
