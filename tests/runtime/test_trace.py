"""The trace: lines that are put together from patterns are those that are made anew."""

import io
import json
from typing import Any

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.line import Line
from fsmserver.core.states import Event, State
from fsmserver.runtime.link import Link
from fsmserver.runtime.trace import Trace, transition
from tests.fakes import Recorder, assert_no_leaks, make_world


def test_each_line_is_what_the_transition_says() -> None:
    file = io.StringIO()
    trace = Trace(file)
    expected: list[dict[str, Any]] = []

    def watch(link: Link, fsm: ConnectionFSM, origin: State, event: Event) -> None:
        trace(link, fsm, origin, event)
        expected.append(json.loads(json.dumps(transition(link, fsm, origin, event))))

    world = make_world(watcher=watch)
    for _ in range(2):
        sock, protocol = world.connect(Recorder(data_received=lambda recorder, data: recorder.say(data)))
        for size_bytes, room_bytes in ((3, 1 << 20), (100, 7), (5, 0)):
            world.clock.advance(1 / 3)
            sock.feed(b"d" * size_bytes)
            sock.room_bytes = room_bytes
            world.round()
        protocol.transport.pause_reading()
        world.round()
        sock.room_bytes = 1 << 20
        world.round()
        protocol.transport.resume_reading()
        protocol.transport.set_write_buffer_limits(50, 20)
        sock.feed(b"100 % of it")
        world.round()
        sock.feed_eof()
        world.round()
    assert [json.loads(line) for line in file.getvalue().splitlines()] == expected
    assert len(expected) > 30
    assert all(Line.of(line) for line in expected)
    assert_no_leaks(world)
