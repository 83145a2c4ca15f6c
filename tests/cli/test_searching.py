"""The commands `simulate` and `replay`, in this process: what they print, and how they end."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fsmserver.cli import searching
from fsmserver.cli.app import app
from fsmserver.cli.echo import Echo
from fsmserver.testing import campaign

FRAGILE = "tests.cli.test_searching:Fragile"

Command = Callable[..., int]


class Fragile(Echo):
    """Cannot bear long messages."""

    def data_received(self, data: bytes) -> None:
        if len(data) > 60:
            raise ValueError("that is long")
        super().data_received(data)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Run a command line in a folder of its own; give the exit code."""
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(root)

    def run(*arguments: str) -> int:
        try:
            return int(app(list(arguments), standalone_mode=False) or 0)
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            sys.stderr.write(f"{error.format_message()}\n")
            return int(error.exit_code)  # type: ignore[attr-defined] # as the command line's own main has it

    return run


def test_a_search_that_finds_nothing_says_what_it_saw_and_ends_well(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("simulate", "--seeds", "5") == 0
    out = capsys.readouterr().out
    for word in ("checked steps", "simulated hours", "pairs of transitions", "errnos", "digest "):
        assert word in out


def test_what_is_found_is_kept_and_can_be_repeated(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    shelf = ("--database", "shelf")
    assert command("simulate", "--seeds", "10", "--protocol", FRAGILE, "--failures", "kept", *shelf) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "ValueError: that is long" in out
    assert "operations are enough" in out
    files = sorted(Path("kept").iterdir())
    assert files
    assert command("replay", str(files[0])) == 1
    captured = capsys.readouterr()
    assert "--receive-->" in captured.out or "recv(" in captured.out
    assert "that is long" in captured.err
    assert command("replay", str(files[0]), "--diagram") == 1
    assert capsys.readouterr().out.startswith("sequenceDiagram")
    assert command("simulate", "--seeds", "1", "--first", "500000", "--protocol", FRAGILE, *shelf) == 1, "kept seeds come first"


def test_a_failure_that_is_mended_is_said_to_be(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    command("simulate", "--seeds", "10", "--protocol", FRAGILE)
    path = min(Path("failures").iterdir())
    path.write_text(path.read_text().replace(FRAGILE, "fsmserver.cli.echo:Echo"))
    assert command("replay", str(path), "--step") == 0
    assert "it does not fail any more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["simulate", "--seeds", "0"], "at least one seed"),
        (["simulate", "--poller", "kqueue"], "no simulated poller 'kqueue'"),
        (["simulate", "--faults", "frogs"], "no fault 'frogs'"),
        (["simulate", "--protocol", "nowhere:Nothing"], "'nowhere' cannot be imported"),
        (["simulate", "--dask", "tcp://127.0.0.1:1"], "cannot be reached"),
        (["replay", "nothing.json"], "'nothing.json' cannot be read: No such file"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.setattr(searching, "DASK_PATIENCE", "1s")
    assert command(*arguments) == 2
    assert sentence in capsys.readouterr().err


def test_a_file_that_is_no_failure_is_one_sentence(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    Path("other.json").write_text("{}")
    assert command("replay", "other.json") == 2
    assert "'other.json' cannot be replayed: it is not a recorded failure" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_loses_no_finding(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").write_text("a file")
    assert command("simulate", "--seeds", "10", "--protocol", FRAGILE, "--failures", "taken") == 1
    out = capsys.readouterr().out
    assert "cannot be kept in 'taken'" in out
    assert "operations are enough" in " ".join(out.split())


def test_blindness_is_said_and_is_a_failure(command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "ENOUGH_SEEDS", 1)
    assert command("simulate", "--seeds", "1") == 1
    assert "blind: " in capsys.readouterr().out


@pytest.mark.slow
def test_a_pool_of_processes_gives_the_same_digest(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    digests = []
    for jobs in ("1", "2"):
        assert command("simulate", "--seeds", "25", "--jobs", jobs) == 0
        digests.append(capsys.readouterr().out.split("digest ")[1])
    assert digests[0] == digests[1]


def test_what_the_extras_bring_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> None:
        raise ImportError("no module")

    monkeypatch.setattr(campaign, "open_database", missing)
    with pytest.raises(ValueError, match="needs the extras"):
        searching.open_shelf("shelf")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match="extra distributed"), searching.open_executor(1, "tcp://127.0.0.1:1"):
        pass
