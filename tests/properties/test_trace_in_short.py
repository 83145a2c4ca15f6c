"""A trace in short says what the lines say: of two worlds that hear the same, one writes a trace, the other's every transition is noted."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from fsmserver.core.behaviour import Behaviour
from fsmserver.core.exchange import apart
from fsmserver.core.line import Line, Written, read
from fsmserver.runtime.scheduler import TIMED_EVENTS
from fsmserver.runtime.trace import Trace, describe
from tests.fakes import make_world
from tests.properties.test_short_way import ANSWERS, SMALL, ShortWayAgainstMethods

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fsmserver.core.connection import ConnectionFSM
    from fsmserver.core.states import Event, State
    from fsmserver.runtime.link import Link


def by_connection(lines: Iterable[Line]) -> dict[int, list[Line]]:
    """Put together what belongs to one connection: of two that have answers to send it may be either's turn, as the way is."""
    lines_of: dict[int, list[Line]] = {}
    for line in lines:
        lines_of.setdefault(line.connection, []).append(line)
    return lines_of


class TraceAgainstLines(ShortWayAgainstMethods):
    """The two worlds, both watched: the first by a trace."""

    def __init__(self) -> None:
        super().__init__()
        self.paper = io.StringIO()
        self.lines: list[Line] = []
        self.worlds = (make_world(limits=SMALL, watcher=Trace(self.paper)), make_world(limits=SMALL, watcher=self.note))

    def note(self, link: Link, fsm: ConnectionFSM, origin: State, event: Event) -> None:
        self.watched += 1
        self.lines.append(describe(link, fsm, origin, event))

    @initialize(count=st.sampled_from([1, TIMED_EVENTS + 1]))
    def begin(self, count: int = 1) -> None:
        for _ in range(count):
            self.connect()

    @rule(count=st.integers(1, 3), size_bytes=st.integers(1, 5), script=st.lists(st.sampled_from(ANSWERS), max_size=3))
    def all_talk(self, count: int, size_bytes: int, script: list[str]) -> None:
        """Have all peers speak in the same rounds; most often it is answered as usual."""
        self.script[:] = ["echo"] if len(script) < 2 else script
        for _ in range(count):
            for which in range(len(self.crowds[0])):
                self.hear(which, size_bytes, None)
            self.rounds(1)

    def they_say_the_same(self) -> None:
        written: list[Written] = [read(json.loads(line)) for line in self.paper.getvalue().splitlines()]
        behaviour = Behaviour()
        behaviour.follow(written)
        assert behaviour.lines == len(written)
        assert behaviour.transitions == len(self.lines)
        assert by_connection(apart(written)) == by_connection(self.lines)

    def teardown(self) -> None:
        super().teardown()
        self.they_say_the_same()


TestTraceAgainstLines = TraceAgainstLines.TestCase
