"""Do to a real server, from real sockets, what servers die of, and print one table of figures against their bounds.

    python scripts/ordeal.py [--poller NAME]... [--only WORD]... [--observe-s 3]

Each trial starts `python -m fsmserver serve` as a process of its own on the loopback interface, ends it, and looks at it
from outside only: what its sockets say, and what the system says of its CPU, its memory and its descriptors in `/proc`.
After every trial the server must still echo, and must hold as many descriptors as before. All loops are bounded.

Needs Linux and a hard limit of 4,096 descriptors. Takes some three minutes. Exit code 1 if any bound is missed.
"""

import argparse
import os
import random
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

from rich import box
from rich.console import Console
from rich.table import Table

from fsmserver.runtime.pollers import available

KIB: Final = 1024
MIB: Final = 1024 * KIB
PATIENCE_S: Final = 30.0
"""Nothing here takes longer on a machine that is alive."""

LOOK_S: Final = 0.02
SAME_LOOKS: Final = 10
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
OWN_DESCRIPTORS: Final = 4096
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
SEED: Final = 8008


class Figure(NamedTuple):
    """One line of the table."""

    what: str
    poller: str
    figure: str
    bound: str
    ok: bool


class Served:
    """A server in a process of its own, seen from outside."""

    def __init__(self, poller: str, *options: str, descriptors: int = OWN_DESCRIPTORS) -> None:
        """Start it under a limit of `descriptors`, and learn its port."""
        self.poller = poller
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        command = [sys.executable, "-m", "fsmserver", "serve", "--listen", "tcp://127.0.0.1:0", "--poller", poller, *options]
        limits = (descriptors, descriptors)
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdout=subprocess.PIPE,
            stderr=self._log,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits),  # noqa: PLW1509 - no threads run yet
        )
        assert self.process.stdout is not None, "it was asked for"
        self.port = int(self.process.stdout.readline().rsplit(b":", 1)[1])
        self.seen = Path("/proc", str(self.process.pid))
        assert echoes(self.connect()), "a server that was just started echoes"
        self.held_before = self.settled_descriptors()

    def connect(self) -> socket.socket:
        """Connect, with patience."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def descriptors(self) -> int:
        """Count the descriptors it holds."""
        return len(list((self.seen / "fd").iterdir()))

    def settled_descriptors(self) -> int:
        """Count them once the number has not changed for a while."""
        counts: list[int] = []

        def settled() -> bool:
            counts.append(self.descriptors())
            return len(counts) > SAME_LOOKS and len(set(counts[-SAME_LOOKS:])) == 1

        until(settled)
        return counts[-1]

    def cpu_s(self) -> float:
        """Read the user and system time it has used: proc(5), fields 14 and 15 of stat."""
        after_name = (self.seen / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / TICKS_PER_S

    def cpu_percent(self, observe_s: float) -> float:
        """Watch its CPU for a while."""
        before_s, began_s = self.cpu_s(), time.monotonic()
        time.sleep(observe_s)
        return 100 * (self.cpu_s() - before_s) / (time.monotonic() - began_s)

    def memory_bytes(self, which: str) -> int:
        """Read its resident memory now (`VmRSS`) or at its highest (`VmHWM`)."""
        lines = (self.seen / "status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * KIB for line in lines if line.startswith(which))

    def log_lines(self, *words: str) -> int:
        """Count the lines of its log that have one of `words`."""
        self._log.seek(0)
        return sum(any(word in line for word in words) for line in self._log.read().decode().splitlines())

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()


# What clients do.


def until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    """Look again and again until `condition` holds, and tell whether it came to."""
    end_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(LOOK_S)
    return True


def receive(client: socket.socket, count_bytes: int) -> bytes:
    """Receive that much, or less if the stream ends before."""
    pieces, left = [], count_bytes
    while left and (piece := client.recv(min(left, MIB))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def echoes(client: socket.socket, *, leaves: bool = True) -> bool:
    """Tell whether a few bytes come back."""
    try:
        client.sendall(b"are you there?")
        return receive(client, 14) == b"are you there?"
    except OSError:
        return False
    finally:
        if leaves:
            client.close()


def echoing(clients: Sequence[socket.socket]) -> list[socket.socket]:
    """Give those that are served: all are asked first, then all are listened to."""
    for client in clients:
        with suppress(OSError):
            client.sendall(b"?")
    served = []
    for client in clients:
        with suppress(OSError):
            if client.recv(1) == b"?":
                served.append(client)
    return served


def reset(client: socket.socket) -> None:
    """Leave with a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    client.close()


def push(client: socket.socket, data: bytes, quiet_s: float = 1.0) -> int:
    """Send `data` without reading; give up when nothing was taken for `quiet_s`. Give the number of bytes sent."""
    client.setblocking(False)
    view, pushed_bytes = memoryview(data), 0
    while pushed_bytes < len(data) and select.select([], [client], [], quiet_s)[1]:
        with suppress(BlockingIOError):
            pushed_bytes += client.send(view[pushed_bytes : pushed_bytes + MIB])
    client.settimeout(PATIENCE_S)
    return pushed_bytes


def send_in_pieces(sendall: Callable[[bytes], object], data: bytes) -> None:
    """Send all of `data` in random pieces of 1 byte to 256 KiB."""
    chance, sent_bytes = random.Random(SEED), 0  # noqa: S311 - pieces, not secrets
    while sent_bytes < len(data):
        size_bytes = int(2 ** chance.uniform(0, 18))
        sendall(data[sent_bytes : sent_bytes + size_bytes])
        sent_bytes += size_bytes


def send_and_half_close(client: socket.socket, data: bytes) -> None:
    """Send all of `data`, and say that there is no more."""
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Do `work` in a thread meanwhile. That it fails shows in what comes back."""

    def quietly() -> None:
        with suppress(OSError):
            work()

    thread = threading.Thread(target=quietly)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(PATIENCE_S)


@contextmanager
def leaving(clients: Sequence[socket.socket]) -> Iterator[None]:
    """Close the clients at the end."""
    try:
        yield
    finally:
        for client in clients:
            client.close()


# What is measured.


def share(what: str, server: Served, got: int, whole: int, unit: str = "MiB") -> Figure:
    """Compare how much came with how much was sent."""
    scale = MIB if unit == "MiB" else 1
    return Figure(what, server.poller, f"{got / scale:.4g} {unit}", f"{whole / scale:.4g} {unit}", got == whole)


def cpu(what: str, server: Served, observe_s: float, most_percent: float) -> Figure:
    """Compare its CPU with what an idle server may use."""
    percent = server.cpu_percent(observe_s)
    return Figure(what, server.poller, f"{percent:.1f} % CPU", f"under {most_percent:g} % CPU", percent < most_percent)


def fact(what: str, server: Served, got: object, wanted: object) -> Figure:
    """Compare what is so with what must be so."""
    return Figure(what, server.poller, str(got), str(wanted), got == wanted)


def well(what: str, server: Served) -> list[Figure]:
    """See that it lives, echoes, and holds the descriptors that it held before."""
    served = server.alive and echoes(server.connect())
    until(lambda: server.descriptors() == server.held_before, 10)
    lost = server.descriptors() - server.held_before
    return [fact(f"{what}: it serves on", server, served, wanted=True), fact(f"{what}: descriptors lost", server, lost, 0)]


Trial = Callable[[str, float], Iterator[Figure]]


def what_is_sent_comes_back(poller: str, _: float) -> Iterator[Figure]:
    """Send 64 MiB in random pieces, through a socket and through our client; half-close after 8 MiB."""
    data = random.Random(SEED).randbytes(64 * MIB)  # noqa: S311 - bytes, not secrets
    with Served(poller) as server:
        with server.connect() as client, beside(lambda: send_in_pieces(client.sendall, data)):
            echo = receive(client, len(data))
            yield share("64 MiB in random pieces, raw socket: equal", server, len(data) if echo == data else 0, len(data))
        echoed = through_the_client(server.port, data)
        yield share("64 MiB in random pieces, our client: equal", server, len(data) if echoed == data else 0, len(data))
        with server.connect() as client, beside(lambda: send_and_half_close(client, data[: 8 * MIB])):
            time.sleep(0.5)  # it starts to read only when everybody's buffers are full
            echo = receive(client, len(data))
            yield share("half-close after 8 MiB: delivered", server, len(echo) if data.startswith(echo) else 0, 8 * MIB)
        yield from well("bulk", server)


def through_the_client(port: int, data: bytes) -> bytes:
    """Send `data` through `python -m fsmserver connect`, in random pieces; give what it printed."""
    command = [sys.executable, "-m", "fsmserver", "connect", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:  # noqa: S603 - our own program
        assert process.stdin is not None, "it was asked for"
        assert process.stdout is not None, "it was asked for"
        source = process.stdin

        def feed() -> None:
            with source:
                send_in_pieces(source.write, data)

        with beside(feed):
            printed = process.stdout.read()
        return printed if process.wait(PATIENCE_S) == 0 else b""


def idle_when_clients_leave(poller: str, observe_s: float) -> Iterator[Figure]:
    """Leave in every way there is, and watch the server's CPU."""
    with Served(poller) as server:
        for how, leave in LEAVING.items():
            client = server.connect()
            assert echoes(client, leaves=False), "it is served before it leaves"
            with client:
                leave(client)
                time.sleep(0.2)
                yield cpu(f"after a client {how}", server, observe_s, 1)
        yield from well("clients that left", server)


def stall(client: socket.socket) -> None:
    """Fill everybody's buffers without reading."""
    push(client, bytes(64 * MIB))


def stall_and_half_close(client: socket.socket) -> None:
    """Fill everybody's buffers, and say that there is no more."""
    stall(client)
    client.shutdown(socket.SHUT_WR)


def stall_and_close(client: socket.socket) -> None:
    """Fill everybody's buffers, and leave."""
    stall(client)
    client.close()


def stall_and_reset(client: socket.socket) -> None:
    """Fill everybody's buffers, and leave with a reset."""
    stall(client)
    reset(client)


LEAVING: Final[dict[str, Callable[[socket.socket], object]]] = {
    "closed": socket.socket.close,
    "reset": reset,
    "half-closed and stayed": lambda client: client.shutdown(socket.SHUT_WR),
    "stalled, never reading": stall,
    "stalled and half-closed": stall_and_half_close,
    "stalled and closed": stall_and_close,
    "stalled and reset": stall_and_reset,
    "sent one urgent byte": lambda client: client.send(b"!", socket.MSG_OOB),
}


def resets(poller: str, _: float) -> Iterator[Figure]:
    """Reset 200 connections in mid-stream, and 60 before they are accepted."""
    with Served(poller) as server:
        for _ in range(200):
            client = server.connect()
            push(client, bytes(64 * KIB), quiet_s=0.1)
            reset(client)
        yield from well("200 resets in mid-stream", server)
        server.process.send_signal(signal.SIGSTOP)
        for _ in range(60):
            client = server.connect()
            client.sendall(b"lost")
            reset(client)
        server.process.send_signal(signal.SIGCONT)
        yield from well("60 resets before accept", server)
        yield fact("260 resets: tracebacks in the log", server, server.log_lines("Traceback"), 0)


def one_urgent_byte(poller: str, _: float) -> Iterator[Figure]:
    """Send one urgent byte in mid-stream."""
    with Served(poller) as server:
        with server.connect() as client:
            client.sendall(b"before")
            client.send(b"!", socket.MSG_OOB)
            client.sendall(b"after")
            client.shutdown(socket.SHUT_WR)
            yield fact("one urgent byte: the rest comes back", server, receive(client, 100).replace(b"!", b""), b"beforeafter")
        yield from well("one urgent byte", server)


def a_peer_that_never_reads(poller: str, observe_s: float) -> Iterator[Figure]:
    """Push 256 MiB and read nothing."""
    with Served(poller) as server:
        before_bytes = server.memory_bytes("VmRSS")
        with server.connect() as client:
            push(client, bytes(256 * MIB))
            yield fact("a peer that never reads: others are served", server, echoes(server.connect()), wanted=True)
            yield cpu("a peer that never reads", server, observe_s, 1)
        grown_mib = (server.memory_bytes("VmHWM") - before_bytes) / MIB
        yield Figure("a peer that never reads: memory grows by", poller, f"{grown_mib:.1f} MiB", "under 32 MiB", grown_mib < 32)
        yield from well("a peer that never reads", server)


def few_descriptors(poller: str, observe_s: float) -> Iterator[Figure]:
    """Connect 100 clients to a server that may have 64 descriptors: with its own limit, and with one far too high."""
    for what, options in {"64 descriptors": (), "64 descriptors, no limit of our own": ("--connections", "1000")}.items():
        with Served(poller, *options, descriptors=64) as server:
            first = [server.connect() for _ in range(5)]
            crowd = [server.connect() for _ in range(95)]
            with leaving(first + crowd):
                yield fact(f"{what}: existing ones served", server, len(echoing(first)), 5)
                yield cpu(f"{what}, 100 clients", server, observe_s, 5)
                yield fact(f"{what}: existing ones still served", server, len(echoing(first)), 5)
            pressed = server.log_lines("lets connections wait", "refuses connections", "pauses accepting")
            yield fact(f"{what}: lines that say so", server, pressed, 1)
            until(lambda server=server: server.descriptors() == server.held_before, 10)  # type: ignore[misc]
            later = [server.connect() for _ in range(20)]
            with leaving(later):
                yield fact(f"{what}: newcomers served once they left", server, len(echoing(later)), 20)
            yield from well(what, server)


def a_crowd(poller: str, _: float) -> Iterator[Figure]:
    """Connect 1,500 clients: select can watch 1,024 descriptors, and refuses the rest."""
    with Served(poller) as server:
        clients = [server.connect() for _ in range(1500)]
        with leaving(clients):
            served = echoing(clients)
            refused = poller == "select"
            least = 950 if refused else 1500
            yield Figure("1,500 connections: served", poller, str(len(served)), f"at least {least}", len(served) >= least)
            yield fact("1,500 connections: lines about refusing", server, server.log_lines("refuses connections"), int(refused))
            yield fact("1,500 connections: those served stay served", server, len(echoing(served)), len(served))
        yield from well("1,500 connections", server)


def stops(poller: str, _: float) -> Iterator[Figure]:
    """Ask it to end with replies in flight, once and twice."""
    data = random.Random(SEED).randbytes(4 * MIB)  # noqa: S311 - bytes, not secrets
    with Served(poller) as server, server.connect() as client:
        pushed_bytes = push(client, data)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        echo = receive(client, pushed_bytes + 1)
        client.close()
        yield share("SIGTERM with replies in flight: they arrive", server, len(echo) if data.startswith(echo) else 0, pushed_bytes)
        yield fact("SIGTERM: exit code", server, server.process.wait(PATIENCE_S), 0)
    with Served(poller) as server, server.connect() as client:
        push(client, data)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        yield fact("SIGTERM with a stalled client: it waits", server, server.alive, wanted=True)
        began_s = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(PATIENCE_S)
        took_s = time.monotonic() - began_s
        yield Figure("a second SIGTERM: ends after", poller, f"{took_s:.2f} s", "under 1 s", took_s < 1)
        yield fact("a second SIGTERM: exit code", server, code, 1)


TRIALS: Final[Sequence[Trial]] = (
    what_is_sent_comes_back,
    idle_when_clients_leave,
    resets,
    one_urgent_byte,
    a_peer_that_never_reads,
    few_descriptors,
    a_crowd,
    stops,
)


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    table = Table("what", "poller", "figure", "bound", "ok", box=box.SIMPLE_HEAD)
    for each in figures:
        table.add_row(each.what, each.poller, each.figure, each.bound, "yes" if each.ok else "NO", style=None if each.ok else "bold red")
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def undergo(trial: Trial, poller: str, observe_s: float) -> list[Figure]:
    """Run one trial; that it broke off is a figure too."""
    words = trial.__name__.replace("_", " ")
    sys.stderr.write(f"{poller}: {words}\n")
    figures: list[Figure] = []
    try:
        figures.extend(trial(poller, observe_s))
    except (OSError, AssertionError, subprocess.TimeoutExpired) as error:
        figures.append(Figure(words, poller, f"broke off: {type(error).__name__}: {error}", "to its end", ok=False))
    return figures


def main() -> int:
    """Run the trials; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poller", action="append", choices=available(), help="only this one; may be given more than once")
    parser.add_argument("--only", action="append", metavar="WORD", help="only the trials with this word in their name")
    parser.add_argument("--observe-s", type=float, default=3.0, help="how long the CPU is watched each time (%(default)s s)")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, OWN_DESCRIPTORS), hard))
    chosen = [trial for trial in TRIALS if not options.only or any(word in trial.__name__ for word in options.only)]
    figures = [
        figure for poller in options.poller or available() for trial in chosen for figure in undergo(trial, poller, options.observe_s)
    ]
    show(figures)
    missed = sum(not figure.ok for figure in figures)
    sys.stdout.write(f"{len(figures)} figures, {missed} bounds missed\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
