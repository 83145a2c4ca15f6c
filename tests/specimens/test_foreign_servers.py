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
from tests.specimens import asyncio_echo, selectors_echo
from tests.specimens.strangers import HOME, NAMED, OTHERS, search_all, serve_tutorial


def found_in(program: Callable[[], None], seeds: int) -> list[str]:
    return [str(found) for found in search(program, range(seeds))]


@pytest.fixture(scope="module")
def searched() -> dict[Callable[[], None], dict[str, Found]]:
    return search_all()


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
