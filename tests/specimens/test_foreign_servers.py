"""Servers that know nothing of us, on the simulated kernel: the tutorial's faults are found, and those that are right survive.

Run it with `-s` to see for each fault after how much work it was found, and the shortest script that shows it. Nothing tells
the search what to look for: it is one search a server, and the table below only sorts what it brought.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fsmserver.core.limits import Limits
from fsmserver.runtime.binding import Tcp, bind
from fsmserver.runtime.listener import Listener
from fsmserver.runtime.pollers import make_poller
from fsmserver.runtime.scheduler import Scheduler
from fsmserver.runtime.waker import SocketWaker
from fsmserver.testing.foreign import Finding, drive
from fsmserver.testing.foreign_scripts import random_script
from fsmserver.testing.foreign_search import Found, reduce, run, search
from fsmserver.testing.kernel import SimKernel
from tests.specimens import asyncio_echo, selectors_echo, tutorial

HOME = ("127.0.0.1", 8008)


def serve_tutorial() -> None:
    tutorial.main(*HOME)


def serve_tutorial_variant() -> None:
    tutorial.main(*HOME, ignore_empty_reads=True)


def found_in(program: Callable[[], None], seeds: int) -> list[str]:
    return [str(found) for found in search(program, range(seeds))]


# The tutorial's faults, as the design names them: the server, how the fault shows, the most operations that show it.
RECV, SEND, ACCEPT = "data = s.recv(1024)", "s.send(next_message)", "connection, _client_address = s.accept()"
SELECT = "readable, writable, exceptional = select.select(inputs, outputs, inputs)"
NAMED = {
    "dies when one client resets": (serve_tutorial, f"dies: ConnectionResetError in main: {RECV}", 6),
    "forgets what a partial send did not take": (serve_tutorial, "forgets", 4),
    "KeyError when a connection closes in the round in which it is writable": (
        serve_tutorial, "dies: KeyError in main: next_message = message_queues[s].get_nowait()", 3,
    ),
    "closes on urgent data": (serve_tutorial, "closes", 2),
    "dies past descriptor 1023": (serve_tutorial, f"dies: ValueError in main: {SELECT}", 4),
    "one client that does not read takes all memory": (serve_tutorial, "hoards", 2),
    "spins when a client leaves (the variant without the empty read)": (serve_tutorial_variant, "spins", 0),
}  # fmt: skip
# And those that it does not name.
OTHERS = {
    "a partial send mixes up what follows": (serve_tutorial, "garbles", 4),
    "dies when the kernel reports a socket readable that is not": (serve_tutorial, f"dies: BlockingIOError in main: {RECV}", 3),
    "dies when accept fails": (serve_tutorial, f"dies: OSError in main: {ACCEPT}", 2),
    "dies when the network gives a client up": (serve_tutorial, f"dies: TimeoutError in main: {RECV}", 2),
    "dies when a client leaves with a reply under way": (serve_tutorial, f"dies: BrokenPipeError in main: {SEND}", 3),
    "ValueError when urgent data and the end come in one round": (serve_tutorial, "dies: ValueError in main: inputs.remove(s)", 3),
}
SEEDS = {serve_tutorial: range(300), serve_tutorial_variant: range(20)}


@pytest.fixture(scope="module")
def searched() -> dict[Callable[[], None], dict[str, Found]]:
    return {program: {str(found.finding): found for found in search(program, seeds)} for program, seeds in SEEDS.items()}


@pytest.mark.parametrize("fault", [*NAMED, *OTHERS])
def test_each_fault_of_the_tutorial_is_found(fault: str, searched: dict[Callable[[], None], dict[str, Found]]) -> None:
    program, shows, most_operations = (NAMED | OTHERS)[fault]
    found = searched[program][shows]
    began_s = time.process_time()
    script = reduce(program, random_script(found.seed), found.finding)
    reduced_s = time.process_time() - began_s
    print(f"\n{fault}\n  {found}\n  reduced in {reduced_s:.3f} CPU seconds: {script}")
    assert found.finding in run(program, script).findings
    assert len(script.operations) <= most_operations


def test_the_tutorial_as_it_is_does_not_spin(searched: dict[Callable[[], None], dict[str, Found]]) -> None:
    assert not [finding for finding in searched[serve_tutorial] if finding.startswith("spins")]


def test_the_tutorial_echoes_as_long_as_nothing_goes_wrong() -> None:
    script = [("connect", 0), ("say", 0, 5000), ("round",), ("connect", 1), ("say", 1, 100), ("hear", 0, 100), ("say", 0, 1)]
    assert drive(serve_tutorial, SimKernel(), script).findings == ()


@pytest.mark.parametrize("name", ["SelectSelector", "PollSelector", "EpollSelector"])
def test_a_right_server_on_selectors_survives_the_search(name: str) -> None:
    assert not found_in(lambda: selectors_echo.main(*HOME, name), 150)


# asyncio.


@pytest.fixture
def _quiet_asyncio() -> Iterator[None]:
    """asyncio logs an accept that fails, with its traceback, a hundred times an episode."""
    logger = logging.getLogger("asyncio")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


def serve_streams() -> None:
    asyncio.run(asyncio_echo.serve_streams(*HOME))


def serve_protocol(protocol: type[asyncio.Protocol]) -> None:
    asyncio.run(asyncio_echo.serve_protocol(*HOME, protocol))


ASYNCIO = {"streams": serve_streams, "protocol": lambda: serve_protocol(asyncio_echo.MindfulEcho)}


@pytest.mark.usefixtures("_quiet_asyncio")
@pytest.mark.parametrize("name", list(ASYNCIO))
def test_asyncio_survives_the_search(name: str) -> None:
    assert not found_in(ASYNCIO[name], 80)


@pytest.mark.usefixtures("_quiet_asyncio")
def test_an_asyncio_protocol_that_does_not_mind_its_buffer_hoards() -> None:
    def program() -> None:
        serve_protocol(asyncio_echo.Echo)

    [found] = search(program, range(20))
    assert found.finding == Finding("hoards")
    script = reduce(program, random_script(found.seed), found.finding)
    print(f"\n{found}\n  {script}")
    assert len(script.operations) == 2


@pytest.mark.parametrize("name", list(ASYNCIO))
def test_peers_of_asyncio_echo_half_close_and_reset(name: str) -> None:
    script: list[tuple[Any, ...]] = [*(("connect", each) for each in range(4)), ("round",), *(("say", each, 5000) for each in range(4))]
    script += [("round",), ("end", 0), ("cut", 1), ("leave", 2), ("pass", 5000), ("hear", 3, 100), ("say", 3, 1000)]
    report = drive(ASYNCIO[name], SimKernel(), script)
    assert report.findings == ()
    assert [peer.heard_bytes for peer in report.peers if peer.owed] == [5000, 6000]
    assert report.seconds >= 5


# Our own.


class Echo:
    transport: Any

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def serve_ours(poller: str) -> None:
    limits = Limits(outbox_high_bytes=64 * 1024, outbox_low_bytes=16 * 1024)
    scheduler = Scheduler(poller=make_poller(poller), clock=time.monotonic, waker=SocketWaker(socket.socketpair), limits=limits)
    for sock in bind(Tcp(*HOME), limits.backlog):
        scheduler.listen(Listener(scheduler, sock, Echo, when_full="wait" if scheduler.poller.ceiling is None else "refuse"))
    while True:
        scheduler.round()


@pytest.mark.parametrize("poller", ["select", "poll", "epoll"])
def test_our_own_scheduler_survives_the_search_as_a_stranger(poller: str) -> None:
    assert not found_in(lambda: serve_ours(poller), 100)
