"""Waker, journal, trace, capacity and statistics."""

import io
import json
import logging
import resource
import sys
from itertools import pairwise

import pytest

from fsmserver.core.limits import Limits
from fsmserver.runtime.capacity import RESERVE, UNKNOWN_LIMIT, connection_limit, descriptor_limit
from fsmserver.runtime.pollers import make_poller
from fsmserver.runtime.trace import Trace
from fsmserver.runtime.waker import SocketWaker
from tests.fakes import Recorder, assert_no_leaks, make_world


def test_a_waker_is_readable_from_the_wake_to_the_quiet() -> None:
    waker, poller = SocketWaker(), make_poller("select")
    poller.inputs.add(waker.fileno())
    assert not poller.wait(0)
    for _ in range(100_000):
        waker.wake()  # more than the pair can hold
    assert poller.wait(0)
    waker.quiet()
    assert not poller.wait(0)
    waker.close()
    waker.wake()


def test_a_waker_whose_other_end_is_gone_is_quiet_too() -> None:
    waker = SocketWaker()
    waker._rung.close()
    waker.quiet()
    waker.close()


def test_the_log_is_bounded_and_what_was_left_out_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fsmserver")
    world = make_world(limits=Limits(log_lines_per_s=3))
    for _ in range(5):
        world.connect()
    assert caplog.text.count(" opened") == 3
    world.clock.advance(2)
    world.round()
    sock, _ = world.connect()
    assert "2 lines about connections were left out (log_lines_per_s)" in caplog.text
    sock.feed_eof()
    world.rounds(2)
    assert "#6 192.0.2.1:40000 closed, finished by the peer while reading; 0 bytes in, 0 bytes out" in caplog.text
    assert_no_leaks(world)


def test_the_lines_of_a_trace_add_up() -> None:
    file = io.StringIO()
    world = make_world(watcher=Trace(file))
    sock, protocol = world.connect(Recorder(data_received=lambda me, data: me.say(data)))
    sock.room_bytes = 3
    sock.feed(b"hello")
    world.round()
    protocol.transport.abort()
    world.round()
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["open", "receive", "enqueue", "flush", "abort"]
    for line in lines:
        assert line["written"] == line["taken"] + line["outbox"] + line["discarded"]
    assert (lines[-1]["who"], lines[-1]["error"], lines[-1]["discarded"]) == ("application", None, 2)
    assert all(former["to"] == latter["from"] for former, latter in pairwise(lines))
    failing, _ = world.connect()
    failing.feed_error(104)
    world.round()
    assert "104" in json.loads(file.getvalue().splitlines()[-1])["error"]
    assert_no_leaks(world)


def test_the_connection_limit_leaves_a_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection_limit(7, 1024) == 7
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
    assert connection_limit(None, None) == 4096 - RESERVE
    assert connection_limit(None, 1024) == 1024 - RESERVE
    monkeypatch.setattr(resource, "getrlimit", lambda _: (40, 40))
    assert connection_limit(None, None) == 20
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert descriptor_limit() == 1 << 20
    monkeypatch.setitem(sys.modules, "resource", None)
    assert descriptor_limit() == UNKNOWN_LIMIT
