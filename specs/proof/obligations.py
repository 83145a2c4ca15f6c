"""Everything that is proved, each as one question to a solver.

An obligation assumes something of a connection at one moment and claims something of it, or of the moment after. The
solver is asked for a moment at which the assumption holds and the claim does not; it must find none. A few ask the
other way round, that there is such a moment at all: they keep the rest from being true because nothing can happen.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from typing import Any, Final

from fsmserver.core.states import Event, Interest, State
from fsmserver.core.table import FOREVER
from specs.proof.model import METHODS, TRUTHS, Model, Point, Truth, beginning, index
from specs.proof.solvers import Symbols
from specs.proof.tables import Tables


@dataclass(frozen=True)
class Question:
    """What a solver is asked: can `assumed` hold and `claimed` not? `before` and `after` are shown if so, and what was `told`."""

    assumed: Truth
    claimed: Truth
    before: Point
    after: Point | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Obligation:
    """One thing to be proved. `group` is what it is about, `claim` says it in words; `possible` ones ask for an example."""

    group: str
    claim: str
    ask: Callable[["Reasoning"], Question]
    possible: bool = False


Invariant = Callable[[Model, Point], Truth]


class Reasoning(Model):
    """The model over a solver's terms: it can also be asked about what is unknown."""

    def __init__(self, symbols: Symbols, tables: Tables) -> None:
        """Use the terms of `symbols`."""
        super().__init__(symbols, tables)
        self.symbols = symbols


def _implies(model: Model, condition: Truth, consequence: Truth) -> Truth:
    return model.any_of(model.negate(condition), consequence)


# What always holds.

BASIC: Final[Mapping[str, Invariant]] = {
    "the state is the one that belongs to what is open, offered and unsent": lambda model, at: model.fits(at),
    "queued or writing if and only if the outbox holds bytes": lambda model, at: (
        model.in_state(at, *model.tables.sending) == (at.outbox > 0)
    ),
    "counts of bytes are never negative": lambda model, at: model.all_of(
        at.outbox >= 0, at.written >= 0, at.taken >= 0, at.discarded >= 0, at.received >= 0, at.delivered >= 0, at.lingered >= 0
    ),
    "only an open connection has bytes in its outbox, and only unsent bytes have been offered": lambda model, at: model.all_of(
        _implies(model, at.outbox > 0, model.all_of(at.alive, at.opened)), _implies(model, at.offered, at.outbox > 0)
    ),
}
"""What the rows of the table are measured against: it says nothing of holds."""

INVARIANTS: Final[Mapping[str, Invariant]] = {
    **BASIC,
    "written = taken + in the outbox + discarded": lambda model, at: at.written == at.taken + at.outbox + at.discarded,
    "received = delivered + thrown away after our close": lambda model, at: at.received == at.delivered + at.lingered,
    "closed is reached once": lambda model, at: at.closes == model.choose(model.in_state(at, State.CLOSED), 1, 0),
    "nothing is discarded before the end, nor by a graceful one": lambda model, at: _implies(
        model, model.any_of(at.alive, at.graceful), at.discarded == 0
    ),
    "only the end is graceful": lambda model, at: _implies(model, at.graceful, model.negate(at.alive)),
    "the outbox keeps to its cap": lambda model, at: at.outbox <= at.cap,
    "over the high mark, reading is held": lambda model, at: _implies(model, model.all_of(at.alive, at.outbox > at.high), at.backpressure),
    "backpressure is held over the low mark only, and looked at again": lambda model, at: _implies(
        model,
        model.all_of(at.alive, at.backpressure),
        model.all_of(at.outbox > 0, model.any_of(at.marks_moved, at.outbox > at.low)),
    ),
    "the marks are in order": lambda model, at: model.all_of(at.low >= 0, at.low <= at.high),
    "who finishes has said the end of the stream": lambda model, at: _implies(model, at.finishing, at.sealed),
    "before it is open, nothing is held but a pause, and nothing is said": lambda model, at: _implies(
        model,
        model.all_of(at.alive, model.negate(at.opened)),
        model.negate(model.any_of(at.eof, at.finishing, at.backpressure, at.sealed, at.written > 0)),
    ),
    "what owes nothing is closed": lambda model, at: _implies(model, at.alive, model.negate(model.owes_nothing(at))),
    "both directions ended and nothing unsent: closed": lambda model, at: _implies(
        model, model.all_of(at.eof, at.sealed, at.outbox == 0), model.negate(at.alive)
    ),
    "a lingering close reads no more than its limit": lambda model, at: _implies(model, at.alive, at.lingered <= at.linger_limit),
    "no deadline began in the future": lambda model, at: at.since <= at.now,
    "no event inside a method is illegal": lambda model, at: model.negate(at.broken),
}


def _holds(model: Model, at: Point, invariants: Mapping[str, Invariant]) -> Truth:
    return model.all_of(*(invariant(model, at) for invariant in invariants.values()))


def anywhere(model: Reasoning) -> Point:
    """Give a point of which nothing is known."""
    names = (each.name for each in fields(Point))
    return Point(**{name: model.symbols.truth(name) if name in TRUTHS else model.symbols.number(name) for name in names})


# What there is to prove.


def obligations(tables: Tables) -> Iterator[Obligation]:
    """Give every obligation; which there are depends on the names in `tables` only."""
    yield from _at_the_beginning()
    for event in Event:
        yield from _arrows_of(event)
    yield from _facts_of_the_table(tables)
    for method in METHODS:
        yield from _method(method)
    yield from _what_follows()
    yield from _what_is_possible()


def _at_the_beginning() -> Iterator[Obligation]:
    def ask(model: Reasoning, invariant: Invariant) -> Question:
        at = anywhere(model)
        first = beginning(model.tables, high=at.high, low=at.low, cap=at.cap, linger_limit=at.linger_limit, now=at.now)
        limits = model.all_of(at.low >= 0, at.low <= at.high, at.high <= at.cap, at.linger_limit > 0)
        return Question(limits, invariant(model, first), first)

    for claim, invariant in INVARIANTS.items():
        yield Obligation("at the beginning", claim, partial(ask, invariant=invariant))


def _arrows_of(event: Event) -> Iterator[Obligation]:
    def arrive(model: Reasoning) -> tuple[Truth, Point]:
        at = anywhere(model)
        return _holds(model, at, BASIC), at

    def sound(model: Reasoning) -> Question:
        basic, at = arrive(model)
        return Question(model.all_of(basic, model.legal(at, event)), model.possible(at, event), at)

    def complete(model: Reasoning) -> Question:
        basic, at = arrive(model)
        return Question(model.all_of(basic, model.possible(at, event)), model.legal(at, event), at)

    def lands(model: Reasoning) -> Question:
        basic, at = arrive(model)
        count = model.symbols.number("count")
        after = model.happen(at, event, count)
        assumed = model.all_of(basic, model.possible(at, event), model.legal(at, event), count > 0)
        return Question(assumed, _holds(model, after, BASIC), at, after)

    def one(model: Reasoning) -> Question:
        at, other = anywhere(model), model.symbols.number("other")
        arrows = [(index(origin), index(to)) for name, origin, to in model.tables.declared if name is event]

        def leads_to(destination: Any) -> Truth:  # noqa: ANN401 - a term
            return model.any_of(*(model.all_of(at.state == origin, destination == to) for origin, to in arrows))

        after = replace(at, state=model.symbols.number("destination"))
        assumed = model.all_of(leads_to(after.state), leads_to(other))
        return Question(assumed, after.state == other, at, after, {"state it leads to, too": other})

    graceful = event is Event.FINISH
    yield Obligation(f"event {event}", "legal only with nothing unsent" if graceful else "legal only where it can happen", sound)
    yield Obligation(f"event {event}", "legal wherever it can happen", complete)
    yield Obligation(f"event {event}", "leads to the state that belongs to what is so then", lands)
    yield Obligation(f"event {event}", "leads to one state", one)


def _facts_of_the_table(tables: Tables) -> Iterator[Obligation]:
    """Whatever is held: also what cannot be held in a state has its entry, and it must be right."""

    def ask(model: Reasoning, entry: Invariant, fact: Invariant) -> Question:
        at = anywhere(model)
        return Question(_holds(model, at, BASIC), entry(model, at) == fact(model, at), at)

    def add(claim: str, entry: Invariant, fact: Invariant) -> Obligation:
        return Obligation("the table", claim, partial(ask, entry=entry, fact=fact))

    def ready(model: Model, at: Point) -> Truth:
        return model.all_of(at.alive, at.opened, at.outbox == 0)

    def lingering(model: Model, at: Point) -> Truth:
        return model.all_of(ready(model, at), at.finishing, model.negate(at.eof))

    def unheld(model: Model, at: Point) -> Truth:
        return model.negate(model.any_of(at.eof, at.finishing, at.paused, at.backpressure))

    def watches(interest: Interest) -> Invariant:
        return lambda model, at: model.at(at, model.tables.interest, lambda entry: interest in entry)

    def runs(model: Model, at: Point, limit: str) -> Truth:
        return model.runs(at, limit)

    def renewed(model: Model, at: Point, moved: str) -> Truth:
        return model.renewed(at, moved)

    def one_of(model: Model, at: Point, limits: Sequence[str]) -> Truth:
        return model.any_of(*(runs_where[limit](model, at) for limit in limits))

    yield add("writing is watched if and only if the outbox holds bytes", watches(Interest.WRITE), lambda model, at: at.outbox > 0)
    yield add(
        "reading is watched if and only if nothing is held, or it lingers",
        watches(Interest.READ),
        lambda model, at: model.all_of(at.alive, model.any_of(unheld(model, at), lingering(model, at))),
    )
    yield add(
        "it lingers if and only if all is sent, our end said and the peer's not",
        lambda model, at: model.at(at, model.tables.lingers, bool),
        lingering,
    )
    yield add(
        "nothing is owed if and only if all is sent and both ends are said",
        lambda model, at: model.owes_nothing(at),
        lambda model, at: model.all_of(ready(model, at), at.eof, at.finishing),
    )
    runs_where: Mapping[str, Invariant] = {
        "handshake_s": lambda model, at: model.all_of(at.alive, model.negate(at.opened)),
        "stall_s": lambda model, at: at.outbox > 0,
        "half_closed_s": lambda model, at: model.all_of(ready(model, at), at.eof),
        "linger_s": lingering,
        "idle_s": lambda model, at: model.all_of(ready(model, at), model.negate(model.any_of(at.eof, at.finishing))),
        FOREVER: lambda model, at: model.negate(at.alive),
    }
    words = {
        "handshake_s": "before it is open", "stall_s": "while bytes are unsent", "half_closed_s": "when the peer alone has ended",
        "linger_s": "when all is sent and the peer's end is awaited", "idle_s": "on an open connection with nothing to do",
        FOREVER: "after the end",
    }  # fmt: skip
    for limit, fact in runs_where.items():
        yield add(f"{limit} runs {words[limit]}, and only then", partial(runs, limit=limit), fact)
    yield add(
        "one limit runs always, and a known one",
        lambda model, at: model.all_of(
            model.any_of(*(model.runs(at, limit) for limit in runs_where)),
            *(model.negate(model.runs(at, limit)) for limit in tables.limits if limit not in runs_where),
        ),
        lambda *_: True,
    )
    for moved, limits in (("received", ("idle_s",)), ("taken", ("idle_s", "stall_s"))):
        yield add(
            f"bytes {moved} move on {' and '.join(limits)}, and nothing else",
            partial(renewed, moved=moved),
            partial(one_of, limits=limits),
        )


@cache
def _call(model: Reasoning, method: str) -> tuple[Truth, Truth, Point, Point, dict[str, Any]]:
    """Call a method at any point where all invariants hold. Give what is assumed, whether it is refused, before, after, told."""
    before = anywhere(model)
    later = model.symbols.number("later")
    told = {name: model.symbols.truth(name) if name == "half_open" else model.symbols.number(name) for name in METHODS[method]}
    assumed = model.all_of(_holds(model, before, INVARIANTS), later >= before.now)
    if method in ("receive", "enqueue"):
        assumed = model.all_of(assumed, told["count"] >= (1 if method == "receive" else 0))
    refused, after = getattr(model, method)(replace(before, now=later), *told.values())
    return assumed, refused, before, after, told


def _method(method: str) -> Iterator[Obligation]:
    def ask(model: Reasoning, invariant: Invariant) -> Question:
        assumed, _, before, after, told = _call(model, method)
        return Question(assumed, invariant(model, after), before, after, told)

    def final(model: Reasoning) -> Question:
        assumed, _, before, after, told = _call(model, method)
        same = (getattr(after, name) == getattr(before, name) for name in ("state", "closes", "written", "taken", "discarded", "received"))
        return Question(model.all_of(assumed, model.negate(before.alive)), model.all_of(*same), before, after, told)

    for claim, invariant in INVARIANTS.items():
        yield Obligation(f"after {method}", claim, partial(ask, invariant=invariant))
    yield Obligation(f"after {method}", "a closed connection is as it was", final)


def _what_follows() -> Iterator[Obligation]:
    def deaf(model: Reasoning) -> Question:
        assumed, _, before, after, told = _call(model, "receive")
        return Question(model.all_of(assumed, before.finishing), after.delivered == before.delivered, before, after, told)

    def stubborn(model: Reasoning) -> Question:
        assumed, _, before, after, told = _call(model, "receive")
        held = model.any_of(model.negate(before.opened), before.outbox > 0, before.eof, before.finishing)
        unmoved = model.any_of(model.negate(after.alive), after.since == before.since)
        return Question(model.all_of(assumed, held), unmoved, before, after, told)

    def expires(model: Reasoning) -> Question:
        assumed, refused, before, after, told = _call(model, "expire")
        ended = model.all_of(model.negate(refused), model.in_state(after, State.CLOSED))
        return Question(model.all_of(assumed, before.alive), ended, before, after, told)

    def is_sent(model: Reasoning) -> Question:
        assumed, refused, before, offered, told = _call(model, "flush")
        twice, after = model.sent(offered, before.outbox)
        gone = model.all_of(model.negate(refused), model.negate(twice), after.outbox == 0, after.taken == before.taken + before.outbox)
        return Question(model.all_of(assumed, before.outbox > 0), gone, before, after, told)

    def ends(model: Reasoning) -> Question:
        assumed, _, before, after, told = _call(model, "eof")
        ready = model.all_of(before.alive, before.finishing, before.outbox == 0)
        ended = model.all_of(model.in_state(after, State.CLOSED), after.graceful)
        return Question(model.all_of(assumed, ready), ended, before, after, told)

    yield Obligation("what follows", "after a close has begun, the application is given nothing", deaf)
    yield Obligation("what follows", "a peer that only sends moves no deadline but the idle one", stubborn)
    yield Obligation("what follows", "a deadline that passes closes, wherever that is", expires)
    yield Obligation("what follows", "what is in the outbox can be sent to the last byte", is_sent)
    yield Obligation("what follows", "the peer's end closes a lingering connection gracefully", ends)


def _what_is_possible() -> Iterator[Obligation]:
    def state(model: Reasoning, wanted: State) -> Question:
        at = anywhere(model)
        return Question(_holds(model, at, INVARIANTS), model.negate(model.in_state(at, wanted)), at)

    def works(model: Reasoning, method: str) -> Question:
        assumed, refused, before, after, told = _call(model, method)
        return Question(model.all_of(assumed, before.alive, model.negate(refused)), model.any_of(), before, after, told)

    for wanted in State:
        yield Obligation("not empty", f"some connection is {wanted}", partial(state, wanted=wanted), possible=True)
    for method in METHODS:
        yield Obligation("not empty", f"{method} is possible somewhere", partial(works, method=method), possible=True)
