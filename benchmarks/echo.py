"""Compare six echo servers in three workloads: the short form of `python -m benchmarks`.

    python benchmarks/echo.py [--slices N] [--milliseconds N] [--json FILE] [--servers NAME,NAME]

Two tables a workload. In the first the load comes from another core than the server's: medians of the server's CPU in
microseconds a message, the quartiles, and the ratio of the medians to uvloop's. In the second server and load generator
share one core, and the figure is the server's CPU over the load generator's: what slows the core down slows both, so on a
machine that is busy with other work it is the steadier one. This package's compiled build is made first: most of a minute.
"""

import argparse
import json
import sys
from pathlib import Path

if __package__ in {None, ""}:  # run by its path: the folder above has the package
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import report
from benchmarks.__main__ import allow_descriptors, versions
from benchmarks.build import built
from benchmarks.figures import Spread, spread
from benchmarks.report import RAW, UVLOOP, Results
from benchmarks.servers import COMPILED, OURS, available
from benchmarks.slices import LOAD_CORE, SETTLED_HEAP, Measured, Timing, measure, pin, serving
from benchmarks.workloads import WORKLOADS

LETTERS = "bcd"
SIX = [OURS, COMPILED, "asyncio Protocol", "asyncio streams", UVLOOP, RAW]


def show(letter: str, found: Measured, *, same_core: bool) -> None:
    """Print one table, the cheapest first."""
    costs: dict[str, Spread] = {}
    for name, slices in (found.same_core if same_core else found.two_cores).items():
        costs[name] = spread(one.relative if same_core else one.us for one in slices)
    what = "server CPU / client CPU, one core" if same_core else "server CPU per message, µs"
    print(f"\n{f'{WORKLOADS[letter].words}: {what}':<46}{'median':>8}{'quartiles':>18}{'x uvloop':>10}")
    for name, cost in sorted(costs.items(), key=lambda item: item[1].median):
        ratio = f"{cost.median / costs[UVLOOP].median:10.2f}" if UVLOOP in costs else ""
        print(f"  {name:<44}{cost.median:8.2f}{f'{cost.low:.2f} to {cost.high:.2f}':>18}{ratio}")


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=7, help="of each server, workload and table")
    parser.add_argument("--milliseconds", type=int, default=300, help="how long a slice is")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--servers", default=",".join(name for name in SIX if name in available()))
    options = parser.parse_args()
    names = options.servers.split(",")
    if unknown := [name for name in names if name not in available()]:
        parser.error(f"there is no server {unknown[0]!r}; there are {', '.join(available())}")
    allow_descriptors()
    timing = Timing(options.slices, options.slices, options.milliseconds)
    results = Results()
    results.versions = versions()
    print(report.versions(results))
    with built("load", "loop", servers=names) as paths:
        pin(LOAD_CORE)
        with serving(names, paths, SETTLED_HEAP) as servers:
            for letter in LETTERS:
                results.workloads[letter] = measure(names, servers, WORKLOADS[letter], timing, paths)
                for same_core in (False, True):
                    show(letter, results.workloads[letter], same_core=same_core)
    if options.json:
        options.json.write_text(json.dumps(results.data(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
