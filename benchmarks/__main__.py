"""Measure what a message costs, of this server and of its peers, in one interleaved run.

    python -m benchmarks [--quick] [--workloads b,f] [--servers NAME,NAME] [--to FOLDER]
    python -m benchmarks --from FOLDER [--docs]      tables and pictures again, from the figures that were kept

Prints tables; keeps every slice as JSON, the tables as Markdown and the pictures as SVG in FOLDER (build/benchmarks), or with
`--docs` in docs/performance. Needs a C compiler and two cores. `--quick` takes two minutes, the whole a quarter of an hour.
What is measured, and how, stands in docs/performance.md.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from benchmarks import footprint, report, startup
from benchmarks.build import built
from benchmarks.report import RAW, UVLOOP, Results
from benchmarks.servers import COMPILED, FLOOR, OURS, available
from benchmarks.slices import LOAD_CORE, SETTLED_HEAP, Timing, measure, pin, serving
from benchmarks.workloads import WORKLOADS, takes_part

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "performance"
PAGE = DOCS.with_suffix(".md")
FULL, QUICK = Timing(same_core=7, two_cores=5, milliseconds=250), Timing(same_core=3, two_cores=2, milliseconds=50)
CROWD_FULL, CROWD_QUICK = Timing(5, 0, 150), Timing(3, 0, 60)
FOR_TAILS = "h"
"""On one core the tail is the scheduler's: this workload is measured on two."""


def versions() -> dict[str, str]:
    """Name all that was measured, and on what."""
    found = {"system": f"{platform.system()} {platform.release()}", "processor": processor(), "CPython": platform.python_version()}
    for package in ("fsmserver", "uvloop", "gevent", "Twisted", "tornado", "trio", "pyasyncore"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT).stdout.strip()
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "src"], check=False, cwd=ROOT).returncode
    found["commit"] = commit + (" and changes" if changed else "") if commit else "unknown"
    if shutil.which("node"):
        found["Node"] = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return found | {"cc": subprocess.run(["cc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()}


def processor() -> str:
    """Name the processor and count its cores."""
    cores = os.cpu_count()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} x {cores}"
    return f"{next((line.partition(': ')[2] for line in lines if line.startswith('model name')), platform.machine())} x {cores}"


def allow_descriptors() -> None:
    """Take as many descriptors as may be had: servers and clients inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(names: list[str], letters: str, *, quick: bool) -> Results:
    """Measure everything."""
    results = Results()
    results.versions = versions()
    print(report.versions(results), flush=True)
    timing = QUICK if quick else FULL
    with built("load", "loop", servers=names) as paths:
        pin(LOAD_CORE)
        with serving([name for name in names if any(takes_part(name, letter) for letter in letters)], paths, SETTLED_HEAP) as servers:
            for letter in letters:
                note(f"workload {letter}")
                taking = [name for name in names if takes_part(name, letter)]
                shorter = timing._replace(same_core=0) if letter in FOR_TAILS else timing
                results.workloads[letter] = measure(taking, servers, WORKLOADS[letter], shorter, paths)
            if "g" in letters:
                measure_crowds(results, names, servers, paths, quick=quick)
        if "g" in letters:
            note("memory")
            results.memory_bytes = footprint.bytes_per_idle_connection(few(names) if quick else names, paths)
    if OURS in names:
        note("starting")
        results.import_ms = startup.import_ms(7 if quick else startup.TURNS)
        results.listening_ms = startup.listening_ms(5 if quick else startup.TURNS)
        results.bare_listening_ms = startup.bare_listening_ms(5 if quick else startup.TURNS)
    return results


def measure_crowds(results: Results, names: list[str], servers: dict[str, tuple[int, int]], paths: dict[str, str], *, quick: bool) -> None:
    """Measure the cost against the connections; in a hurry, at both ends and of a few only."""
    if quick:
        note("cost against connections")
        ends = (footprint.CROWDS[0], footprint.CROWDS[-1])
        results.idle = footprint.by_crowd(few(names), servers, ends, CROWD_QUICK, paths, active=footprint.ACTIVE)
        return
    names = [name for name in names if takes_part(name, "b")]
    note("cost against connections, ten active")
    results.idle = footprint.by_crowd(names, servers, footprint.CROWDS, CROWD_FULL, paths, active=footprint.ACTIVE)
    note("cost against connections, all active")
    results.active = footprint.by_crowd(names, servers, footprint.ALL_ACTIVE, CROWD_FULL, paths, active=None)


def few(names: list[str]) -> list[str]:
    """Give those that matter most."""
    return [name for name in names if name in {OURS, COMPILED, FLOOR, RAW, UVLOOP}]


def note(what: str) -> None:
    """Say what goes on, for people who wait."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def keep(results: Results, folder: Path) -> None:
    """Write figures, tables and pictures; the docs have the tables in their page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(json.dumps(results.data()) + "\n", encoding="utf-8")
    tables = "\n\n".join(report.everything(results))
    if folder == DOCS:
        PAGE.write_text(report.between_marks(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
    else:
        (folder / "tables.md").write_text(tables + "\n", encoding="utf-8")
    if find_spec("matplotlib"):
        from benchmarks import draw

        draw.everything(results, folder)


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter and fewer slices: two minutes")
    parser.add_argument("--workloads", default="".join(WORKLOADS), help="letters, such as b,f")
    parser.add_argument("--servers", help=f"there are {', '.join(available())}; the C loop always takes part")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "benchmarks", help="folder for JSON, tables and pictures")
    parser.add_argument("--from", dest="source", type=Path, help="measure nothing; show what this folder has")
    parser.add_argument("--docs", action="store_true", help="write tables and pictures to docs/performance")
    options = parser.parse_args()
    letters = options.workloads.replace(",", "")
    names = options.servers.split(",") if options.servers else available()
    if unknown := [name for name in names if name not in available()] + [letter for letter in letters if letter not in WORKLOADS]:
        parser.error(f"there is no {unknown[0]!r}; servers: {', '.join(available())}; workloads: {', '.join(WORKLOADS)}")
    if FLOOR not in names:
        names.append(FLOOR)
    allow_descriptors()
    if options.source:
        results = Results.of(json.loads((options.source / "figures.json").read_text(encoding="utf-8")))
    else:
        results = run(names, letters, quick=options.quick)
    print("\n" + "\n\n".join(list(report.everything(results))[not options.source :]))
    keep(results, DOCS if options.docs else options.to)


if __name__ == "__main__":
    main()
