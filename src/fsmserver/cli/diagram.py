"""Pictures of the connection machine, all drawn from the table."""

import shutil
import subprocess
from typing import Final

from fsmserver.core.states import Event, State
from fsmserver.core.table import CONNECTION

FORMS: Final = ("mermaid", "dot", "svg", "markdown")


class DrawingFailed(Exception):
    """A picture cannot be drawn here; the sentence says what is missing."""


def draw(form: str) -> str:
    """Draw the machine as `mermaid`, `dot`, `svg` or a `markdown` table.

    Raises:
        ValueError: there is no such form.
        DrawingFailed: svg was asked for, and Graphviz is not installed.

    """
    match form:
        case "mermaid":
            return mermaid()
        case "dot":
            return dot()
        case "svg":
            return svg()
        case "markdown":
            return markdown()
    raise ValueError(f"there is no format {form!r}; there are {', '.join(FORMS)}")


def arrows() -> dict[tuple[State, State], list[Event]]:
    """Group the events by the arrow they take."""
    grouped: dict[tuple[State, State], list[Event]] = {}
    for origin, row in CONNECTION.arrows.items():
        for event, destination in row.items():
            grouped.setdefault((origin, destination), []).append(event)
    return grouped


def mermaid() -> str:
    """Draw a mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {CONNECTION.initial}"]
    lines += [f"    {origin} --> {destination}: {', '.join(events)}" for (origin, destination), events in arrows().items()]
    lines += [f"    {state} --> [*]" for state in CONNECTION.final]
    return "\n".join(lines) + "\n"


def dot() -> str:
    """Draw a Graphviz digraph."""
    lines = ["digraph connection {", "    rankdir=LR", "    node [shape=box, style=rounded]", "    start [shape=point]"]
    lines.append(f"    start -> {CONNECTION.initial}")
    for (origin, destination), events in arrows().items():
        label = ", ".join(events)
        lines.append(f'    {origin} -> {destination} [label="{label}"]')
    lines += [f"    {state} [peripheries=2]" for state in CONNECTION.final]
    return "\n".join([*lines, "}"]) + "\n"


def svg() -> str:
    """Have Graphviz draw the digraph."""
    program = shutil.which("dot")
    if program is None:
        raise DrawingFailed("svg needs the program dot of Graphviz, which is not installed; --format mermaid needs nothing")
    return subprocess.run([program, "-Tsvg"], input=dot(), capture_output=True, text=True, check=True).stdout  # noqa: S603 - found on PATH


def markdown() -> str:
    """Write the grid of events and states; an empty cell is illegal."""
    columns = [state for state in State if state not in CONNECTION.final]
    lines = [f"| event | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for event in Event:
        cells = (CONNECTION.arrows[state].get(event) or "" for state in columns)
        lines.append(f"| `{event}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
