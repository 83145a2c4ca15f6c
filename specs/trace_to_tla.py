"""Judge recorded traces by `Trace.tla`: turn JSON lines, as `runtime.trace` writes them, into a module, and run TLC on it.

    python -m specs.trace_to_tla TRACE.jsonl...          judge each; exit code 1 if one is not a behaviour
    python -m specs.trace_to_tla --module TRACE.jsonl    print the module TraceData, and judge nothing

Exchanges are taken apart first, so what is numbered are transitions, which are the lines where no line stands for several.
This is slow and for short traces (a few hundred lines): `python -m fsmserver check` does the same for long ones. It is here so
that there are two checkers, which are written apart, share the table alone and are fed the same traces by a test.

TLC's integers have 31 bits, so times are given by their ranks, and how long a deadline ran in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fsmserver.core.exchange import apart
from fsmserver.core.line import Line
from fsmserver.core.line import read as read_line
from fsmserver.core.states import Hold, Interest
from specs.models import HERE, CannotCheck, find_jar, find_java

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

UNKNOWN: Final = -1
"""The bits of holds that are no holds, or not in their order: no state has them."""

BITS: Final = {Hold(bits).words: bits for bits in range(16)}
INTERESTS: Final = {Interest(bits).words: [word for word in ("read", "write") if word in Interest(bits).words] for bits in range(4)}
COUNTS: Final = ("connection", "fd", "received", "written", "taken", "outbox", "discarded", "low", "high")


class Verdict(NamedTuple):
    """What TLC says of a trace: the number of the first bad line (one past the last: its end), 0 if there is none; and what is wrong."""

    line: int
    wrong: tuple[str, ...]


def module(traces: Sequence[Sequence[Line]]) -> str:
    """Give the text of the module TraceData."""
    body = ",\n".join("<<\n" + ",\n".join(_records(lines)) + " >>" for lines in traces)
    return f"---- MODULE TraceData ----\nEXTENDS Integers\n(* Written by specs/trace_to_tla.py. *)\nTraces == <<\n{body}\n>>\n====\n"


def _records(lines: Sequence[Line]) -> Iterable[str]:
    ranks = {time_s: rank for rank, time_s in enumerate(sorted({time_s for line in lines for time_s in (line.t, line.since)}))}
    born_s: dict[int, float] = {}
    for line in lines:
        birth_s = born_s.setdefault(line.connection, line.since)
        fields: dict[str, str] = {
            "t": str(ranks[line.t]),
            "since": str(ranks[line.since]),
            "event": _word(line.event),
            "from": _word(line.origin),
            "to": _word(line.to),
            "holds": str(BITS.get(line.holds, UNKNOWN)),
            "interest": "{" + ", ".join(map(_word, INTERESTS.get(line.interest, ["unknown"]))) + "}",
            "deadline": _word(line.deadline),
            "limit": _word(line.limit or ""),
            "after_ms": str(_ms(line.after_s or 0)),
            "ran_ms": str(_ms(line.t - line.since)),
            "lived_ms": str(_ms(line.t - birth_s)),
        }
        fields |= {name: str(getattr(line, name)) for name in COUNTS}
        yield "  [" + ", ".join(f"{name} |-> {value}" for name, value in fields.items()) + "]"


def _word(text: str) -> str:
    return json.dumps(text)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


WRONG: Final = re.compile(r'<<\s*"WRONG",\s*(\d+),\s*(\d+),\s*\{(.*?)\}\s*>>', re.DOTALL)


def judge(traces: Sequence[Sequence[Line]]) -> list[Verdict]:
    """Have TLC judge traces, all in one run.

    Raises:
        CannotCheck: there is no Java or no TLC, or TLC could not make sense of it.

    """
    verdicts = [Verdict(0, ())] * len(traces)
    for number, place, words in WRONG.findall(_run_tlc(traces)):
        verdicts[int(number) - 1] = Verdict(int(place), tuple(sorted(re.findall(r'"(.*?)"', words))))
    return verdicts


def _run_tlc(traces: Sequence[Sequence[Line]]) -> str:
    java, jar = find_java(), find_jar()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for path in (HERE / "Trace.tla", HERE / "generated" / "Table.tla"):
            (folder / path.name).write_text(path.read_text(encoding="ascii"), encoding="ascii")
        (folder / "TraceData.tla").write_text(module(traces), encoding="ascii")
        (folder / "Trace.cfg").write_text("SPECIFICATION Spec\n", encoding="ascii")
        command = [java, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Djava.io.tmpdir={scratch}", "-cp", str(jar), "tlc2.TLC"]
        command += ["-deadlock", "-workers", "1", "-metadir", scratch, "-nowarning", "Trace.tla"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)  # noqa: S603 - the system's own Java
    if done.returncode:
        raise CannotCheck(f"TLC ended with {done.returncode}: {done.stdout[-2000:]}")
    return done.stdout


def read(path: Path) -> list[Line]:
    """Read a trace, all of it line by line: what stands for several lines is taken apart.

    Raises:
        ValueError: a line is not one of a trace, or stands for what cannot be told.

    """
    said: list[dict[str, Any]] = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines() if text.strip()]
    return list(apart(map(read_line, said)))


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m specs.trace_to_tla", description="Judge recorded traces by Trace.tla.")
    parser.add_argument("traces", nargs="+", type=Path, metavar="TRACE")
    parser.add_argument("--module", action="store_true", help="print the module TraceData and judge nothing")
    said = parser.parse_args(argv)
    traces = [read(path) for path in said.traces]
    if said.module:
        print(module(traces), end="")
        return 0
    try:
        verdicts = judge(traces)
    except CannotCheck as error:
        print(error, file=sys.stderr)
        return 2
    for path, verdict in zip(said.traces, verdicts, strict=True):
        print(f"{path}: " + (f"line {verdict.line}: wrong: {', '.join(verdict.wrong)}" if verdict.line else "a behaviour of the machine"))
    return 1 if any(verdict.line for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
