"""The message queue: first in, first out, taken in any portions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmserver.core.outbox import IOV_MAX, JOIN_BYTES, Outbox


def shown(outbox: Outbox) -> bytes:
    return b"".join(bytes(chunk) for chunk in outbox.peek())


@given(st.lists(st.one_of(st.binary(max_size=20), st.just(b"L" * JOIN_BYTES), st.integers(0, 3 * JOIN_BYTES))))
def test_whatever_is_appended_comes_out_once_and_in_order(script: list[bytes | int]) -> None:
    outbox, model = Outbox(), bytearray()
    for step in script:
        if isinstance(step, bytes):
            outbox.append(step)
            model += step
        else:
            count_bytes = min(step, len(model))
            outbox.take(count_bytes)
            del model[:count_bytes]
        assert len(outbox) == len(model)
        assert bytes(model).startswith(shown(outbox))
        assert outbox.written_bytes == outbox.taken_bytes + len(outbox)
    assert shown(outbox) == bytes(model)


def test_small_writes_are_joined() -> None:
    outbox = Outbox()
    for _ in range(100_000):
        outbox.append(b"x")
    assert 1 + len(outbox.rest) <= 2 + 100_000 // JOIN_BYTES
    assert len(outbox) == 100_000


def test_what_was_shown_is_not_changed_by_what_is_appended_later() -> None:
    outbox = Outbox()
    outbox.append(b"a")
    outbox.append(b"b")
    outbox.append(b"c")
    before = outbox.peek()
    outbox.append(b"d")
    assert [bytes(chunk) for chunk in before] == [b"a", b"bc"]
    assert shown(outbox) == b"abcd"


def test_at_most_iov_max_buffers_are_shown() -> None:
    outbox = Outbox()
    for _ in range(IOV_MAX + 10):
        outbox.append(b"x" * JOIN_BYTES)
    assert len(outbox.peek()) == IOV_MAX
    outbox.take(1)
    assert len(outbox.peek()) == IOV_MAX


def test_an_empty_queue_shows_nothing() -> None:
    assert Outbox().peek() == []


@pytest.mark.parametrize("count_bytes", [-1, 4])
def test_more_than_it_holds_or_less_than_nothing_cannot_be_taken(count_bytes: int) -> None:
    outbox = Outbox()
    outbox.append(b"abc")
    with pytest.raises(ValueError, match="were taken from an outbox that holds 3"):
        outbox.take(count_bytes)
    assert shown(outbox) == b"abc"


def test_discarding_seals_it_and_counts_what_is_lost() -> None:
    outbox = Outbox()
    outbox.append(b"abc")
    outbox.take(1)
    assert outbox.discard() == 2
    assert (outbox.size_bytes, outbox.taken_bytes, outbox.discarded_bytes, outbox.written_bytes) == (0, 1, 2, 3)
    assert outbox.sealed
    assert outbox.peek() == []


def test_a_write_as_large_as_a_joined_chunk_may_get_is_kept_and_not_copied() -> None:
    outbox, large = Outbox(), b"L" * JOIN_BYTES
    outbox.append(b"a")
    outbox.append(large)
    assert next(iter(outbox.rest)) is large


def test_a_joined_chunk_that_is_full_is_not_extended() -> None:
    outbox = Outbox()
    outbox.append(b"a")
    outbox.append(b"b" * (JOIN_BYTES - 1))
    outbox.append(b"c")
    outbox.append(b"d")
    assert [len(chunk) for chunk in outbox.rest] == [JOIN_BYTES, 1]


def test_what_was_written_is_shown_itself_and_not_copied() -> None:
    outbox, data = Outbox(), b"abc"
    outbox.append(data)
    assert outbox.peek()[0] is data


def test_a_chunk_that_was_taken_to_its_last_byte_is_shown_no_more() -> None:
    outbox = Outbox()
    outbox.append(b"abc")
    outbox.append(b"d" * JOIN_BYTES)
    outbox.take(3)
    assert [len(chunk) for chunk in outbox.peek()] == [JOIN_BYTES]


def test_what_is_taken_and_what_is_discarded_adds_up() -> None:
    outbox = Outbox()
    for _ in range(2):
        outbox.append(b"abcde")
        outbox.take(1)
        outbox.take(1)
        outbox.discard()
    assert (outbox.taken_bytes, outbox.discarded_bytes) == (4, 6)


def test_a_new_queue_is_open() -> None:
    assert Outbox().sealed is False
