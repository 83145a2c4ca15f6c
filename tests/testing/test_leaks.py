"""The fixtures of the pytest plugin, and the leaks that `no_leaks` finds."""

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from fsmserver.cli.echo import Echo
from fsmserver.core.limits import Limits
from fsmserver.runtime.binding import Tcp
from fsmserver.runtime.server import Server
from fsmserver.testing.kernel import SimKernel
from fsmserver.testing.leaks import LeakCheck
from fsmserver.testing.world import World

SimServer = Callable[..., World]


def exchange(world: World) -> None:
    for operation in (("connect", 1, 0, 0), ("round",), ("say", 1, 50), ("round",), ("hear", 1, 500), ("leave", 1), ("round",)):
        world.apply(operation)


@pytest.mark.pure
@pytest.mark.parametrize("options", [{}, {"poller": "select"}, {"eager_writes": False}, {"handshake": True}])
def test_a_simulated_server_serves_and_leaves_nothing(sim_server: SimServer, no_leaks: LeakCheck, options: dict[str, Any]) -> None:
    world = sim_server(Echo, **options)
    exchange(world)
    assert world.peers[1].ended or world.peers[1].gone


def test_a_simulated_kernel_has_a_clock_of_its_own(sim_kernel: SimKernel, virtual_clock: Callable[[], float]) -> None:
    before_s = virtual_clock()
    sim_kernel.advance(3600)
    assert virtual_clock() == before_s + 3600


@pytest.mark.pure
@pytest.mark.network
def test_a_real_server_leaves_nothing(no_leaks: LeakCheck) -> None:
    with Server(Echo, Tcp("127.0.0.1", 0)) as server, socket.create_connection(server.address, timeout=20) as client:
        client.sendall(b"hello")
        while not sum(link.fsm.outbox.taken_bytes for link in server.scheduler.links.values()):
            server.scheduler.round(20)
        assert client.recv(100) == b"hello"


@pytest.mark.pure
def test_an_open_descriptor_is_a_leak() -> None:
    with LeakCheck() as check:
        near, far = os.pipe()
        leaks = check.leaks()
    os.close(near)
    os.close(far)
    assert len(leaks) == 2
    assert f"descriptor {near}" in leaks[0] + leaks[1]


@pytest.mark.pure
def test_a_connection_left_open_and_a_timer_are_leaks() -> None:
    with LeakCheck() as check:
        world = World(Echo)
        world.apply(("connect", 1, 0, 0))
        world.round()
        world.scheduler.call_later(5, print)
        leaks = check.leaks()
        world.close()
    words = "\n".join(leaks)
    assert "was never closed" in words
    assert "1 timers that were never cancelled" in words


class Tangled(Echo):
    """Refers to itself: only the garbage collector can free it."""

    def __init__(self) -> None:
        self.myself = self


@pytest.mark.pure
@pytest.mark.parametrize(("factory", "tangled"), [(Echo, False), (Tangled, True)])
def test_a_closed_connection_in_a_cycle_is_a_leak(factory: Callable[[], object], tangled: bool) -> None:
    with LeakCheck() as check:
        world = World(factory)
        exchange(world)
        world.finish()
        world.close()
        leaks = check.leaks()
    assert any("cycle" in leak for leak in leaks) is tangled


@pytest.mark.pure
def test_a_deadline_of_nobody_is_a_leak() -> None:
    with LeakCheck() as check:
        world = World(Echo, limits=Limits())
        world.apply(("connect", 1, 0, 0))
        world.round()
        [link] = world.scheduler.links.values()
        link.fsm.abort()
        link.touch()
        world.round()
        world.scheduler.deadlines.arm(link, 5000.0)
        leaks = check.leaks()
        world.close()
    assert any("deadlines for 0 connections" in leak for leak in leaks)
