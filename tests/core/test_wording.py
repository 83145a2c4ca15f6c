"""What a connection says of itself, at the edges."""

import pytest

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.limits import Limits
from fsmserver.core.wording import size

SMALL = Limits(outbox_high_bytes=10, outbox_low_bytes=4, outbox_cap_bytes=40)


@pytest.mark.parametrize(
    ("count_bytes", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1025, "1 KiB"),
        (1536, "1.5 KiB"),
        (1_048_524, "1023.9 KiB"),
        (1_048_525, "1 MiB"),
        (5 * 1024**2, "5 MiB"),
        (3 * 1024**3, "3 GiB"),
        (2048 * 1024**3, "2048 GiB"),
    ],
)
def test_a_size_reads_as_people_write_it(count_bytes: int, words: str) -> None:
    assert size(count_bytes) == words


def opened() -> ConnectionFSM:
    fsm = ConnectionFSM(limits=SMALL, now_s=100.0)
    fsm.open(100.0)
    return fsm


def test_several_holds_are_joined_by_and() -> None:
    fsm = opened()
    fsm.pause()
    fsm.eof(half_open=True)
    assert repr(fsm) == "<ConnectionFSM reading, holding eof and paused>"


def test_the_wait_counts_from_when_the_limit_began() -> None:
    assert opened().explain(104.5) == "reading, nothing to send for 4.5 s; idle_s ends this in 295.5 s"


def test_a_limit_that_has_passed_ends_it_at_once() -> None:
    assert opened().explain(900.0) == "reading, nothing to send for 800.0 s; idle_s ends this in 0.0 s"


def test_down_to_the_high_mark_it_is_not_over_it_any_more() -> None:
    fsm = opened()
    fsm.enqueue(b"x" * 12)
    fsm.flush()
    fsm.sent(2)
    assert fsm.explain() == "not reading because the outbox holds 10 B and is not down to 4 B yet; 10 B to send; stall_s applies"
