"""What the code's table says, in one value: the proof reads it from here, and a test hands in a changed one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fsmserver.core import table
from fsmserver.core.states import Event, Interest, State


@dataclass(frozen=True)
class Tables:
    """The declaration and what follows from state and holds; the latter by state and then by the bits of the holds."""

    arrows: Mapping[State, Mapping[Event, State]]
    declared: Sequence[tuple[Event, State, State]]
    """Each arrow that `transitions` holds, as (event, from, to): a pair may be there twice."""
    initial: State
    sending: frozenset[State]
    interest: Mapping[State, Sequence[Interest]]
    lingers: Mapping[State, Sequence[bool]]
    owes_nothing: Mapping[State, Sequence[bool]]
    deadline: Mapping[State, Sequence[str]]
    renews: Mapping[str, Mapping[State, Sequence[bool]]]

    @property
    def limits(self) -> tuple[str, ...]:
        """Every limit that runs somewhere."""
        return tuple(sorted({limit for row in self.deadline.values() for limit in row}))

    def with_arrow(self, event: Event, origin: State, destination: State | None) -> "Tables":
        """Give these tables with one arrow changed; None makes the pair illegal."""
        row = {each: after for each, after in self.arrows[origin].items() if each is not event}
        if destination is not None:
            row[event] = destination
        declared = [arrow for arrow in self.declared if arrow[:2] != (event, origin)]
        if destination is not None:
            declared.append((event, origin, destination))
        return replace(self, arrows={**self.arrows, origin: row}, declared=declared)


def of_the_code() -> Tables:
    """Read `fsmserver.core.table` as it is now."""
    machine = table.CONNECTION.machine
    return Tables(
        arrows=table.CONNECTION.arrows,
        declared=[
            (Event(name), State(str(arrow.source)), State(str(arrow.dest)))
            for name, event in machine.events.items()
            for arrows in event.transitions.values()
            for arrow in arrows
        ],
        initial=table.CONNECTION.initial,
        sending=table.SENDING,
        interest=table.INTEREST,
        lingers={state: [table.lingers(state, holds) for holds in table.ALL_HOLDS] for state in State},
        owes_nothing=table.OWES_NOTHING,
        deadline=table.DEADLINE,
        renews={
            moved: {state: [table.renews(state, holds, moved) for holds in table.ALL_HOLDS] for state in State}
            for moved in ("received", "taken")
        },
    )
