"""`python -m tests.specimens`: every specimen by the tools that find it, and the tutorial's faults; `--help` says the rest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import count

from fsmserver.cli import main as fsmserver
from tests.specimens import page
from tests.specimens.catalogue import CATALOGUE
from tests.specimens.finding import by_explorer, by_seeds, everything, of_the_tutorial

WIDTHS = "{:<50} {:>6} {:>6} {:>7} {:>8} {:>8}  {:<26} {:>7} {:>8}"
HEAD = ("fault", "seed", "drawn", "needed", "found s", "reduced", "explorer", "needed", "found s")


def main(arguments: list[str] | None = None) -> int:
    """Give 1 if something was not found that had to be."""
    parser = argparse.ArgumentParser(prog="python -m tests.specimens", description="Our own server with one fault each, and what finds it.")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("record", help="ask every tool from the beginning, and write docs/specimens.md; takes some minutes")
    plant = commands.add_parser("plant", help="run a command of fsmserver with a fault planted")
    plant.add_argument("name", choices=sorted(CATALOGUE), metavar="NAME", help="the specimen, as the table names it")
    plant.add_argument("arguments", nargs=argparse.REMAINDER, help="such as: explore --small")
    options = parser.parse_args(arguments)
    if options.command == "record":
        page.write(everything(lambda name: print(name, file=sys.stderr, flush=True)))
        return 0
    if options.command == "plant":
        return run_planted(options.name, options.arguments)
    return show(print)


def run_planted(name: str, arguments: list[str]) -> int:
    """Run `python -m fsmserver ARGUMENTS` with a specimen planted; give its exit code."""
    former, sys.argv = sys.argv, ["fsmserver", *arguments]
    try:
        with CATALOGUE[name].planted():
            fsmserver()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        sys.argv = former
    return 0


def show(tell: Callable[[str], object]) -> int:
    """Find each specimen by seeds from 0 on, and by the search that the record names; tell it in rows."""
    record, missed = page.read(), 0
    tell(WIDTHS.format(*HEAD))
    for name, specimen in CATALOGUE.items():
        recorded = record["specimens"].get(name, {}).get("explorer")
        seeds, explorer = by_seeds(specimen, count()), by_explorer(specimen, *([[recorded["search"]]] if recorded else []))
        missed += seeds is None or explorer is None
        cells: list[object] = [name, *[page.NOTHING] * 8]
        if seeds is not None:
            cells[1:6] = [seeds["seed"], seeds["drawn"], len(seeds["operations"]), f"{seeds['found_s']:.2f}", f"{seeds['reduced_s']:.3f}"]
        if explorer is not None:
            cells[6:] = [explorer["search"], len(explorer["trace"]), f"{explorer['found_s']:.2f}"]
        tell(WIDTHS.format(*cells))
    for name, account in of_the_tutorial().items():
        found_s, reduced_s = f"{account['found_s']:.2f}", f"{account['reduced_s']:.3f}"
        tell(WIDTHS.format(f"tutorial: {name}"[:50], account["seed"], "", len(account["operations"]), found_s, reduced_s, "", "", ""))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
