"""The reachable graph of a model, as TLC dumps it, in a form that can be compared with the graph of the code.

    from specs import graph
    found = graph.dump("Graph")
    found.nodes                       # every reachable state, frozen: see `freeze`
    found.edges                       # {(source, action, target), ...}, the numbers of nodes

`ABSTRACTION.md` says what a node and an edge are. The abstraction of the code's state is a plain dict of the four variables, as
they stand there; `freeze` makes of it the same value that is made here of TLC's text, so that the two are equal if they agree.

A dump has a line for each edge, and one of some 800 characters for each node. Nodes are made of few different parts (what one
connection can be, what the listener can be), so each part is read once.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from specs.models import CannotCheck, Model, command, furnish, load

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLES: Final = ("conn", "registry", "listener", "server")


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes, the initial one first, and edges between their numbers; an edge from a node to itself counts."""

    nodes: list[Any]
    edges: set[tuple[int, str, int]]


def freeze(value: Any) -> Any:  # noqa: ANN401 - whatever a state is made of
    """Make one value of what says the same: dicts become sorted pairs, lists tuples; sets stay, numbers and words too."""
    if isinstance(value, dict):
        return tuple(sorted((name, freeze(part)) for name, part in value.items()))
    if isinstance(value, list | tuple):
        return tuple(freeze(part) for part in value)
    if isinstance(value, set | frozenset):
        return frozenset(freeze(part) for part in value)
    return value


# TLC's values.

TOKEN: Final = re.compile(r'\s*(<<|>>|\|->|[\[\]{},]|-?\d+|"[^"]*"|\w+)')
WORDS: Final[dict[str, Any]] = {"TRUE": True, "FALSE": False}


def parse(text: str) -> Any:  # noqa: ANN401 - as above
    """Read a value as TLC prints it: records become dicts, sequences lists, sets sets.

    Raises:
        ValueError: it is none.

    """
    tokens = TOKEN.findall(text)
    value, rest = _value(tokens, 0)
    if rest != len(tokens):
        raise ValueError(f"{text!r} goes on after its value")
    return value


def _value(tokens: list[str], place: int) -> tuple[Any, int]:
    word = tokens[place]
    if word == "[":
        return _record(tokens, place + 1)
    if word == "<<":
        return _parts(tokens, place + 1, ">>")
    if word == "{":
        parts, rest = _parts(tokens, place + 1, "}")
        return {freeze(part) for part in parts}, rest
    if word.startswith('"'):
        return word[1:-1], place + 1
    return (WORDS[word] if word in WORDS else int(word)), place + 1


def _record(tokens: list[str], place: int) -> tuple[dict[str, Any], int]:
    record: dict[str, Any] = {}
    while tokens[place] != "]":
        name = tokens[place]
        record[name], place = _value(tokens, place + 2)
        place += tokens[place] == ","
    return record, place + 1


def _parts(tokens: list[str], place: int, end: str) -> tuple[list[Any], int]:
    parts: list[Any] = []
    while tokens[place] != end:
        part, place = _value(tokens, place)
        parts.append(part)
        place += tokens[place] == ","
    return parts, place + 1


# TLC's dumps.

EDGE: Final = re.compile(r'^(-?\d+) -> (-?\d+) \[label="(\w+)"')
NODE: Final = re.compile(r'^(-?\d+) \[label="(.*)"(?:,style = filled)?\];?$')
VARIABLE: Final = re.compile(r"/\\ (\w+) = ")


def read(lines: Iterable[str]) -> Graph:
    """Read a dump, as `-dump dot,actionlabels` writes it.

    Raises:
        ValueError: an edge leads to a node that has no line.

    """
    numbers: dict[str, int] = {}
    nodes: dict[int, Any] = {}
    edges: set[tuple[int, str, int]] = set()
    parts: dict[str, Any] = {}
    for line in lines:
        edge = EDGE.match(line)
        if edge is not None:
            source, target, action = edge.groups()
            edges.add((numbers.setdefault(source, len(numbers)), action, numbers.setdefault(target, len(numbers))))
            continue
        node = NODE.match(line)
        if node is not None:
            nodes[numbers.setdefault(node[1], len(numbers))] = _node(node[2], parts)
    if len(nodes) != len(numbers):
        raise ValueError(f"{len(numbers) - len(nodes)} nodes have edges and no line")
    return Graph([nodes[number] for number in range(len(nodes))], edges)


def _node(label: str, parts: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
    text = label.replace("\\n", " ").replace('\\"', '"').replace("\\\\", "\\")
    pieces = VARIABLE.split(text)[1:]
    values = dict(zip(pieces[::2], pieces[1::2], strict=True))
    return tuple((name, _part(values[name].strip(), parts)) for name in sorted(VARIABLES))


def _part(text: str, parts: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
    value = parts.get(text)
    if value is None:
        if text.startswith(("<< [", "<<[")):  # connections: read each apart, there are few different ones
            value = tuple(_part(record + "]", parts) for record in _records(text))
        else:
            value = freeze(parse(text))
        parts[text] = value
    return value


def _records(text: str) -> list[str]:
    inner = text[2:-2].strip()
    return [record.strip(" ,") for record in re.split(r"(?<= )\](?=,|$)", inner + ",") if record.strip(" ,")]


def dump(name: str | Model, *, heap: str = "-Xmx4g") -> Graph:
    """Have TLC dump the graph of a model, or of the one of the manifest that has this name, and read it.

    Raises:
        CannotCheck: there is no Java or no TLC, or TLC found an error.

    """
    model = name if isinstance(name, Model) else next(model for model in load() if model.name == name)
    with tempfile.TemporaryDirectory() as scratch:
        furnish(model, Path(scratch))
        done = subprocess.run(  # noqa: S603 - the system's own Java
            [*command(model, Path(scratch), heap=heap), "-dump", "dot,actionlabels", "graph.dot", f"{model.module}.tla"],
            cwd=scratch, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CannotCheck(f"TLC ended with {done.returncode}: {done.stdout[-2000:]}")
        with (Path(scratch) / "graph.dot").open(encoding="utf-8") as file:
            return read(file)
