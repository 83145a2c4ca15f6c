"""A machine that is declared as a grid: what is derived from it, and what is refused."""

from enum import StrEnum

import pytest
from transitions import Machine

from fsmserver.core.declaration import Table


class Lamp(StrEnum):
    OFF = "off"
    ON = "on"
    BROKEN = "broken"


class Did(StrEnum):
    SWITCH = "switch"
    FALL = "fall"


def lamp() -> Table[Lamp, Did]:
    return Table(
        Lamp,
        Did,
        initial=Lamp.OFF,
        columns=(Lamp.OFF, Lamp.ON),
        grid={Did.SWITCH: (Lamp.ON, Lamp.OFF), Did.FALL: (None, Lamp.BROKEN)},
    )


def test_the_arrows_are_looked_up_by_state_and_by_event() -> None:
    table = lamp()
    assert table.arrows == {Lamp.OFF: {Did.SWITCH: Lamp.ON}, Lamp.ON: {Did.SWITCH: Lamp.OFF, Did.FALL: Lamp.BROKEN}, Lamp.BROKEN: {}}
    assert table.after == {Did.SWITCH: {Lamp.OFF: Lamp.ON, Lamp.ON: Lamp.OFF}, Did.FALL: {Lamp.ON: Lamp.BROKEN}}
    assert all(isinstance(after, Lamp) for row in table.arrows.values() for after in row.values())


def test_where_it_begins_and_ends_and_what_is_legal() -> None:
    table = lamp()
    assert table.initial is Lamp.OFF
    assert table.final == (Lamp.BROKEN,)
    assert table.legal(Lamp.ON) == (Did.SWITCH, Did.FALL)
    assert table.legal(Lamp.BROKEN) == ()


def test_the_librarys_machine_has_these_states_and_events_and_no_model_of_its_own() -> None:
    machine = lamp().machine
    assert isinstance(machine, Machine)
    assert list(machine.states) == ["off", "on", "broken"]
    assert machine.initial == "off"
    assert list(machine.events) == ["switch", "fall"]
    assert machine.models == []
    rows = [(name, arrow.source, arrow.dest) for name, each in machine.events.items() for row in each.transitions.values() for arrow in row]
    assert rows == [("switch", "off", "on"), ("switch", "on", "off"), ("fall", "on", "broken")]


def test_what_was_declared_cannot_be_changed() -> None:
    table = lamp()
    with pytest.raises(TypeError):
        table.arrows[Lamp.OFF] = {}  # type: ignore[index]
    with pytest.raises(TypeError):
        table.arrows[Lamp.OFF][Did.FALL] = Lamp.BROKEN  # type: ignore[index]
    with pytest.raises(TypeError):
        table.after[Did.FALL] = {}  # type: ignore[index]


def test_a_grid_without_a_row_for_each_event_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^the grid must have one row for each of switch, fall$"):
        Table(Lamp, Did, initial=Lamp.OFF, columns=(Lamp.OFF,), grid={Did.SWITCH: (Lamp.ON,)})


def test_a_row_without_a_cell_for_each_state_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^the row of switch has 1 cells for 2 states$"):
        Table(Lamp, Did, initial=Lamp.OFF, columns=(Lamp.OFF, Lamp.ON), grid=dict.fromkeys(Did, (Lamp.ON,)))
