"""How a machine is declared once and used everywhere: a grid of events and states, held by `transitions`.

The library validates the declaration, draws it and lends its `Machine` to those who know it. A trigger of that
library takes some 7 µs, so what runs is a dict of dicts read back out of the Machine when the module is imported.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, TypeVar

from transitions import Machine

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


class Table(Generic[S, E]):
    """One declared machine: the `transitions.Machine` and the look-ups derived from it.

    `arrows[state][event]` is the next state; a pair that is absent is illegal. `after[event][state]` says the same
    by event. `machine` is the library's own object, with no model, for diagrams and for those who embed it.
    """

    def __init__(self, states: type[S], events: type[E], initial: S, columns: Sequence[S], grid: Mapping[E, Sequence[S | None]]) -> None:
        """Declare a machine. `grid` has a row for each event and in it a cell for each of `columns`; None is illegal.

        Raises:
            ValueError: a row is missing, or has not one cell for each column.

        """
        if set(grid) != set(events):
            raise ValueError(f"the grid must have one row for each of {', '.join(events)}")
        rows: list[list[str]] = []
        for event, cells in grid.items():
            if len(cells) != len(columns):
                raise ValueError(f"the row of {event} has {len(cells)} cells for {len(columns)} states")
            rows += [[str(event), str(origin), str(cell)] for origin, cell in zip(columns, cells, strict=True) if cell is not None]
        self.machine = Machine(
            model=None, states=[str(state) for state in states], transitions=rows, initial=str(initial), auto_transitions=False
        )
        self.initial = initial
        self.arrows: Mapping[S, Mapping[E, S]] = MappingProxyType(
            {state: MappingProxyType(self._arrows_out_of(state, states, events)) for state in states}
        )
        self.after: Mapping[E, dict[S, S]] = MappingProxyType(
            {event: {state: row[event] for state, row in self.arrows.items() if event in row} for event in events}
        )
        self.final = tuple(state for state in states if not self.arrows[state])

    def _arrows_out_of(self, state: S, states: type[S], events: type[E]) -> dict[E, S]:
        return {
            events(name): states(str(event.transitions[str(state)][0].dest))
            for name, event in self.machine.events.items()
            if str(state) in event.transitions
        }

    def legal(self, state: S) -> tuple[E, ...]:
        """List the events that are legal in `state`, in the order of their declaration."""
        return tuple(self.arrows[state])
