"""Servers on real loopback sockets, on every poller, that must leave nothing behind."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from fsmserver.runtime.binding import Tcp
from fsmserver.runtime.pollers import available
from fsmserver.runtime.server import Server

PATIENCE_S = 20.0


class Running:
    """A server in a thread of its own."""

    def __init__(self, factory: Callable[[], object], **options: Any) -> None:
        self.server = Server(factory, Tcp("127.0.0.1", 0), **options).start()
        self.ended_well: bool | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.ended_well = self.server.run()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.server.address, timeout=PATIENCE_S)

    def in_loop(self, function: Callable[[], Any]) -> Any:
        """Call `function` in the server's thread, and give what it gave."""
        outcome: list[Any] = []
        done = threading.Event()

        def call() -> None:
            outcome.append(function())
            done.set()

        self.server.scheduler.call_soon_threadsafe(call)
        assert done.wait(PATIENCE_S)
        return outcome[0]

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition`, looked at in the server's thread after each round, holds."""
        done = threading.Event()

        def look() -> None:
            if condition():
                done.set()
            else:
                self.server.scheduler.call_later(0.005, look)

        self.server.scheduler.call_soon_threadsafe(look)
        assert done.wait(PATIENCE_S), "the condition did not come to hold"

    def until_empty(self) -> None:
        self.until(lambda: not self.server.scheduler.links)

    def join(self) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def end(self) -> None:
        if self._thread.is_alive():
            self.server.stop()
            self.server.stop()
        self.join()
        self.server.close()


@pytest.fixture(params=available())
def poller(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(poller: str) -> Iterator[Callable[..., Running]]:
    """Give a way to run servers; at the end all descriptors are back."""
    before = len(os.listdir("/proc/self/fd"))
    with ExitStack() as stack:

        def start(factory: Callable[[], object], **options: Any) -> Running:
            running = Running(factory, poller=poller, **options)
            stack.callback(running.end)
            return running

        yield start
    assert len(os.listdir("/proc/self/fd")) == before
