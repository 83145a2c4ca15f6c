"""Deadlines are lazy, never early and a tick late at most; timers are exact and in order."""

import math

import pytest

from fsmserver.runtime.timers import LEAST_SWEEP, NEVER_TICK, TICK_S, Dated, Deadlines, Handle, Timers


def handle(when_s: float, called: list[object], name: object = None) -> Handle:
    return Handle(when_s, called.append, (name,), None)


@pytest.mark.parametrize("when_s", [0.0, 0.01, 1.0, 1.03, 1e6 + 0.001])
def test_a_deadline_is_never_early_and_at_most_a_tick_late(when_s: float) -> None:
    deadlines, dated = Deadlines(), Dated(1)
    deadlines.arm(dated, when_s)
    assert when_s <= deadlines.next_s <= when_s + TICK_S
    assert deadlines.due(deadlines.next_s - TICK_S / 100, 10) == []
    assert deadlines.due(deadlines.next_s, 10) == [dated]
    assert dated.armed_tick == NEVER_TICK
    assert deadlines.next_s == math.inf


def test_an_earlier_date_stands_and_a_later_one_gives_way() -> None:
    deadlines, dated = Deadlines(), Dated(1)
    deadlines.arm(dated, 5.0)
    deadlines.arm(dated, 9.0)
    assert deadlines.next_s == 5.0
    deadlines.arm(dated, 2.0)
    assert len(deadlines) == 1
    assert deadlines.due(2.0, 10) == [dated]
    assert deadlines.due(10.0, 10) == []


def test_for_ever_is_not_armed() -> None:
    deadlines, dated = Deadlines(), Dated(1)
    deadlines.arm(dated, math.inf)
    assert len(deadlines) == 0
    assert deadlines.next_s == math.inf


def test_what_is_disarmed_does_not_come() -> None:
    deadlines, kept, dropped = Deadlines(), Dated(1), Dated(2)
    deadlines.arm(kept, 1.0)
    deadlines.arm(dropped, 1.0)
    deadlines.disarm(dropped)
    deadlines.disarm(dropped)
    assert deadlines.due(1.0, 10) == [kept]


def test_a_crowd_that_comes_due_together_is_handled_in_bounded_portions() -> None:
    deadlines = Deadlines()
    crowd = [Dated(number) for number in range(10)]
    for dated in crowd:
        deadlines.arm(dated, 1.0 + dated.number % 2)
    portions = [deadlines.due(3.0, 4) for _ in range(4)]
    assert [len(portion) for portion in portions] == [4, 4, 2, 0]
    assert {dated.number for portion in portions for dated in portion} == set(range(10))


def test_timers_come_in_the_order_of_their_times_then_of_their_asking() -> None:
    timers, called = Timers(), list[object]()
    for when_s, name in ((2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b")):
        timers.add(handle(when_s, called, name))
    assert timers.next_s == 1.0
    for due in timers.due(2.0, 10):
        due.run()
    assert called == ["a", "b", "c", "d"]
    assert timers.next_s == math.inf


def test_a_timer_in_the_past_is_due_at_once_and_a_bound_is_kept() -> None:
    timers, called = Timers(), list[object]()
    for number in range(3):
        timers.add(handle(-1.0, called, number))
    assert len(timers.due(0.0, 2)) == 2
    assert len(timers) == 1
    assert timers.next_s == -1.0


def test_a_cancelled_timer_is_not_called() -> None:
    timers, called = Timers(), list[object]()
    one = handle(1.0, called)
    timers.add(one)
    one.cancel()
    one.cancel()
    assert one.cancelled
    assert len(timers) == 0
    assert timers.due(2.0, 10) == []
    one.run()
    assert called == []


def test_a_handle_is_called_once_and_lets_go_of_what_it_held() -> None:
    called: list[object] = []
    one = handle(1.0, called, "x")
    assert "append" in repr(one)
    one.run()
    one.run()
    assert called == ["x"]
    assert one.cancelled
    assert repr(one) == "<Handle over at 1.000 s>"


def test_cancelled_timers_do_not_pile_up() -> None:
    timers, called = Timers(), list[object]()
    for _ in range(100 * LEAST_SWEEP):
        one = handle(1e9, called)
        timers.add(one)
        one.cancel()
    assert len(timers._heap) <= 2 * LEAST_SWEEP


def test_a_timer_that_asks_again_in_its_own_callback_comes_in_the_next_round() -> None:
    timers, times = Timers(), list[int]()

    def again() -> None:
        times.append(1)
        timers.add(Handle(0.0, again, (), None))

    again()
    for due in timers.due(1.0, 10):
        due.run()
    assert len(times) == 2
    assert len(timers) == 1
