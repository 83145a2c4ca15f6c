"""What a connection says of itself, to operators and in a debugger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fsmserver.core.states import Hold, State
from fsmserver.core.table import FOREVER, SENDING, lingers

if TYPE_CHECKING:
    from fsmserver.core.connection import ConnectionFSM


def size(count_bytes: int) -> str:
    """Write a size as people do: `512 B`, `12.3 KiB`, `1.2 MiB`."""
    if count_bytes < 1024:
        return f"{count_bytes} B"
    amount, units = count_bytes / 1024, ["GiB", "MiB", "KiB"]
    while amount >= 1023.95 and len(units) > 1:
        amount /= 1024
        units.pop()
    return f"{amount:.1f} {units[-1]}".replace(".0 ", " ")


def describe(fsm: ConnectionFSM) -> str:
    """Give the `repr` of a connection: `<ConnectionFSM writing 12.3 KiB in outbox, holding backpressure>`."""
    parts = [str(fsm.state)]
    if fsm.outbox.size_bytes:
        parts[0] += f" {size(fsm.outbox.size_bytes)} in outbox"
    if fsm.holds and not fsm.closed:
        parts.append(f"holding {' and '.join(fsm.holds.words)}")
    if fsm.close_reason is not None:
        parts.append(str(fsm.close_reason))
    return f"<{type(fsm).__name__} {', '.join(parts)}>"


def explain(fsm: ConnectionFSM, waited_s: float | None, now_s: float | None) -> str:
    """Say what a connection does, why it is not read if it is not, and which limit ends this when."""
    if fsm.close_reason is not None:
        return f"closed: {fsm.close_reason}"
    for_how_long = "" if waited_s is None else f" for {waited_s:.1f} s"
    limit, due_s = fsm.due()
    if limit == FOREVER or now_s is None:
        ending = f"{limit} applies"
    else:
        ending = f"{limit} ends this in {max(0.0, due_s - now_s):.1f} s"
    return f"{_doing(fsm)}{for_how_long}; {ending}"


def _doing(fsm: ConnectionFSM) -> str:
    if fsm.state is State.ACCEPTED:
        return "accepted, waiting for the handshake"
    if lingers(fsm.state, fsm.holds):
        return "all is sent, reading and discarding until the peer's FIN"
    outbox = fsm.outbox.size_bytes
    reasons = [_reason(fsm, hold) for hold in Hold if hold in fsm.holds]
    if reasons:
        return f"not reading because {' and '.join(reasons)}" + (f"; {size(outbox)} to send" if fsm.state in SENDING else "")
    return f"reading, and {size(outbox)} to send" if fsm.state in SENDING else "reading, nothing to send"


def _reason(fsm: ConnectionFSM, hold: Hold) -> str:
    if hold is Hold.BACKPRESSURE:
        low_bytes, high_bytes = fsm.marks
        held = size(fsm.outbox.size_bytes)
        if fsm.outbox.size_bytes > high_bytes:
            return f"the outbox holds {held}, over {size(high_bytes)}"
        return f"the outbox holds {held} and is not down to {size(low_bytes)} yet"
    return PLAIN_REASONS[hold]


PLAIN_REASONS: Final = {
    Hold.EOF: "the peer has sent its last byte",
    Hold.FINISHING: "it is being closed",
    Hold.PAUSED: "the application paused it",
}
