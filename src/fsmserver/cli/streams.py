"""Standard streams that may be closed, full or gone: nothing of that is a reason to stop serving."""

import os
import sys
from contextlib import suppress


def fill_standard_streams() -> None:
    """Put the null device where a standard stream was closed: the next socket would get its number, and a peer what is printed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - it stays open to the end


def say(line: str) -> None:
    """Print a line at once. When nobody takes it any more, this line and all later ones go nowhere."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError:
        silence()


def silence() -> None:
    """Send what is printed to the null device; what is in the buffer still would be a second failure at the end."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, sys.stdout.fileno())
    os.close(descriptor)
    with suppress(OSError):
        sys.stdout.flush()
