"""Why connections close, and what each errno means."""

import errno

import pytest

from fsmserver.core.reasons import CloseReason, ErrnoClass, Who, _numbers, classify, classify_accept
from fsmserver.core.states import Event, State


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_errno_of_the_platform_has_a_class(number: int) -> None:
    assert classify(number) in ErrnoClass
    assert classify_accept(number) in ErrnoClass


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EAGAIN, ErrnoClass.AGAIN),
        (errno.EINTR, ErrnoClass.AGAIN),
        (errno.ECONNRESET, ErrnoClass.PEER_GONE),
        (errno.EPIPE, ErrnoClass.PEER_GONE),
        (errno.ETIMEDOUT, ErrnoClass.PEER_GONE),
        (errno.ENOTCONN, ErrnoClass.PEER_GONE),
        (errno.EMFILE, ErrnoClass.EXHAUSTED),
        (errno.ENFILE, ErrnoClass.EXHAUSTED),
        (errno.ENOBUFS, ErrnoClass.EXHAUSTED),
        (errno.ENOMEM, ErrnoClass.EXHAUSTED),
        (errno.EBADF, ErrnoClass.BROKEN),
        (None, ErrnoClass.BROKEN),
        (123456, ErrnoClass.BROKEN),
    ],
)
def test_an_errno_means(number: int | None, expected: ErrnoClass) -> None:
    assert classify(number) is expected


@pytest.mark.parametrize(
    "name",
    [
        "ECONNABORTED", "EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH", "EPERM",
    ],
)  # fmt: skip
def test_accept_skips_what_concerns_one_newcomer(name: str) -> None:
    assert classify_accept(getattr(errno, name)) is ErrnoClass.PEER_GONE


def test_accept_waits_where_the_system_is_out_of_descriptors() -> None:
    assert classify_accept(errno.EMFILE) is ErrnoClass.EXHAUSTED
    assert classify_accept(errno.EAGAIN) is ErrnoClass.AGAIN
    assert classify_accept(errno.EBADF) is ErrnoClass.BROKEN


def test_a_reason_reads_as_a_line() -> None:
    reason = CloseReason(Who.PEER, State.WRITING, Event.RESET, ConnectionResetError(104, "Connection reset by peer"), 512)
    assert str(reason) == "reset by the peer while writing: [Errno 104] Connection reset by peer, 512 bytes discarded"
    assert str(CloseReason(Who.APPLICATION, State.READING, Event.ABORT, KeyError())) == "aborted by the application while reading: KeyError"
    assert str(CloseReason(Who.PEER, State.READING, Event.FINISH)) == "finished by the peer while reading"


def test_only_finish_is_graceful_and_only_abort_resets() -> None:
    reasons = {event: CloseReason(Who.PEER, State.READING, event) for event in Event}
    assert [event for event, reason in reasons.items() if reason.graceful] == [Event.FINISH]
    assert [event for event, reason in reasons.items() if reason.with_reset] == [Event.ABORT]


def test_an_errno_that_this_platform_does_not_have_is_left_out() -> None:
    assert _numbers("EAGAIN", "ENOSUCHTHING", "EPIPE") == {errno.EAGAIN, errno.EPIPE}
