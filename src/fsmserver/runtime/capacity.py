"""How many connections this process can hold."""

from typing import Final

RESERVE: Final = 32
"""Descriptors kept for everything that is not a connection: the poller, the waker, listeners, logs, the protocols' files."""

UNKNOWN_LIMIT: Final = 512
"""Where no descriptor limit can be asked for (Windows), this is what the C runtime allows by default."""


def descriptor_limit() -> int:
    """Give the soft limit on descriptors of this process."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return UNKNOWN_LIMIT
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


def connection_limit(wanted: int | None, ceiling: int | None) -> int:
    """Give the connection limit: the one that is wanted, or what the descriptors allow, less a reserve.

    `ceiling` is the poller's: it cannot watch a descriptor of that number or more.
    """
    if wanted is not None:
        return wanted
    descriptors = descriptor_limit() if ceiling is None else min(descriptor_limit(), ceiling)
    # Of very few descriptors at least half go to connections.
    return max(1, descriptors - RESERVE, descriptors // 2)
