"""How a machine is declared once and used everywhere: a grid of events and states.

The library `transitions` validates the declaration, draws it and lends its `Machine` to those who know it. A trigger of
that library takes some 7 µs, and to import it takes longer than to import this package; so what runs is a dict of
dicts, and the Machine is made of the same grid when it is first asked for. A property test drives both in lockstep.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from transitions import Machine

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


class Table(Generic[S, E]):
    """One declared machine: look-ups, and the `transitions.Machine` of it.

    `arrows[state][event]` is the next state; a pair that is absent is illegal. `after[event][state]` says the same
    by event.
    """

    def __init__(self, states: type[S], events: type[E], initial: S, columns: Sequence[S], grid: Mapping[E, Sequence[S | None]]) -> None:
        """Declare a machine. `grid` has a row for each event and in it a cell for each of `columns`; None is illegal.

        Raises:
            ValueError: a row is missing, or has not one cell for each column.

        """
        if set(grid) != set(events):
            raise ValueError(f"the grid must have one row for each of {', '.join(events)}")
        for event, cells in grid.items():
            if len(cells) != len(columns):
                raise ValueError(f"the row of {event} has {len(cells)} cells for {len(columns)} states")
        self._states, self._grid, self._columns = states, grid, columns
        self.initial = initial
        self.arrows: Mapping[S, Mapping[E, S]] = MappingProxyType(
            {state: MappingProxyType({event: after for event, origin, after in self._rows() if origin is state}) for state in states}
        )
        self.after: Mapping[E, dict[S, S]] = MappingProxyType(
            {event: {state: row[event] for state, row in self.arrows.items() if event in row} for event in events}
        )
        self.final = tuple(state for state in states if not self.arrows[state])

    def _rows(self) -> list[tuple[E, S, S]]:
        return [
            (event, origin, cell)
            for event, cells in self._grid.items()
            for origin, cell in zip(self._columns, cells, strict=True)
            if cell is not None
        ]

    @cached_property
    def machine(self) -> "Machine":
        """The library's own object, with no model, for diagrams and for those who embed it."""
        from transitions import Machine  # noqa: PLC0415 - see the module

        rows = [[str(word) for word in row] for row in self._rows()]
        states = [str(state) for state in self._states]
        return Machine(model=None, states=states, transitions=rows, initial=str(self.initial), auto_transitions=False)

    def legal(self, state: S) -> tuple[E, ...]:
        """List the events that are legal in `state`, in the order of their declaration."""
        return tuple(self.arrows[state])
