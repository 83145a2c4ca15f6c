"""What a connection does, written once, so that it can be computed with numbers and reasoned about with symbols.

A `Point` is a connection at one moment: the state that the table moves, the holds, the counts of bytes, two times, and
three facts of the world that no table knows: whether the application has seen it (`opened`), whether the socket is
still open (`alive`), and whether the kernel was offered what is in the outbox (`offered`). The facts are the measure
of the table. `possible` says when an event can happen in the world and `happen` what it does there, neither by state;
`fits` says which state belongs to which facts. Whether the table agrees is what the proof asks.

`Model` adds what `ConnectionFSM` does around the events, method for method. Nothing here repeats an arrow, a hold's
meaning or a deadline: they are read from `Tables`. A test drives `ConnectionFSM` and this model in lockstep.

`Logic` is what the formulas are made with: a solver's terms (`solvers.Symbols`) or plain Python.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Protocol, TypeAlias

from fsmserver.core.states import Event, Hold, State
from specs.proof.tables import Tables

Truth: TypeAlias = Any
"""A bool, or a formula of the logic that stands for one."""
Number: TypeAlias = Any
"""An int, or a term of the logic that stands for one."""

STATES: Final = tuple(State)
HOLDS: Final = tuple((hold.value, hold.words[0]) for hold in Hold)
"""Each hold's bit, and the field of `Point` that says whether it is in force."""


class Logic(Protocol):
    """The connectives."""

    def all_of(self, *truths: Truth) -> Truth:
        """Say that each holds."""

    def any_of(self, *truths: Truth) -> Truth:
        """Say that one holds."""

    def negate(self, truth: Truth) -> Truth:
        """Say that it does not hold."""

    def choose(self, condition: Truth, yes: Any, no: Any) -> Any:  # noqa: ANN401 - truths or numbers
        """Give `yes` where the condition holds, else `no`."""


class Plain:
    """The connectives for bools and ints, so that the model runs."""

    def all_of(self, *truths: Truth) -> Truth:
        """Say that each holds."""
        return all(truths)

    def any_of(self, *truths: Truth) -> Truth:
        """Say that one holds."""
        return any(truths)

    def negate(self, truth: Truth) -> Truth:
        """Say that it does not hold."""
        return not truth

    def choose(self, condition: Truth, yes: Any, no: Any) -> Any:  # noqa: ANN401 - as above
        """Give `yes` where the condition holds, else `no`."""
        return yes if condition else no


@dataclass(frozen=True)
class Point:
    """A connection at one moment. Sizes are bytes, times are any whole unit."""

    state: Number  # the index in STATES
    eof: Truth
    finishing: Truth
    paused: Truth
    backpressure: Truth
    opened: Truth
    alive: Truth
    offered: Truth
    sealed: Truth
    outbox: Number
    written: Number
    taken: Number
    discarded: Number
    high: Number
    low: Number
    cap: Number
    received: Number
    delivered: Number  # of these, the application was given
    lingered: Number  # and these were thrown away
    linger_limit: Number
    since: Number
    now: Number
    closes: Number  # how often `closed` was reached
    graceful: Truth  # it was reached by `finish`
    marks_moved: Truth  # the marks were set since the kernel last took something
    broken: Truth  # an event was raised inside that the table does not allow


TRUTHS: Final = frozenset(
    ("eof", "finishing", "paused", "backpressure", "opened", "alive", "offered", "sealed", "graceful", "marks_moved", "broken")
)
"""The fields that are true or false; all others are numbers."""


def index(state: State) -> int:
    """Give the number that stands for a state."""
    return STATES.index(state)


class Model:
    """The events and the methods of a connection, over the tables `tables`, made of `logic`.

    A method takes the point before and gives `(refused, after)`: whether the caller is told off, and then nothing has
    changed, and the point after.
    """

    def __init__(self, logic: Logic, tables: Tables) -> None:
        """Read everything that the table decides from `tables`."""
        self.all_of, self.any_of, self.negate, self.choose = logic.all_of, logic.any_of, logic.negate, logic.choose
        self.tables = tables

    # Looking things up.

    def in_state(self, point: Point, *states: State) -> Truth:
        """Say that the point is in one of `states`."""
        return self.any_of(*(point.state == index(state) for state in states))

    def at(self, point: Point, rows: Mapping[State, Sequence[Any]], wanted: Callable[[Any], bool]) -> Truth:
        """Say that the entry of a table by state and holds is one that is `wanted`."""
        if isinstance(point.state, int):  # then its holds are known, too
            return wanted(rows[STATES[point.state]][sum(bit for bit, name in HOLDS if getattr(point, name))])
        cases = []
        for state, row in rows.items():
            bits = [bits for bits, entry in enumerate(row) if wanted(entry)]
            here = point.state == index(state)
            if len(bits) == len(row):
                cases.append(here)
            elif bits:
                cases.append(self.all_of(here, self.any_of(*(self._holding(point, each) for each in bits))))
        return self.any_of(*cases)

    def _holding(self, point: Point, bits: int) -> Truth:
        held = ((getattr(point, name), bits & bit) for bit, name in HOLDS)
        return self.all_of(*(truth if wanted else self.negate(truth) for truth, wanted in held))

    def legal(self, point: Point, event: Event) -> Truth:
        """Say that the table allows `event` now."""
        return self.in_state(point, *(state for state in STATES if event in self.tables.arrows[state]))

    def runs(self, point: Point, limit: str) -> Truth:
        """Say that the table has `limit` run now."""
        return self.at(point, self.tables.deadline, lambda entry: entry == limit)

    def renewed(self, point: Point, moved: str) -> Truth:
        """Say that the table starts the deadline anew when bytes `moved`."""
        return self.at(point, self.tables.renews[moved], bool)

    def owes_nothing(self, point: Point) -> Truth:
        """Say that the table has `finish` follow at once."""
        return self.at(point, self.tables.owes_nothing, bool)

    # The world.

    def possible(self, point: Point, event: Event) -> Truth:
        """Say that `event` can happen in the world, whatever the table thinks of it."""
        more: dict[Event, Truth] = {
            Event.OPEN: self.negate(point.opened),
            Event.ENQUEUE: point.opened,
            Event.FLUSH: point.outbox > 0,
            Event.DRAIN: self.all_of(point.outbox > 0, point.offered),
            Event.FINISH: self.all_of(point.opened, point.outbox == 0),
        }
        return self.all_of(point.alive, more[event]) if event in more else point.alive

    def fits(self, point: Point) -> Truth:
        """Say that the state is the one that belongs to the facts."""
        empty = point.outbox == 0
        facts = {
            State.CLOSED: self.negate(point.alive),
            State.ACCEPTED: self.all_of(point.alive, self.negate(point.opened)),
            State.READING: self.all_of(point.alive, point.opened, empty),
            State.QUEUED: self.all_of(point.alive, point.opened, self.negate(empty), self.negate(point.offered)),
            State.WRITING: self.all_of(point.alive, point.opened, self.negate(empty), point.offered),
        }
        return self.all_of(*((point.state == index(state)) == fact for state, fact in facts.items()))

    def _facts_after(self, point: Point, event: Event) -> Point:
        if event is Event.OPEN:
            return replace(point, opened=True)
        if event is Event.FLUSH:
            return replace(point, offered=True)
        if event is Event.DRAIN:
            return replace(point, offered=False)
        if event is Event.EOF:  # before it is open, nobody can want it half open
            return self._dead_unless(point, point.opened)
        if event in (Event.RECEIVE, Event.ENQUEUE):
            return point
        return self._dead_unless(point, False)

    def _dead_unless(self, point: Point, truth: Truth) -> Point:
        alive = self.all_of(point.alive, truth)
        return replace(point, alive=alive, offered=self.all_of(point.offered, alive))

    def put(self, point: Point, count: Number) -> Point:
        """Put `count` bytes into the outbox."""
        return replace(point, outbox=point.outbox + count, written=point.written + count)

    def take(self, point: Point, count: Number) -> Point:
        """Let the kernel take `count` bytes out of the outbox."""
        return replace(point, outbox=point.outbox - count, taken=point.taken + count, marks_moved=False)

    def fire(self, point: Point, event: Event) -> Point:
        """Move along the table, and let the facts follow the event. What leads to `closed` throws the outbox away."""
        state = point.state
        for origin, row in self.tables.arrows.items():
            if event in row:
                state = self.choose(point.state == index(origin), index(row[event]), state)
        legal = self.legal(point, event)
        ends = state == index(State.CLOSED)
        facts = self._facts_after(point, event)
        after = replace(
            facts,
            state=state,
            discarded=point.discarded + self.choose(ends, point.outbox, 0),
            outbox=self.choose(ends, 0, point.outbox),
            sealed=self.any_of(point.sealed, ends),
            closes=point.closes + self.choose(ends, 1, 0),
            graceful=self.choose(ends, event is Event.FINISH, point.graceful),
        )
        return self.either(legal, after, replace(point, broken=True))

    def happen(self, point: Point, event: Event, count: Number) -> Point:
        """Let the world do `event`, with its bytes: `count` of them are written, or the kernel takes all that is left."""
        if event is Event.ENQUEUE:
            point = self.put(point, count)
        elif event is Event.DRAIN:
            point = self.take(point, point.outbox)
        return self.fire(point, event)

    def either(self, condition: Truth, yes: Point, no: Point) -> Point:
        """Give `yes` where `condition` holds, else `no`, field by field."""
        if isinstance(condition, bool):
            return yes if condition else no
        both = ((field.name, getattr(yes, field.name), getattr(no, field.name)) for field in fields(Point))
        return Point(**{name: left if left is right else self.choose(condition, left, right) for name, left, right in both})

    # The methods.

    def open(self, point: Point) -> tuple[Truth, Point]:
        """Say that the handshake is done."""
        return self._do(point, Event.OPEN)

    def receive(self, point: Point, count: Number) -> tuple[Truth, Point]:
        """Say that `count` bytes came; after a close has begun they are thrown away, and too many of them end it."""
        after = self.fire(point, Event.RECEIVE)
        thrown = self.choose(after.finishing, count, 0)
        after = replace(
            after,
            received=after.received + count,
            delivered=after.delivered + count - thrown,
            lingered=after.lingered + thrown,
            since=self.choose(self.renewed(after, "received"), point.now, after.since),
        )
        overrun = self.all_of(after.finishing, after.lingered > after.linger_limit)
        after = self.either(overrun, self.fire(after, Event.ABORT), after)
        return self._refuse_unless(self.legal(point, Event.RECEIVE), point, after)

    def eof(self, point: Point, half_open: Truth) -> tuple[Truth, Point]:
        """Say that the peer will send no more."""
        after = self._hold(self.fire(point, Event.EOF), "eof")
        over = self.any_of(self.negate(half_open), self.all_of(after.sealed, after.outbox == 0))
        after = self._finish_if_nothing_is_owed(self.either(over, self._close(after), after))
        return self._refuse_unless(self.legal(point, Event.EOF), point, after)

    def reset(self, point: Point) -> tuple[Truth, Point]:
        """Say that the socket failed."""
        return self._do(point, Event.RESET)

    def exceptional(self, point: Point) -> tuple[Truth, Point]:
        """Say that urgent data came, under the policy that closes."""
        return self._do(point, Event.EXCEPTIONAL)

    def expire(self, point: Point) -> tuple[Truth, Point]:
        """Say that a deadline passed."""
        return self._do(point, Event.EXPIRE)

    def abort(self, point: Point) -> tuple[Truth, Point]:
        """Give the connection up."""
        return self._do(point, Event.ABORT)

    def enqueue(self, point: Point, count: Number) -> tuple[Truth, Point]:
        """Put `count` bytes into the outbox, none of them perhaps; over the high mark reading is held."""
        wanted = self.all_of(self.legal(point, Event.ENQUEUE), self.negate(point.sealed), point.outbox + count <= point.cap)
        after = self.fire(self.put(point, count), Event.ENQUEUE)
        after = replace(after, backpressure=self.any_of(after.backpressure, after.outbox > after.high))
        return self._refuse_unless(wanted, point, self.either(count > 0, after, point))

    def close(self, point: Point) -> tuple[Truth, Point]:
        """Close gracefully."""
        return self._refuse_unless(True, point, self._close(point))

    def write_eof(self, point: Point) -> tuple[Truth, Point]:
        """Queue the end of the outgoing stream."""
        after = replace(point, sealed=True)
        both = self.all_of(after.eof, after.outbox == 0)
        after = self.either(both, self._close(after), after)
        return self._refuse_unless(self.negate(self.in_state(point, State.ACCEPTED)), point, after)

    def pause(self, point: Point) -> tuple[Truth, Point]:
        """Stop reading."""
        return self._refuse_unless(True, point, self._hold(point, "paused"))

    def resume(self, point: Point) -> tuple[Truth, Point]:
        """Take back `pause`."""
        closed = self.in_state(point, State.CLOSED)
        after = replace(point, paused=self.all_of(point.paused, closed))
        return self._refuse_unless(True, point, after)

    def set_marks(self, point: Point, high: Number, low: Number) -> tuple[Truth, Point]:
        """Set the watermarks."""
        after = replace(point, high=high, low=low, backpressure=self.any_of(point.backpressure, point.outbox > high), marks_moved=True)
        return self._refuse_unless(self.all_of(low >= 0, low <= high), point, after)

    def flush(self, point: Point) -> tuple[Truth, Point]:
        """Offer the outbox to the kernel."""
        return self._do(point, Event.FLUSH)

    def sent(self, point: Point, count: Number) -> tuple[Truth, Point]:
        """Say how much of what was offered the kernel took."""
        wanted = self.all_of(self.legal(point, Event.DRAIN), count >= 0, count <= point.outbox)
        renewed = self.all_of(count > 0, self.renewed(point, "taken"))
        after = replace(self.take(point, count), since=self.choose(renewed, point.now, point.since))
        after = replace(after, backpressure=self.all_of(after.backpressure, after.outbox > after.low))
        drained = self.fire(after, Event.DRAIN)
        drained = self.either(self.all_of(drained.sealed, drained.eof), self._close(drained), drained)
        drained = self.either(drained.sealed, self._finish_if_nothing_is_owed(drained), drained)
        return self._refuse_unless(wanted, point, self.either(after.outbox == 0, drained, after))

    # What they share.

    def _do(self, point: Point, event: Event) -> tuple[Truth, Point]:
        return self._refuse_unless(self.legal(point, event), point, self.fire(point, event))

    def _refuse_unless(self, wanted: Truth, point: Point, after: Point) -> tuple[Truth, Point]:
        """Leave everything as it was where the call is refused. A limit that begins to run begins now."""
        same = self.any_of(*(self.all_of(self.runs(point, limit), self.runs(after, limit)) for limit in self.tables.limits))
        after = replace(after, since=self.choose(same, after.since, point.now))
        return self.negate(wanted), self.either(wanted, after, point)

    def _close(self, point: Point) -> Point:
        accepted = self.in_state(point, State.ACCEPTED)
        nothing = self.any_of(self.in_state(point, State.CLOSED), point.finishing)
        finishing = self._finish_if_nothing_is_owed(replace(self._hold(point, "finishing"), sealed=True))
        return self.either(accepted, self.fire(point, Event.ABORT), self.either(nothing, point, finishing))

    def _hold(self, point: Point, hold: str) -> Point:
        held = self.any_of(getattr(point, hold), self.negate(self.in_state(point, State.CLOSED)))
        return replace(point, **{hold: held})

    def _finish_if_nothing_is_owed(self, point: Point) -> Point:
        return self.either(self.owes_nothing(point), self.fire(point, Event.FINISH), point)


METHODS: Final[Mapping[str, Sequence[str]]] = {
    "open": (),
    "receive": ("count",),
    "eof": ("half_open",),
    "reset": (),
    "exceptional": (),
    "expire": (),
    "abort": (),
    "enqueue": ("count",),
    "close": (),
    "write_eof": (),
    "pause": (),
    "resume": (),
    "set_marks": ("high", "low"),
    "flush": (),
    "sent": ("count",),
}
"""Every method that changes a connection, and what it is told."""


def beginning(tables: Tables, *, high: Number, low: Number, cap: Number, linger_limit: Number, now: Number) -> Point:
    """Give the point at which a connection begins, with its limits."""
    numbers = dict.fromkeys(("outbox", "written", "taken", "discarded", "received", "delivered", "lingered", "closes"), 0)
    truths = {**dict.fromkeys(TRUTHS, False), "alive": True}
    return Point(
        state=index(tables.initial), high=high, low=low, cap=cap, linger_limit=linger_limit, since=now, now=now, **numbers, **truths
    )
