"""Faults are values: rules, verdicts, and which calls they concern."""

import errno

import pytest

from fsmserver.testing.faults import CALLS, ArmedFault, Call, Delay, Fail, Fault, Short


def test_a_fault_of_a_call_that_nobody_makes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no call 'read'; there are accept, recv, send, sendmsg, "):
        Fault("read", Fail(errno.EIO))


@pytest.mark.parametrize("name", CALLS)
def test_every_call_can_fail(name: str) -> None:
    armed = ArmedFault(Fault(name, Fail(errno.EIO)))
    assert armed(Call(name, 3, 0)) == Fail(errno.EIO)


def test_a_fault_strikes_as_often_as_it_says_and_then_lets_pass() -> None:
    armed = ArmedFault(Fault("recv", Short(1), times=2))
    assert [armed(Call("recv", 3, 10)) for _ in range(3)] == [Short(1), Short(1), None]
    assert (armed.left, armed.struck) == (0, 2)


def test_the_calls_that_are_skipped_pass_first() -> None:
    armed = ArmedFault(Fault("accept", Fail(errno.EMFILE), skip=1))
    assert [armed(Call("accept", 3, 0)) for _ in range(3)] == [None, Fail(errno.EMFILE), None]


def test_a_fault_of_one_descriptor_concerns_no_other() -> None:
    fault = Fault("send", Fail(errno.EPIPE), fd=4)
    assert fault.concerns(Call("send", 4, 1))
    assert not fault.concerns(Call("send", 5, 1))
    assert ArmedFault(fault).fd == 4


def test_a_fault_of_send_concerns_sendmsg_and_not_the_other_way_round() -> None:
    assert Fault("send", Short(1)).concerns(Call("sendmsg", 3, 9))
    assert not Fault("sendmsg", Short(1)).concerns(Call("send", 3, 9))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("send", Fail(errno.EPIPE), fd=4, times=2), "send on 4 fails with EPIPE, 2 times"),
        (Fault("recv", Short(3), skip=1), "recv moves at most 3 B after 1 that pass"),
        (Fault("deliver", Delay(0.5)), "deliver takes 0.5 s"),
        (Fault("close", Fail(9999)), "close fails with 9999"),
    ],
)
def test_a_fault_says_itself_as_people_do(fault: Fault, words: str) -> None:
    assert str(fault) == words


def test_faults_are_values_that_can_be_compared() -> None:
    assert Fault("send", Short(1)) == Fault("send", Short(1))
    assert len({Fault("send", Short(1)), Fault("send", Short(1)), Fault("send", Short(2))}) == 2
