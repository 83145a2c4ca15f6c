"""The servers that know nothing of us, and the faults of the tutorial's: how each shows, and in how few operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from fsmserver.testing.foreign_search import Found, search
from tests.specimens import tutorial

HOME: Final = ("127.0.0.1", 8008)


def serve_tutorial() -> None:
    """Serve the select() tutorial's echo."""
    tutorial.main(*HOME)


def serve_tutorial_variant() -> None:
    """Serve the variant that circulates beside it, which does not look at empty reads."""
    tutorial.main(*HOME, ignore_empty_reads=True)


Program = Callable[[], None]


class Fault(NamedTuple):
    """A fault of a server: how it shows, as a finding of the search, and the most operations that it takes."""

    program: Program
    shows: str
    most_operations: int


RECV, SEND, ACCEPT = "data = s.recv(1024)", "s.send(next_message)", "connection, _client_address = s.accept()"
SELECT: Final = "readable, writable, exceptional = select.select(inputs, outputs, inputs)"
NAMED: Final = {
    "dies when one client resets": Fault(serve_tutorial, f"dies: ConnectionResetError in main: {RECV}", 6),
    "forgets what a partial send did not take": Fault(serve_tutorial, "forgets", 4),
    "KeyError when a connection closes in the round in which it is writable": Fault(
        serve_tutorial, "dies: KeyError in main: next_message = message_queues[s].get_nowait()", 3
    ),
    "closes on urgent data": Fault(serve_tutorial, "closes", 2),
    "dies past descriptor 1023": Fault(serve_tutorial, f"dies: ValueError in main: {SELECT}", 4),
    "one client that does not read takes all memory": Fault(serve_tutorial, "hoards", 2),
    "spins when a client leaves (the variant without the empty read)": Fault(serve_tutorial_variant, "spins", 0),
}
"""The tutorial's faults, as the design names them."""

OTHERS: Final = {
    "a partial send mixes up what follows": Fault(serve_tutorial, "garbles", 4),
    "dies when the kernel reports a socket readable that is not": Fault(serve_tutorial, f"dies: BlockingIOError in main: {RECV}", 3),
    "dies when accept fails": Fault(serve_tutorial, f"dies: OSError in main: {ACCEPT}", 2),
    "dies when the network gives a client up": Fault(serve_tutorial, f"dies: TimeoutError in main: {RECV}", 2),
    "dies when a client leaves with a reply under way": Fault(serve_tutorial, f"dies: BrokenPipeError in main: {SEND}", 3),
    "ValueError when urgent data and the end come in one round": Fault(serve_tutorial, "dies: ValueError in main: inputs.remove(s)", 3),
}
"""And those that it does not name."""

SEEDS: Final[dict[Program, Iterable[int]]] = {serve_tutorial: range(300), serve_tutorial_variant: range(20)}


def search_all() -> dict[Program, dict[str, Found]]:
    """Search each server once; give what was found, by how it shows."""
    return {program: {str(found.finding): found for found in search(program, seeds)} for program, seeds in SEEDS.items()}
