"""Count the user-space instructions that a server executes for a message, with no kernel, network or neighbour in it.

    python -m benchmarks.instructions [--servers NAME,NAME] [--workloads b,f]    prints a table
    python -m benchmarks.instructions --made-of                                  and where they are executed
    python -m benchmarks.instructions --check       compares with record.json: status 1 if one is more than 3 % higher
    python -m benchmarks.instructions --accept      writes what it counted to record.json

A server runs under callgrind (Debian: valgrind) with shim.c preloaded, which plays its clients in memory. Counting begins
after a warm-up and ends at a message, so neither start nor end is in it; the shim's own instructions are taken out. The
same code gives the same count, to the instruction or nearly: hashing and addresses are not random here, and the
monotonic clock is the shim's. Another Python or C library gives others, and for the compiled build another compiler (mypyc's
version, or C's); so the record keeps those of each apart.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from benchmarks.build import built
from benchmarks.servers import COMPILED, COMPILED_TRACED, COUNTED, OURS, TRACED, command
from benchmarks.workloads import WORKLOADS, Workload

Counts = dict[str, dict[str, float]]
"""Instructions a message, by server and workload."""

Record = dict[str, Counts]
"""Counts by what they were made with."""

RECORD = Path(__file__).with_name("record.json")
TOLERANCE = 0.03
LONGEST_S = 120


class Length(NamedTuple):
    """After how many messages counting begins, and how many are counted: some rounds of all connections."""

    warm_up: int = 2000
    messages: int = 4000


LENGTHS = {
    "a": Length(),
    "b": Length(),
    "c": Length(5000, 5000),
    "d": Length(),
    "e": Length(32000, 32000),
    "f": Length(500, 1000),
    "g": Length(),
    "i": Length(500, 1000),
}
"""The workloads that can be counted; a tail (h) has no instructions."""

RECORDED = {OURS: "abcdefi", COMPILED: "abcfi"}
"""What the record holds: the others' figures are not ours to keep. Large messages and many under way say little of the compiled build."""

WITH_TRACE = {OURS: TRACED, COMPILED: COMPILED_TRACED}


def environment_of(workload: Workload, length: Length) -> dict[str, str]:
    """Tell the shim what its clients do."""
    told = workload._asdict() | length._asdict()
    return {f"SHIM_{name.upper()}": str(value) for name, value in told.items() if name != "words"}


class Count(NamedTuple):
    """Instructions a message, and where they were executed, by object file."""

    total: float
    by_object: dict[str, float]


def count(name: str, workload: str, paths: dict[str, str]) -> Count:
    """Run one server through one workload."""
    length = LENGTHS[workload]
    variant = WITH_TRACE[name] if workload == "i" else name
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind"
        callgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
        callgrind += ["--compress-strings=no", "--compress-pos=no"]
        environment = os.environ | environment_of(WORKLOADS[workload], length) | {"LD_PRELOAD": paths["shim"], "PYTHONHASHSEED": "0"}
        said = run(["setarch", "-R", *callgrind, *command(variant, paths)], environment)
        if f"shim: {length.messages} messages" not in said:
            raise SystemExit(f"{variant} did not get through workload {workload}:\n{said[-2000:]}")
        return per_message(out.read_text(), length.messages)


def run(words: list[str], environment: dict[str, str]) -> str:
    """Run a program to its end, or end it; gives what it said on standard error."""
    try:
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST_S).stderr
    except subprocess.TimeoutExpired:
        return f"it hung for {LONGEST_S} s"


def per_message(profile: str, messages: int) -> Count:
    """Add up a callgrind profile by object file. The line after each `calls=` is inclusive, and belongs to the callee."""
    by_object: dict[str, int] = {}
    where, inclusive = "", False
    for line in profile.splitlines():
        if line.startswith("ob="):
            where = Path(line[3:]).name
        elif line.startswith("calls="):
            inclusive = True
        elif re.match(r"\d", line):
            if not inclusive:
                by_object[where] = by_object.get(where, 0) + int(line.split()[1])
            inclusive = False
    shares = {name: value / messages for name, value in by_object.items() if name != "shim.so"}
    return Count(sum(shares.values()), shares)


@cache
def made_with(name: str = OURS) -> str:
    """Name what the counts of a server depend on besides the code."""
    interpreter = f"{platform.python_implementation()} {platform.python_version()}, {'-'.join(platform.libc_ver())}"
    if name != COMPILED:
        return interpreter
    compiler = subprocess.run(["cc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{interpreter}, mypyc {version('mypy')}, cc {compiler}"


def complaints(record: Record, counts: Counts) -> list[str]:
    """Say, a sentence each, what costs more than the record allows."""
    found = []
    for name, workloads in counts.items():
        for workload, now in workloads.items():
            before = record.get(made_with(name), {}).get(name, {}).get(workload)
            if before is None:
                found.append(f"{name} has no record in workload {workload}: --accept writes one.")
            elif now > before * (1 + TOLERANCE):
                found.append(
                    f"{name} executes {now:,.0f} instructions a message in workload {workload}, {now / before - 1:.1%} more than the"
                    f" {before:,.0f} of the record; at most {TOLERANCE:.0%} is allowed."
                )
    return found


def check(counts: Counts, record: Record) -> int:
    """Compare with the record, and give the exit status. What other versions execute says nothing: that passes, and says so."""
    compared = {name: workloads for name, workloads in counts.items() if made_with(name) in record}
    for name in (name for name in counts if name not in compared):
        there = "; ".join(made for made, kept in record.items() if name in kept)
        print(f"\n{name} is not compared: this is {made_with(name)}, and the record is of {there}. --accept adds to it.")
    found = complaints(record, compared)
    if compared:
        print("\n" + (" ".join(found) or "No workload costs more than the record allows."))
    return 1 if found else 0


def accepted(record: Record, counts: Counts) -> Record:
    """Give the record with these counts in the place of those that it had of them."""
    kept = {made: dict(former) for made, former in record.items()}
    for name, workloads in counts.items():
        former = kept.setdefault(made_with(name), {})
        former[name] = former.get(name, {}) | workloads
    return kept


def measure(wanted: dict[str, str], *, made_of: bool) -> Counts:
    """Count and print, a line each."""
    counts: Counts = {}
    print(f"user-space instructions a message (a connection in f), {made_with(COMPILED if COMPILED in wanted else OURS)}")
    with built("shim", "loop", servers=wanted) as paths:
        for workload in sorted(set("".join(wanted.values()))):
            print(f"\n{workload}: {WORKLOADS[workload].words}")
            for name in (name for name, letters in wanted.items() if workload in letters):
                found = count(name, workload, paths)
                counts.setdefault(name, {})[workload] = round(found.total, 1)
                print(f"  {name:<24}{found.total:>12,.0f}", flush=True)
                for where, value in sorted(found.by_object.items(), key=lambda item: -item[1]) if made_of else ():
                    print(f"      {where:<44}{value:>10,.0f}")
    return counts


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", help=f"default: all, or those of the record; there are {', '.join(COUNTED)}")
    parser.add_argument("--workloads", help="letters, such as b,f; default: b, or those of the record")
    parser.add_argument("--made-of", action="store_true", help="say in which object files they were executed")
    parser.add_argument("--check", action="store_true", help="compare with the record; status 1 if one is more than 3 % higher")
    parser.add_argument("--accept", action="store_true", help="write the counts to the record")
    options = parser.parse_args()
    recorded = options.check or options.accept
    names = options.servers.split(",") if options.servers else list(RECORDED if recorded else COUNTED)
    letters = options.workloads.replace(",", "") if options.workloads else None
    if unknown := [name for name in names if name not in COUNTED] + [letter for letter in letters or "" if letter not in LENGTHS]:
        parser.error(f"there is no {unknown[0]!r}; servers: {', '.join(COUNTED)}; workloads: {', '.join(LENGTHS)}")
    wanted = {name: letters or (RECORDED.get(name, "b") if recorded else "b") for name in names}
    wanted = {name: which if name in WITH_TRACE else which.replace("i", "") for name, which in wanted.items()}
    counts = measure(wanted, made_of=options.made_of)
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    if options.check:
        sys.exit(check(counts, record))
    if options.accept:
        RECORD.write_text(json.dumps(accepted(record, counts), indent=1) + "\n", encoding="utf-8")
        print(f"\nwritten to {RECORD.name}")


if __name__ == "__main__":
    main()
