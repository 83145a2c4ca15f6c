"""`check`: what a server wrote is taken, the first bad line is named, and what is no trace is said to be none."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from fsmserver.cli import checking, main
from fsmserver.cli.checking import Unreadable, check_traces, decode_plainly, decoders, pieces
from fsmserver.core.behaviour import Behaviour
from fsmserver.core.line import Line
from tests.driven import plain_trace

COMMAND = [sys.executable, "-m", "fsmserver"]
PATIENCE_S = 30


def write(path: Path, lines: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    return str(path)


@pytest.fixture(params=["msgspec", "plainly"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have lines read by msgspec, or as if that were not installed."""
    if request.param == "plainly":
        monkeypatch.setitem(sys.modules, "msgspec", None)
        assert list(decoders()) == [decode_plainly]
    else:
        pytest.importorskip("msgspec")
        assert decode_plainly not in decoders()
    return str(request.param)


@pytest.mark.usefixtures("reading")
def test_a_behaviour_is_counted_and_the_exit_code_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = plain_trace(7)
    path = write(tmp_path / "good.jsonl", lines)
    assert check_traces([path]) == 0
    count = len({line["connection"] for line in lines})
    assert capsys.readouterr().out.startswith(
        f"{path}: a behaviour of the machine: {len(lines)} lines, {len(lines)} transitions, {count} connections, at most "
    )


@pytest.mark.usefixtures("reading")
def test_the_first_bad_line_is_named_and_the_exit_code_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "PIECE_BYTES", 1000)  # so that it stands in one of many pieces
    lines = plain_trace(7)
    number = next(index for index, line in enumerate(lines) if index > 20 and line["event"] == "drain")
    del lines[number]
    path = write(tmp_path / "bad.jsonl", lines)
    assert check_traces([path]) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"{path}:{number + 1}: connection {lines[number]['connection']}: expected ")
    assert said.count("\n") == 1


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("name", ["event", "from", "to", "interest", "deadline"])
def test_a_word_that_no_machine_uses_is_no_behaviour(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = plain_trace(7)
    lines[5][name] = "frob"
    path = write(tmp_path / "bad.jsonl", lines)
    assert check_traces([path]) == 1
    assert f"{path}:6: " in (said := capsys.readouterr().out)
    assert "not 'frob'" in said


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"", "line 4 is not a line of a trace: Expecting value"),
        (b"hello", "line 4 is not a line of a trace: Expecting value"),
        (b"[1]", "line 4 is not a line of a trace: it is list, not an object"),
        (b'{"t":1.5}', "line 4 is not a line of a trace: 'connection' is missing"),
        (b'{"t":NaN}', "line 4 is not a line of a trace: NaN is not JSON"),
        (b'{"t":1} {"t":2}', "line 4 is not a line of a trace: Extra data"),
        (b"\xff", "line 4 is not a line of a trace: 'utf-8' codec can't decode"),
    ],
)
def test_what_is_no_line_of_a_trace_is_named_and_the_exit_code_is_2(
    line: bytes, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.jsonl"
    write(path, plain_trace(7))
    good = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*good[:3], line, *good[3:], b""]))
    assert check_traces([str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"fsmserver: {path}: {sentence}")


@pytest.mark.usefixtures("reading")
def test_a_field_of_another_kind_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = plain_trace(7)
    lines[4]["outbox"] = "much"
    assert check_traces([write(tmp_path / "odd.jsonl", lines)]) == 2
    assert "line 5 is not a line of a trace: 'outbox' must be a whole number, not 'much'" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_said_to_be_unreadable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_traces([str(tmp_path / "none.jsonl")]) == 2
    assert "it cannot be read: No such file or directory" in capsys.readouterr().err


@pytest.mark.usefixtures("reading")
def test_a_trace_that_was_cut_off_is_taken_as_a_piece_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = plain_trace(7)
    path = Path(write(tmp_path / "cut.jsonl", lines[7:-9]))
    assert check_traces([str(path)]) == 1
    assert check_traces([str(path)], whole=False) == 0
    path.write_bytes(path.read_bytes()[:-30])  # in the middle of a line
    assert check_traces([str(path)], whole=False) == 0
    assert f"{len(lines) - 17} lines" in capsys.readouterr().out


@pytest.mark.usefixtures("reading")
def test_a_whole_trace_does_not_end_in_the_middle_of_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(write(tmp_path / "cut.jsonl", plain_trace(7)))
    path.write_bytes(path.read_bytes()[:-30])
    assert check_traces([str(path)]) == 2
    assert "is not a line of a trace" in capsys.readouterr().err


def test_of_several_files_each_is_judged_and_the_worst_gives_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(tmp_path / "good.jsonl", plain_trace(7))
    bad = write(tmp_path / "bad.jsonl", plain_trace(2)[1:])
    assert check_traces([good, bad, good]) == 1
    assert check_traces([str(tmp_path / "none.jsonl"), good]) == 2
    assert capsys.readouterr().out.count("a behaviour of the machine") == 3


def test_a_file_without_lines_is_not_read_to_its_end() -> None:
    endless = io.BytesIO(b"x" * (4 << 20))
    with pytest.raises(ValueError, match="it does not end within 1048576 bytes"):
        list(pieces(endless))
    assert endless.tell() < 2 << 20


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 1000])
def test_pieces_end_where_lines_do_however_they_are_read(piece_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "PIECE_BYTES", piece_bytes)
    for data in (b"", b"a\nbc\n\ndef\n", b"a\nbc\nd", b"abcdef", b"\n"):
        cut = list(pieces(io.BytesIO(data)))
        assert b"".join(cut) == data
        assert all(piece.endswith(b"\n") for piece in cut[:-1])


def test_both_ways_of_reading_give_the_same_lines() -> None:
    pytest.importorskip("msgspec")
    quick = decoders()[0]
    for line in islice(plain_trace(3), 200):
        paper = json.dumps(line).encode()
        fast, plain = quick(paper), decode_plainly(paper)
        assert [getattr(fast, name) for name in Line._fields] == list(plain)


OPENED = json.dumps(plain_trace(7)[0] | {"connection": 1, "since": 1.0, "t": 1.0}).encode()


@pytest.mark.usefixtures("reading")
def test_exchanges_are_read_and_counted_as_the_lines_that_they_stand_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, line in (
        ("written", b'{"t":2.5,"event":"exchange","of":[1, 5, 7, 1, 6, 8]}'),
        ("loose", b'{"of": [1,5,7,1,6,8], "event": "exchange", "t": 2.5}'),
    ):
        path = tmp_path / name
        path.write_bytes(OPENED + b"\n" + line + b"\n")
        assert check_traces([str(path)], whole=False) == 0
        assert capsys.readouterr().out == f"{path}: a behaviour of the machine: 2 lines, 9 transitions, 1 connections, at most 1 at once\n"


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b'{"t":2.5,"event":"exchange"}', "'of' is missing"),
        (b'{"t":2.5,"event":"exchange","of":[]}', "'of' must have 3 numbers for each message, not 0 in all"),
        (b'{"t":2.5,"event":"exchange","of":[1,5]}', "'of' must have 3 numbers for each message, not 2 in all"),
        (b'{"t":2.5,"event":"exchange","of":[1,5,0]}', "'of' must be a list of whole numbers over 0, not with 0 in it"),
        (b'{"t":2.5,"event":"exchange","of":[1,5,true]}', "'of' must be a list of whole numbers over 0, not with True in it"),
        (b'{"t":"2","event":"exchange","of":[1,5,7]}', "'t' must be a number, not '2'"),
    ],
)
def test_what_is_wrong_with_exchanges_is_named_and_the_exit_code_is_2(
    line: bytes, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(OPENED + b"\n" + line + b"\n")
    assert check_traces([str(path)], whole=False) == 2
    assert capsys.readouterr().err == f"fsmserver: {path}: line 2 is not a line of a trace: {sentence}\n"


@pytest.mark.usefixtures("reading")
def test_lines_are_counted_as_they_are_on_paper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.jsonl"
    group = b'{"t":2.5,"event":"exchange","of":[1,5,7,1,6,8]}\n'
    path.write_bytes(OPENED + b"\n" + 2 * group + b'{"t":2.5,"event":"exchange","of":[1,5,7,9,6,8]}\n' + group)
    assert check_traces([str(path)]) == 1
    assert capsys.readouterr().out == f"{path}:4: connection 9: expected no exchange of it: it is not open\n"


def test_memory_does_not_grow_with_the_lines(tmp_path: Path) -> None:
    """A trace is read in pieces: the file is never held, whatever its length."""
    path = Path(write(tmp_path / "good.jsonl", plain_trace(7)))
    behaviour = Behaviour()
    checking.follow(str(path), behaviour)
    assert not behaviour._open
    with pytest.raises(Unreadable):
        checking.follow(str(tmp_path), behaviour)


def test_the_command_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "cut.jsonl", plain_trace(7)[3:])
    for arguments, code in ((["check", path], 1), (["check", "--partial", path], 0), (["check"], 2)):
        monkeypatch.setattr(sys, "argv", ["fsmserver", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
    assert "traces" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("poller", ["select", "poll", "epoll"])
def test_what_a_real_server_wrote_is_a_behaviour(poller: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    serve = [*COMMAND, "serve", "--listen", "127.0.0.1:0", "--trace", str(trace), "--poller", poller, "--outbox-high-bytes", "100000"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rsplit(b":", 1)[1])
            for data in (b"", b"hello", b"x" * 3_000_000):
                echo(port, data)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
    assert check_traces([str(trace)]) == 0
    events = {json.loads(line)["event"] for line in trace.read_text().splitlines()}
    assert events >= {"open", "exchange", "eof", "finish"}


def echo(port: int, data: bytes) -> None:
    """Send it all before anything is read, so that the server's outbox fills; then read what comes back."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sent, received = memoryview(data), 0
        while sent:
            client.setblocking(False)
            try:
                sent = sent[client.send(sent) :]
            except BlockingIOError:
                client.settimeout(PATIENCE_S)
                received += len(client.recv(1 << 20))
        client.settimeout(PATIENCE_S)
        client.shutdown(socket.SHUT_WR)
        while got := client.recv(1 << 20):
            received += len(got)
        assert received == len(data)
