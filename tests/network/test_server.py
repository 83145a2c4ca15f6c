"""The server on real sockets: what clients do to it, and that it lives."""

import logging
import random
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fsmserver.cli.echo import Echo
from fsmserver.core.limits import Limits

pytestmark = [pytest.mark.network, pytest.mark.slow]

Run = Callable[..., Any]
RESET = struct.pack("ii", 1, 0)


def receive_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 18), b""))


def echoes(client: socket.socket, data: bytes = b"ping") -> bool:
    client.sendall(data)
    got = b""
    while len(got) < len(data) and (more := client.recv(1 << 16)):
        got += more
    return got == data


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()


def test_what_comes_in_random_pieces_comes_back_equal_after_a_half_close(run: Run) -> None:
    running = run(Echo)
    chance = random.Random(8008)
    data = chance.randbytes(8 << 20)

    def push() -> None:
        sent = 0
        while sent < len(data):
            size = chance.randint(1, 100_000)
            client.sendall(data[sent : sent + size])
            sent += size
        client.shutdown(socket.SHUT_WR)

    with running.connect() as client:
        thread = threading.Thread(target=push)
        thread.start()
        assert receive_all(client) == data
        thread.join()
    running.until_empty()


def test_resets_in_mid_stream_and_before_accept_are_survived(run: Run) -> None:
    running = run(Echo)
    for number in range(100):
        client = running.connect()
        if number % 3:
            client.sendall(b"x" * 1000)
        reset(client)
    with running.connect() as client:
        assert echoes(client)
    running.until_empty()


def test_nothing_happens_when_nobody_is_there(run: Run) -> None:
    running = run(Echo)
    with running.connect() as client:
        assert echoes(client)
    running.until_empty()
    before = running.in_loop(lambda: running.server.statistics().rounds)
    assert running.in_loop(lambda: running.server.statistics().rounds) - before <= 3


@pytest.mark.parametrize(("policy", "expected"), [("discard", b"after"), ("inline", b"!after")])
def test_one_urgent_byte_is_treated_as_the_policy_says(run: Run, policy: str, expected: bytes) -> None:
    running = run(Echo, exceptional=policy)
    with running.connect() as client:
        assert echoes(client, b"before")
        client.send(b"!", socket.MSG_OOB)
        running.until(lambda: running.server.statistics().urgent > 0)
        client.sendall(b"after")
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == expected
    running.until_empty()


def test_one_urgent_byte_ends_the_connection_where_that_is_the_policy(run: Run) -> None:
    running = run(Echo, exceptional="close")
    with running.connect() as client:
        assert echoes(client, b"before")
        client.send(b"!", socket.MSG_OOB)
        running.until_empty()
        assert running.in_loop(running.server.statistics).closed == {"exceptional": 1}


def test_a_peer_that_never_reads_costs_at_most_its_marks_and_stalls(run: Run) -> None:
    limits = Limits(outbox_high_bytes=1 << 16, outbox_low_bytes=1 << 14, stall_s=0.2)
    running = run(Echo, limits=limits)
    most = 0

    def look() -> bool:
        nonlocal most
        outboxes = running.server.scheduler.queues.values()
        most = max([most, *(outbox.size_bytes for outbox in outboxes)])
        return not outboxes and running.server.counts_closed("expire") == 1

    running.server.counts_closed = lambda event: running.server.statistics().closed.get(event, 0)
    with running.connect() as client:
        client.setblocking(False)

        def push() -> None:
            try:
                for _ in range(100):
                    client.send(b"x" * (1 << 16))
            except OSError:
                pass
            if not client_done.is_set():
                running.server.scheduler.call_later(0.01, push)

        client_done = threading.Event()
        running.server.scheduler.call_soon_threadsafe(push)
        running.until(look)
        client_done.set()
        running.in_loop(lambda: None)
    assert 0 < most <= limits.outbox_high_bytes + limits.read_budget_bytes


def test_those_over_the_limit_wait_and_are_served_when_others_leave(run: Run) -> None:
    running = run(Echo, limits=Limits(connections=10), when_full="wait")
    clients = [running.connect() for _ in range(30)]
    assert all(echoes(client) for client in clients[:10])
    assert running.in_loop(lambda: len(running.server.scheduler.links)) == 10
    for start in (0, 10):
        for client in clients[start : start + 10]:
            client.close()
        assert all(echoes(client) for client in clients[start + 10 : start + 20])
    for client in clients[20:]:
        client.close()
    running.until_empty()


def test_those_over_the_limit_are_refused_where_that_is_the_policy(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    running = run(Echo, limits=Limits(connections=10), when_full="refuse")
    clients = [running.connect() for _ in range(30)]
    served = 0
    for client in clients:
        try:
            served += echoes(client)
        except ConnectionError:
            continue
    assert served == 10
    for client in clients:
        client.close()
    running.until_empty()
    assert sum("refuses connections" in record.message for record in caplog.records) == 1


class Farewell:
    """Says a last word and closes, with input unread."""

    def connection_made(self, transport: Any) -> None:
        transport.write(b"bye" * 10_000)
        transport.close()


def test_the_last_reply_survives_input_that_nobody_read(run: Run) -> None:
    running = run(Farewell)
    with running.connect() as client:
        client.sendall(b"x" * 100_000)
        assert receive_all(client) == b"bye" * 10_000
    running.until_empty()


class Later:
    """Answers from a thread, when it is told to."""

    allowed = threading.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        future = self.transport.scheduler.run_in_executor(self.allowed.wait, 10)
        future.add_done_callback(lambda _: self.transport.write(data))


def test_a_stop_waits_for_an_answer_that_a_thread_is_working_on(run: Run) -> None:
    Later.allowed.clear()
    running = run(Later)
    with running.connect() as client:
        client.sendall(b"question")
        running.until(lambda: any(link.jobs for link in running.server.scheduler.links.values()))
        running.server.stop()
        running.until(lambda: not running.server.scheduler.listeners)
        Later.allowed.set()
        assert receive_all(client) == b"question"
    running.join()
    assert running.ended_well is True


def test_a_second_stop_aborts(run: Run) -> None:
    running = run(Later)
    Later.allowed.clear()
    with running.connect() as client:
        client.sendall(b"question")
        running.until(lambda: any(link.jobs for link in running.server.scheduler.links.values()))
        running.server.stop()
        running.server.stop()
        with pytest.raises(ConnectionResetError):
            client.recv(100)
        Later.allowed.set()
    running.join()
    assert running.ended_well is False


class Clumsy(Echo):
    """Raises when it is asked to."""

    def data_received(self, data: bytes) -> None:
        if data == b"raise":
            raise RuntimeError("clumsy")
        super().data_received(data)


def test_a_protocol_that_raises_loses_its_own_connection_only(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    running = run(Clumsy)
    with running.connect() as good, running.connect() as bad:
        assert echoes(good)
        bad.sendall(b"raise")
        with pytest.raises(ConnectionResetError):
            bad.recv(100)
        assert echoes(good)
    running.until_empty()
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert "RuntimeError: clumsy" in told[0].getMessage()


def test_the_registration_in_the_kernel_is_what_the_scheduler_says(run: Run, poller: str) -> None:
    running = run(Echo)
    with running.connect() as client:
        assert echoes(client)
        inputs = running.in_loop(lambda: running.server.scheduler.inputs)
        assert len(inputs) == 2
        if poller == "epoll":
            fileno = running.server.scheduler.poller.fileno()
            with open(f"/proc/self/fdinfo/{fileno}") as info:
                watched = {int(line.split()[1]) for line in info if line.startswith("tfd:")}
            assert inputs < watched
    running.until_empty()
    assert len(running.in_loop(lambda: running.server.scheduler.inputs)) == 1


SCRIPTS: list[list[tuple[str, Any]]] = [
    [("send", b"a"), ("expect", b"a"), ("fin", None)],
    [("fin", None)],
    [("send", b"a" * 400), ("expect", b"a" * 400), ("send", b"b"), ("expect", b"b"), ("reset", None)],
    [("reset", None)],
]


def test_the_same_scenarios_give_the_same_transitions_on_every_poller(run: Run) -> None:
    seen: list[list[str]] = []

    def watch(link: Any, fsm: Any, origin: Any, event: Any) -> None:
        while len(seen) < link.number:
            seen.append([])
        seen[link.number - 1].append(f"{origin} {event} {fsm.state}")

    running = run(Echo, watcher=watch)
    for script in SCRIPTS:
        client = running.connect()
        running.until(lambda: bool(running.server.scheduler.links))
        for what, data in script:
            if what == "send":
                client.sendall(data)
            elif what == "expect":
                got = b""
                while len(got) < len(data):
                    got += client.recv(1000)
                assert got == data
            elif what == "fin":
                client.shutdown(socket.SHUT_WR)
                assert receive_all(client) == b""
            else:
                reset(client)
        running.until_empty()
        client.close()
    opening = ["accepted open reading"]
    echo = ["reading receive reading", "reading enqueue queued", "queued flush writing", "writing drain reading"]
    ending = ["reading eof reading", "reading finish closed"]
    assert seen == [
        opening + echo + ending,
        opening + ending,
        opening + echo + echo + ["reading reset closed"],
        [*opening, "reading reset closed"],
    ]
