"""What a search has seen, against what there is to see: states, pairs of consecutive transitions, and `sometimes`.

Which pairs can happen at all is derived from the table, `interest` and `owes_nothing`, by walking every state with every
set of holds: bytes, an end and urgent data come only to a connection that is read; `finish` comes when nothing is owed;
nothing is queued behind the end of the stream. Two facts of the round are added. The kernel answers an offer before anything else
happens to the connection, so `drain` comes right after `flush`. And what is queued is offered before an error is met, so
where nothing is read, a reset is the answer to an offer too: it comes right after `flush`, and never in `queued`.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, TypeAlias

from fsmserver.core.states import Event, Hold, Interest, State
from fsmserver.core.table import ALL_HOLDS, CONNECTION, FOREVER, SENDING, deadline, interest, owes_nothing

Arrow: TypeAlias = tuple[State, Event]
Pair: TypeAlias = tuple[State, Event, Event]
"""A state, the event that happened in it, and the event that happened next."""

LEAST_SHARE: Final = 0.05
"""A search in which a state holds less than this of the connection-steps is blind there."""


def can_happen(state: State, holds: Hold, event: Event, before: Event | None = None) -> bool:
    """Tell whether the scheduler can raise `event` there, right after `before` if that is given.

    The table must allow it, and so must the holds and the order of a round.
    """
    if event not in CONNECTION.arrows[state]:
        return False
    reads = bool(interest(state, holds) & Interest.READ)
    match event:
        case Event.RECEIVE | Event.EOF | Event.EXCEPTIONAL:
            can = reads
        case Event.FINISH:
            can = owes_nothing(state, holds)
        case Event.ENQUEUE:
            can = not holds & Hold.FINISHING
        case Event.RESET:
            can = reads or state not in SENDING or before in (Event.FLUSH, None)
        case Event.DRAIN:
            can = before in (Event.FLUSH, None)
        case Event.EXPIRE:
            can = deadline(state, holds) != FOREVER
        case _:
            can = True
    return can


def holds_after(state: State, holds: Hold, event: Event) -> tuple[Hold, ...]:
    """Give every set of holds that can be in force when the next event happens: `eof` is forever, the rest comes and goes."""
    sure = holds & (Hold.EOF | Hold.FINISHING)
    if event is Event.EOF:
        sure |= Hold.EOF
    sending = state in SENDING
    return tuple(
        later
        for later in ALL_HOLDS
        if later & sure == sure and (later & Hold.EOF) == (sure & Hold.EOF) and (sending or not later & Hold.BACKPRESSURE)
        if state is not State.ACCEPTED or not later
    )


def possible_pairs() -> frozenset[Pair]:
    """Give every pair of consecutive transitions that can happen."""
    pairs: set[Pair] = set()
    seen: set[tuple[State, Hold]] = set()
    todo = [(CONNECTION.initial, Hold(0))]
    while todo:
        state, holds = todo.pop()
        if (state, holds) in seen:
            continue
        seen.add((state, holds))
        for event in CONNECTION.arrows[state]:
            if not can_happen(state, holds, event):
                continue
            after = CONNECTION.arrows[state][event]
            for later in holds_after(after, holds, event):
                todo.append((after, later))
                pairs.update((state, event, next_one) for next_one in CONNECTION.arrows[after] if can_happen(after, later, next_one, event))
    return frozenset(pairs)


POSSIBLE_PAIRS: Final = possible_pairs()


class Coverage:
    """What was seen. `steps` counts, for each state, the operations on connections that were in it."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.steps: Counter[State] = Counter()
        self.pairs: Counter[Pair] = Counter()
        self.sometimes: Counter[str] = Counter()
        self.declared: set[str] = set()
        self.errnos: Counter[int] = Counter()

    def declare(self, *names: str) -> None:
        """Say what has to happen sometimes."""
        self.declared.update(names)

    def add(self, other: Coverage) -> None:
        """Take in what another search has seen."""
        self.steps.update(other.steps)
        self.pairs.update(other.pairs)
        self.sometimes.update(other.sometimes)
        self.errnos.update(other.errnos)
        self.declared |= other.declared

    @property
    def missing_pairs(self) -> list[str]:
        """The pairs of consecutive transitions that can happen and were not seen, in words."""
        return sorted(f"{state} {event}, then {following}" for state, event, following in POSSIBLE_PAIRS - set(self.pairs))

    @property
    def missing(self) -> list[str]:
        """What was declared and never happened."""
        return sorted(self.declared - {name for name, count in self.sometimes.items() if count})

    def shares(self) -> dict[State, float]:
        """Give each state's share of the steps."""
        total = sum(self.steps.values()) or 1
        return {state: self.steps[state] / total for state in State}

    def blind_spots(self, least_share: float = LEAST_SHARE) -> list[str]:
        """Say in sentences where the search was blind; nothing means that it was not."""
        spots = [
            f"only {share:.1%} of the steps were in {state}, and {least_share:.0%} is the least"
            for state, share in self.shares().items()
            if share < least_share
        ]
        spots += [f"never seen: {pair}" for pair in self.missing_pairs]
        return spots + [f"never happened: {name}" for name in self.missing]
