"""One contract for all pollers, on real descriptors; kqueue on a stand-in for the system."""

import os
import select
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fsmserver.core.states import Interest
from fsmserver.runtime.pollers import EpollPoller, KqueuePoller, available, make_poller
from fsmserver.runtime.ports import ERROR, EXCEPTIONAL, HANGUP, INVALID, READABLE, WRITABLE, Poller

NOTHING, READ, WRITE = Interest.NOTHING, Interest.READ, Interest.WRITE


@pytest.fixture(params=available())
def poller(request: pytest.FixtureRequest) -> Iterator[Poller]:
    made = make_poller(request.param)
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def test_readiness_is_level_triggered_and_follows_the_interest(poller: Poller, pair: Pair) -> None:
    fd = pair[0].fileno()
    poller.add(fd, READ)
    assert not poller.wait(0)
    pair[1].send(b"x")
    assert list(poller.wait(1)) == list(poller.wait(1)) == [(fd, READABLE)]
    poller.change(fd, READ | WRITE)
    assert list(poller.wait(1)) == [(fd, READABLE | WRITABLE)]
    assert (poller.inputs, poller.outputs) == ({fd}, {fd})
    poller.change(fd, WRITE)
    assert list(poller.wait(1)) == [(fd, WRITABLE)]
    poller.change(fd, NOTHING)
    assert not poller.wait(0)
    poller.remove(fd)
    assert (poller.inputs, poller.outputs) == (set(), set())
    assert not poller.wait(0)


def test_what_is_muted_is_silent_until_its_interest_changes(poller: Poller, pair: Pair) -> None:
    fd = pair[0].fileno()
    poller.add(fd, READ)
    poller.change(fd, NOTHING)
    pair[1].close()
    poller.mute(fd)
    poller.mute(fd)
    assert not poller.wait(0)
    poller.change(fd, READ)
    ((reported, bits),) = poller.wait(1)
    assert reported == fd
    assert bits & READABLE
    poller.remove(fd)


def test_what_is_removed_is_silent_though_a_duplicate_keeps_it_open(poller: Poller, pair: Pair) -> None:
    fd = pair[0].fileno()
    poller.add(fd, READ)
    pair[1].send(b"x")
    poller.remove(fd)
    assert not poller.wait(0)
    poller.remove(fd)
    assert (poller.inputs, poller.outputs) == (set(), set())


def test_nobody_is_always_first(poller: Poller) -> None:
    pairs = [socket.socketpair() for _ in range(3)]
    for ours, theirs in pairs:
        poller.add(ours.fileno(), READ)
        theirs.send(b"x")
    rounds = [[fd for fd, _ in poller.wait(1)] for _ in range(3)]
    assert all(sorted(each) == sorted(ours.fileno() for ours, _ in pairs) for each in rounds)
    if poller.name != "epoll":  # there the kernel rotates, but only what does not fit into one report
        assert len({each[0] for each in rounds}) == 3
    for ours, theirs in pairs:
        poller.remove(ours.fileno())
        ours.close()
        theirs.close()


def test_urgent_data_is_exceptional(poller: Poller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as theirs:
        ours, _ = server.accept()
        with ours:
            poller.add(ours.fileno(), READ)
            theirs.send(b"!", socket.MSG_OOB)
            ((_, bits),) = poller.wait(5)
            assert bits & EXCEPTIONAL
            poller.remove(ours.fileno())


def test_it_shows_how_much_it_watches(poller: Poller, pair: Pair) -> None:
    poller.add(pair[0].fileno(), READ)
    assert repr(poller).endswith("Poller 1 inputs, 0 outputs>")
    poller.remove(pair[0].fileno())


def test_select_names_the_descriptor_that_went_bad(pair: Pair) -> None:
    poller = make_poller("select")
    bad = os.dup(pair[0].fileno())
    poller.add(pair[0].fileno(), READ)
    poller.add(bad, WRITE)
    os.close(bad)
    assert list(poller.wait(0)) == [(bad, INVALID)]
    poller.remove(bad)
    assert not poller.wait(0)


def test_select_passes_on_what_is_no_bad_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise OSError(12, "no memory")

    monkeypatch.setattr(select, "select", fails)
    poller = make_poller("select")
    with pytest.raises(OSError, match="no memory"):
        poller.wait(0)


def test_epoll_gives_no_more_than_it_is_asked_for_and_then_the_rest_first() -> None:
    poller = EpollPoller()
    assert poller.fileno() >= 0
    pairs = [socket.socketpair() for _ in range(5)]
    for ours, theirs in pairs:
        poller.add(ours.fileno(), READ)
        theirs.send(b"x")
    first, second = poller.wait(1, 3), poller.wait(1, 2)
    assert [len(first), len(second)] == [3, 2]
    assert {fd for fd, _ in (*first, *second)} == {ours.fileno() for ours, _ in pairs}
    for ours, theirs in pairs:
        poller.remove(ours.fileno())
        ours.close()
        theirs.close()
    poller.close()


class FakeKqueue:
    def __init__(self) -> None:
        self.filters: set[tuple[int, int]] = set()
        self.reports: list[Any] = []
        self.closed = False

    def control(self, changes: Any, most: int, timeout_s: float | None = None) -> list[Any]:
        for change in changes or ():
            if change.flags == 1:
                self.filters.add((change.ident, change.filter))
            elif (change.ident, change.filter) not in self.filters:
                raise FileNotFoundError
            else:
                self.filters.remove((change.ident, change.filter))
        return self.reports[:most]

    def close(self) -> None:
        self.closed = True


def test_kqueue_keeps_a_filter_for_each_direction() -> None:
    kqueue = FakeKqueue()
    system = SimpleNamespace(
        kqueue=lambda: kqueue,
        kevent=lambda ident, event_filter, flags: SimpleNamespace(ident=ident, filter=event_filter, flags=flags),
        KQ_FILTER_READ=-1, KQ_FILTER_WRITE=-2, KQ_EV_ADD=1, KQ_EV_DELETE=2, KQ_EV_EOF=0x8000,
    )  # fmt: skip
    poller = KqueuePoller(system)
    poller.add(5, READ)
    assert kqueue.filters == {(5, -1)}
    poller.change(5, WRITE)
    assert kqueue.filters == {(5, -2)}
    poller.mute(5)
    poller.change(5, READ | WRITE)
    kqueue.reports = [
        SimpleNamespace(ident=5, filter=-1, flags=0, fflags=0),
        SimpleNamespace(ident=5, filter=-2, flags=0, fflags=0),
        SimpleNamespace(ident=6, filter=-1, flags=0x8000, fflags=104),
    ]
    assert list(poller.wait(0)) == [(5, READABLE | WRITABLE), (6, READABLE | ERROR)]
    kqueue.filters.remove((5, -1))  # it went with its descriptor
    poller.remove(5)
    assert kqueue.filters == set()
    assert poller.inputs == set()
    poller.close()
    assert kqueue.closed


def test_the_best_poller_is_chosen_and_a_missing_one_is_said_in_a_sentence() -> None:
    best = make_poller()
    assert best.name == available()[0]
    best.close()
    with pytest.raises(ValueError, match=r"there is no poller 'magic' on \w+; there are .*select \(or auto\)"):
        make_poller("magic")


@pytest.mark.network
@pytest.mark.parametrize("name", available())
def test_the_death_of_a_peer_is_reported_though_nothing_is_watched(name: str) -> None:
    poller = make_poller(name)
    near, far = socket.socketpair()
    with near, far:
        poller.add(near.fileno(), Interest.NOTHING)
        assert list(poller.wait(0)) == []
        far.close()
        [(fd, bits)] = poller.wait(1)
        assert fd == near.fileno()
        assert bits & HANGUP
        poller.mute(near.fileno())
        assert list(poller.wait(0)) == []
        poller.mute(near.fileno())
        poller.change(near.fileno(), Interest.NOTHING)
        poller.change(near.fileno(), Interest.NOTHING)
        assert poller.wait(1)
        poller.change(near.fileno(), Interest.READ)
        [(fd, bits)] = poller.wait(1)
        assert bits & READABLE
        poller.remove(near.fileno())
    poller.close()


class NoEpoll:
    """A system that has only select, as Windows has."""

    select = staticmethod(select.select)


@pytest.mark.network
def test_select_alone_watches_what_it_can() -> None:
    poller = make_poller("select", NoEpoll)
    near, far = socket.socketpair()
    with near, far:
        poller.add(near.fileno(), Interest.NOTHING)
        far.close()
        assert list(poller.wait(0)) == []
        poller.change(near.fileno(), Interest.READ)
        assert list(poller.wait(0)) == [(near.fileno(), READABLE)]
        poller.mute(near.fileno())
        poller.remove(near.fileno())
    poller.close()
    assert available(NoEpoll) == ("select",)


def test_epoll_watches_what_is_new_for_writing_as_well() -> None:
    poller = EpollPoller()
    ours, theirs = socket.socketpair()
    poller.add(ours.fileno(), READ | Interest.WRITE)
    assert poller.inputs == poller.outputs == {ours.fileno()}
    assert poller.wait(1) == [(ours.fileno(), WRITABLE)]
    poller.remove(ours.fileno())
    poller.remove(ours.fileno())  # it is out already
    assert not poller.inputs
    assert not poller.outputs
    for each in (ours, theirs, poller):
        each.close()
