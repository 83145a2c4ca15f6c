"""Is a recorded trace a behaviour of the machine? Traces of any length are read in pieces and followed line by line.

Reading JSON is most of the work: msgspec (the extra `traces`) turns a line into its fields in a sixth of the time that the
standard library takes, so it is used where it is installed. What it refuses is read again the slow way, which says why.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, BinaryIO, Final, Literal, get_type_hints

from fsmserver.core.behaviour import Behaviour, NotABehaviour
from fsmserver.core.line import EXCHANGE, NAMES, OPTIONAL, PER_EXCHANGE, Line, Written, read
from fsmserver.core.states import INTEREST_WORDS, Event, State
from fsmserver.core.table import DEADLINES

PIECE_BYTES: Final = 64 * 1024
LONGEST_LINE_BYTES: Final = 1024 * 1024
"""A line of a trace has some 300 bytes; where there is no end of line for so long, this is no trace."""

FINE, NO_BEHAVIOUR, UNREADABLE = 0, 1, 2

WORDS: Final[Mapping[str, Iterable[str]]] = {
    "event": [event.value for event in Event],
    "origin": [state.value for state in State],
    "to": [state.value for state in State],
    "interest": INTEREST_WORDS,
    "deadline": {limit for _, _, limit in DEADLINES},
}
"""What is one of a few words is not made anew in each line."""

Decode = Callable[[bytes], Written]


class Unreadable(Exception):
    """A file cannot be read, or is not made of lines of a trace; the sentence says what is wrong where."""


def check_traces(paths: Sequence[str], *, whole: bool = True) -> int:
    """Check each file and print a line about it; give the exit code: that of the worst."""
    return max(check_trace(path, whole=whole) for path in paths)


def check_trace(path: str, *, whole: bool) -> int:
    """Check a file and print what was found: 0 it is a behaviour, 1 it is not, 2 it cannot be read as a trace."""
    behaviour = Behaviour(whole=whole)
    try:
        follow(path, behaviour)
    except Unreadable as error:
        sys.stderr.write(f"fsmserver: {path}: {error}\n")
        return UNREADABLE
    except NotABehaviour as error:
        sys.stdout.write(f"{path}:{behaviour.lines + 1}: {error}\n")
        return NO_BEHAVIOUR
    counts = f"{behaviour.lines} lines, {behaviour.transitions} transitions, {behaviour.connections} connections"
    counts += f", at most {behaviour.most_open} at once"
    sys.stdout.write(f"{path}: a behaviour of the machine: {counts}\n")
    return FINE


def follow(path: str, behaviour: Behaviour) -> None:
    """Follow a whole file.

    Raises:
        Unreadable: it cannot be read, or is not made of lines of a trace.
        NotABehaviour: the line after the first `behaviour.lines` should not be there, or not be the last.

    """
    ways = decoders()
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a path as it was typed
            for piece in pieces(file):
                lines = piece.splitlines()
                if not piece.endswith(b"\n") and not behaviour.whole:
                    lines.pop()  # the piece ends in the middle of a line
                follow_lines(lines, ways, behaviour)
    except ValueError as error:
        raise Unreadable(f"line {behaviour.lines + 1} is not a line of a trace: {error}") from error
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error
    behaviour.end()


def follow_lines(lines: Sequence[bytes], ways: Sequence[Decode], behaviour: Behaviour) -> None:
    """Follow some lines; what none of the ways reads is read plainly, which takes words that no machine uses, or says what is wrong.

    Lines of a kind mostly come one after the other, so each way is gone as far as it leads.
    """
    start = behaviour.lines
    while (done := behaviour.lines - start) < len(lines):
        for decode in ways:
            with suppress(ValueError):
                behaviour.follow(map(decode, lines[behaviour.lines - start :]))
        if behaviour.lines - start == done:
            behaviour.take(decode_plainly(lines[done]))


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """Cut a file into pieces that end where lines do; the last one ends where the file does.

    Raises:
        ValueError: a line has no end.

    """
    begun = b""
    while read := file.read(PIECE_BYTES):
        whole, end, rest = read.rpartition(b"\n")
        if end:
            yield begun + whole + end
            begun = rest
        else:
            begun += rest
        if len(begun) > LONGEST_LINE_BYTES:
            raise ValueError(f"it does not end within {LONGEST_LINE_BYTES} bytes")
    if begun:
        yield begun


def decoders() -> Sequence[Decode]:
    """Give the fastest ways to read lines that are installed: each reads lines of its kind, and raises ValueError for all else."""
    try:
        import msgspec  # noqa: PLC0415 - an extra
    except ImportError:
        return (decode_plainly,)
    kinds = get_type_hints(Line) | {name: Literal[tuple(words)] for name, words in WORDS.items()}
    declared = [(name, kind, *((None,) if name in OPTIONAL else ())) for name, kind in kinds.items()]
    counts = Annotated[list[Annotated[int, msgspec.Meta(gt=0)]], msgspec.Meta(min_length=PER_EXCHANGE)]
    in_short = [("t", float), ("event", Literal[EXCHANGE]), ("messages", counts)]
    shapes: list[Any] = [
        msgspec.defstruct("Line", declared, rename=NAMES, gc=False),
        msgspec.defstruct("Exchanges", in_short, rename={"messages": "of"}),
    ]
    return [msgspec.json.Decoder(shape).decode for shape in shapes]


def decode_plainly(line: bytes) -> Written:
    """Read a line with the standard library.

    Raises:
        ValueError: it is not JSON, or not a line of a trace; the sentence says why.

    """
    said = READER.decode(line.decode())
    if not isinstance(said, dict):
        raise ValueError(f"it is {type(said).__name__}, not an object")  # noqa: TRY004 - the file is wrong, not the program
    return read(said)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


READER: Final = json.JSONDecoder(parse_constant=_refuse)
