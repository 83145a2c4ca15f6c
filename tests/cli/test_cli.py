"""The command line: what it prints, and how it ends. Wrong arguments are tried in this process, all else in real ones."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fsmserver import __version__
from fsmserver.cli import main
from fsmserver.cli.client import StreamFailed, talk
from fsmserver.cli.diagram import arrows, dot, markdown, mermaid
from fsmserver.core.limits import Limits
from fsmserver.core.states import Event, State
from fsmserver.core.table import CONNECTION

COMMAND = [sys.executable, "-m", "fsmserver"]
PATIENCE_S = 20


def command(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], input=given, capture_output=True, timeout=PATIENCE_S, check=False)


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    arguments = ("serve", *arguments, "--listen", "127.0.0.1:0")
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            banner = [process.stdout.readline() for _ in range(3)]
            assert [line.split()[0] for line in banner] == [b"listening", b"poller", b"limits:"]
            yield process, int(banner[0].rsplit(b":", 1)[1])
        finally:
            process.kill()


def end(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["serve", "nowhere:Class"], 2, "the module 'nowhere' cannot be imported"),
        (["serve", "json:Nothing"], 2, "the module 'json' has no 'Nothing'"),
        (["serve", "json"], 2, "write module:Class"),
        (["serve", "builtins:int"], 2, "is not a protocol"),
        (["serve", "sys:path"], 2, "is not a class or a function"),
        (["serve", "--poller", "magic"], 2, "there is no poller 'magic'"),
        (["serve", "--idle-s", "-1"], 2, "idle_s must be a number of seconds over 0, not -1.0"),
        (["serve", "--idle-s", "soon"], 2, "--idle-s"),
        (["serve", "--connections", "0"], 2, "connections must be a whole number of at least 1"),
        (["serve", "--listen", "here"], 2, "'here' needs a port"),
        (["serve", "--listen", "ftp://x:1"], 2, "is not an address"),
        (["serve", "--listen", "fd://99999999999999999999"], 2, "is not an address"),
        (["serve", "--listen", "fd://99999"], 1, "cannot listen on fd://99999: Bad file descriptor"),
        (["serve", "--listen", "127.0.0.1:0/path"], 2, "'127.0.0.1:0/path' needs a port"),
        (["serve", "--listen", "somebody@127.0.0.1:0"], 2, "'somebody@127.0.0.1:0' needs a port"),
        (["serve", "--listen", f"{'x' * 64}.org:0"], 1, "cannot listen on tcp://xxx"),
        (["serve", "--listen", "unix:///nowhere/at/all"], 1, "cannot listen on unix:///nowhere/at/all: No such file or directory"),
        (["serve", "--backlog", "0"], 2, "backlog must be a whole number of at least 1"),
        (["serve", "..:Class"], 2, "'..:Class' does not name a protocol"),
        (["serve", "asyncio.streams:StreamReaderProtocol"], 2, "'asyncio.streams:StreamReaderProtocol' needs arguments"),
        (["serve", "--exceptional", "panic"], 2, "'panic' is not a choice of --exceptional: discard, inline, close"),
        (["serve", "--when-full", "panic"], 2, "'panic' is not a choice of --when-full: wait, refuse"),
        (["serve", "--show", "nothing"], 2, "'nothing' cannot be shown; there are rounds and transitions"),
        (["serve", "--trace", "/nowhere/at/all"], 2, "the trace cannot be written to '/nowhere/at/all'"),
        (["serve", "--unknown"], 2, "No such option"),
        (["unknown"], 2, "No such command"),
        (["connect", "nowhere"], 2, "needs a port"),
        (["connect", "unix:///x"], 2, "is not HOST:PORT"),
        (["connect", "127.0.0.1:1"], 1, "cannot connect to 127.0.0.1:1: Connection refused"),
        (["connect", f"{'x' * 64}.org:1"], 1, "cannot connect to xxx"),
        (["diagram", "--format", "oil"], 2, "there is no format 'oil'"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    arguments: list[str], code: int, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_here(arguments, monkeypatch) == code
    words = capsys.readouterr().err
    assert sentence in words
    assert len(words.splitlines()) == 1


def main_here(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    """Run the command line in this process; give its exit code."""
    monkeypatch.setattr(sys, "argv", ["fsmserver", *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("def wrong(:", "cannot be imported: SyntaxError"),
        ("import nothing_of_this_name", "cannot be imported: No module named 'nothing_of_this_name'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert main_here(["serve", "broken_module:Class"], monkeypatch) == 2
    assert f"the module 'broken_module' {sentence}" in capsys.readouterr().err


def test_what_is_wrong_ends_the_process_with_its_code() -> None:
    done = command("serve", "nowhere:Class")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"fsmserver: the module 'nowhere' cannot be imported: No module named 'nowhere'\n"


@pytest.mark.network
def test_a_port_in_use_is_a_failure_to_serve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main_here(["serve", "--listen", f"127.0.0.1:{port}"], monkeypatch) == 1
    assert capsys.readouterr().err == f"fsmserver: cannot listen on tcp://127.0.0.1:{port}: Address already in use\n"


def test_the_help_names_every_limit_with_its_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main_here(["serve", "--help"], monkeypatch) == 0
    words = capsys.readouterr().out
    for name, each in Limits.declared.items():
        assert f"--{name.replace('_', '-')}" in words
        assert each.about in words


@pytest.mark.parametrize(("compiled", "words"), [(False, "pure Python"), (True, "compiled")])
def test_the_version_says_which_build_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, *, compiled: bool
) -> None:
    monkeypatch.setattr("fsmserver.cli.app.is_compiled", lambda: compiled)
    assert main_here(["--version"], monkeypatch) == 0
    assert capsys.readouterr().out == f"fsmserver {__version__}, {words}\n"


@pytest.mark.slow
@pytest.mark.network
def test_connect_in_a_pipe_prints_the_answer_and_ends_well(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    with serving("--trace", str(trace), "--show", "rounds", "--show", "transitions") as (process, port):
        done = command("connect", f"127.0.0.1:{port}", given=b"hi")
        assert (done.returncode, done.stdout) == (0, b"hi")
        big = os.urandom(1 << 20)
        assert command("connect", f"127.0.0.1:{port}", given=big).stdout == big
        code, out, err = end(process)
    assert code == 0
    assert "readable: [" in out
    assert "queued --flush--> writing" in out
    assert "opened" in err
    assert "finished by the peer while reading; 2 bytes in, 2 bytes out" in err
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    first = [(line["event"], line["to"]) for line in lines if line["connection"] == 1]
    assert first[0] == ("open", "reading")
    assert first[-1] == ("finish", "closed")
    assert all(line["written"] == line["taken"] + line["outbox"] + line["discarded"] for line in lines)


@pytest.mark.slow
@pytest.mark.network
def test_connect_says_so_when_the_server_goes_first() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [*COMMAND, "connect", f"127.0.0.1:{listener.getsockname()[1]}"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        listener.accept()[0].close()
        assert process.wait(PATIENCE_S) == 1
        assert process.stderr is not None
        assert process.stdin is not None
        assert process.stderr.read() == b"Server Down!\n"
        process.stdin.close()
        process.stderr.close()


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("redirection", ["<&- >&- 2>&-", "--show rounds >/dev/full 2>/dev/full"])
def test_a_server_whose_standard_streams_are_gone_serves(redirection: str) -> None:
    """An inherited socket tells the port, where no output can."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = f"exec {sys.executable} -m fsmserver serve --listen fd://{listener.fileno()} {redirection}"
        with subprocess.Popen(["sh", "-c", line], pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL) as process:
            try:
                with socket.create_connection(listener.getsockname(), timeout=PATIENCE_S) as client:
                    client.sendall(b"x")
                    assert client.recv(100) == b"x"
                process.send_signal(signal.SIGTERM)
                assert process.wait(PATIENCE_S) == 0
            finally:
                process.kill()


@pytest.mark.slow
@pytest.mark.network
def test_a_trace_on_a_full_disk_is_given_up_and_the_server_goes_on() -> None:
    with serving("--quiet", "--trace", "/dev/full") as (process, port):
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
                client.sendall(b"hi")
                assert client.recv(2) == b"hi"
        code, _, err = end(process)
    assert code == 0
    assert err.count("the trace /dev/full ends here: No space left on device; the server goes on without it") == 1
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("source", "sink", "sentence"),
    [("/dev/null", "/dev/full", "standard output: No space left on device"), ("/", "/dev/null", "standard input: Is a directory")],
)
def test_a_client_tells_its_own_streams_from_the_server(source: str, sink: str, sentence: str) -> None:
    ours, theirs = socket.socketpair()
    reading, writing = os.open(source, os.O_RDONLY), os.open(sink, os.O_WRONLY)
    theirs.send(b"hello")
    with ours, theirs, pytest.raises(StreamFailed, match=sentence):
        talk(ours, reading, writing)
    os.close(reading)
    os.close(writing)


@pytest.mark.slow
@pytest.mark.network
def test_replies_in_flight_arrive_when_it_is_told_to_stop() -> None:
    with serving("--quiet") as (process, port), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(b"x" * 100_000)
        process.send_signal(signal.SIGTERM)
        assert b"".join(iter(lambda: client.recv(1 << 16), b"")) == b"x" * 100_000
        client.close()
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.slow
@pytest.mark.network
def test_a_second_signal_ends_it_at_once() -> None:
    options = ("--quiet", "--drain-quiet-s", "1000", "--drain-s", "1000")
    with serving(*options) as (process, port), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        process.send_signal(signal.SIGTERM)
        while not _is_refused(port):
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 1


def _is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S).close()
    except OSError:
        return True
    return False


def test_every_arrow_of_the_table_is_in_every_drawing() -> None:
    for origin, row in CONNECTION.arrows.items():
        for event, destination in row.items():
            assert event in arrows()[origin, destination]
    for (origin, destination), events in arrows().items():
        assert f"{origin} --> {destination}: {', '.join(events)}" in mermaid()
        assert f'{origin} -> {destination} [label="{", ".join(events)}"]' in dot()
    assert len(markdown().splitlines()) == 2 + len(Event)
    assert all(state in markdown() for state in State if state is not State.CLOSED)


@pytest.mark.parametrize(("form", "drawing"), [("mermaid", mermaid()), ("markdown", markdown()), ("dot", dot())])
def test_the_command_draws(form: str, drawing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main_here(["diagram", "--format", form], monkeypatch) == 0
    assert capsys.readouterr().out == drawing
