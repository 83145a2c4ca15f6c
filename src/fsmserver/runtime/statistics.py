"""What a scheduler counts, and the immutable view of it that it hands out."""

from dataclasses import dataclass, field, fields


@dataclass(slots=True)
class Counts:
    """Counters that only grow. One object for a scheduler."""

    rounds: int = 0
    accepted: int = 0
    refused: int = 0
    accept_errors: int = 0
    silent: int = 0
    stale: int = 0
    urgent: int = 0
    dropped_writes: int = 0
    protocol_errors: int = 0
    slow_callbacks: int = 0
    received_bytes: int = 0
    taken_bytes: int = 0
    discarded_bytes: int = 0
    closed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """A moment of a scheduler. Sizes are bytes over its whole life, open connections included."""

    connections: int
    """Open now."""
    most_connections: int
    """The limit in force."""
    listeners: dict[str, str]
    """The state of each listener, by its address."""
    timers: int
    """Callbacks that wait for their time."""
    rounds: int
    """Waits, and the handling of all they returned."""
    accepted: int
    """Connections taken in."""
    refused: int
    """Connections accepted and closed at once, because there was no room."""
    accept_errors: int
    """Errors out of accept that were skipped or waited out."""
    silent: int
    """Connections that ended without having sent a byte: health checks and port scans."""
    stale: int
    """Reports for descriptors that nobody has any more; never delivered."""
    urgent: int
    """Times that urgent data was seen."""
    dropped_writes: int
    """Writes after close or loss."""
    protocol_errors: int
    """Connections aborted because their protocol raised, or wrote over the cap."""
    slow_callbacks: int
    """Callbacks that took longer than `slow_callback_s`."""
    received_bytes: int
    """Taken from the kernel."""
    taken_bytes: int
    """Taken by the kernel."""
    discarded_bytes: int
    """Written by protocols and lost in closes."""
    closed: dict[str, int]
    """Connections closed, by the event that closed them."""


COUNTED = tuple(each.name for each in fields(Counts))
