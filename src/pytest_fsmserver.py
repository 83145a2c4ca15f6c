"""The pytest plugin of fsmserver: fixtures for simulated servers, a check that nothing leaks, and one of every trace.

It stands outside the package so that pytest can load it without loading the package: what a fixture needs is imported when a
test asks for it, and coverage sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fsmserver.core.limits import Limits
    from fsmserver.testing.kernel import SimKernel
    from fsmserver.testing.leaks import LeakCheck
    from fsmserver.testing.world import World


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that checks traces."""
    about = "fail a test in which the connections of a Scheduler did what the machine's table does not allow"
    parser.getgroup("fsmserver").addoption("--fsm-traces", action="store_true", help=about)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to check traces, if that was asked for."""
    config.addinivalue_line(
        "markers", "untraced(reason): --fsm-traces leaves it alone: its connections do wrong on purpose, or may not be watched"
    )
    if config.getoption("--fsm-traces"):
        from fsmserver.testing.builds import TakesPureBuild  # noqa: PLC0415 - see the module
        from fsmserver.testing.traces import TraceCheck  # noqa: PLC0415 - as above

        try:
            config.pluginmanager.register(TraceCheck(), "fsm-traces")
        except TakesPureBuild as error:
            raise pytest.UsageError(str(error)) from error


@pytest.fixture
def sim_kernel() -> SimKernel:
    """Give a fresh simulated kernel."""
    from fsmserver.testing.kernel import SimKernel  # noqa: PLC0415 - see the module

    return SimKernel()


@pytest.fixture
def virtual_clock(sim_kernel: SimKernel) -> Callable[[], float]:
    """Give the clock of `sim_kernel`, in seconds; `sim_kernel.advance(seconds)` moves it."""
    return sim_kernel.clock


@pytest.fixture
def sim_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    """Serve a protocol in a simulated world, made by calling this with the protocol's class.

    Options are those of `Config` (poller, eager_writes, exceptional, handshake ...) and `limits`. At the end of the test the
    faults stop, the peers leave, and nothing may be left of the server.
    """
    from fsmserver.testing.world import SIM_LIMITS, Config, World  # noqa: PLC0415 - see the module

    if "no_leaks" in request.fixturenames:
        request.getfixturevalue("no_leaks")  # its world comes first, and so goes last
    worlds: list[World] = []

    def start(factory: Callable[[], object], *, limits: Limits = SIM_LIMITS, **options: Any) -> World:  # noqa: ANN401 - as `Config` has them
        worlds.append(World(factory, Config(**options), limits=limits))
        return worlds[-1]

    yield start
    try:
        for world in worlds:
            if not world.scheduler.closed:
                world.finish()
    finally:
        for world in worlds:
            world.close()


@pytest.fixture
def no_leaks() -> Iterator[LeakCheck]:
    """Fail the test if it leaves a descriptor, a connection, a timer, or a closed connection in a reference cycle."""
    from fsmserver.testing.leaks import LeakCheck  # noqa: PLC0415 - see the module

    with LeakCheck() as check:
        yield check
        leaks = check.leaks()
    if leaks:
        pytest.fail("\n".join(leaks), pytrace=False)
