"""`python -m tests.specimens`: every specimen by the tools that find it, and the tutorial's faults; `--help` says the rest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count
from typing import Final

from fsmserver.cli import main as fsmserver
from fsmserver.testing.bounded import SMALL
from tests.parity.removed import REMOVED
from tests.specimens import page
from tests.specimens.catalogue import CATALOGUE
from tests.specimens.finding import Account, by_explorer, by_parity, by_seeds, everything, of_the_tutorial

NAME_WIDTH: Final = 56
WIDTHS: Final = "{:<56} {:>6} {:>6} {:>7} {:>8} {:>8}  {:<26} {:>8} {:>8}"
HEAD: Final = ("fault", "seed", "drawn", "needed", "found s", "red. s", "explorer", "shortest", "found s")
MISSED: Final = "none"


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
    """Find everything anew, by seeds from 0 on and by the search that the record names; tell it in rows, and in sum."""
    recorded, found = page.read()["specimens"], {}
    tell(WIDTHS.format(*HEAD))
    for name, specimen in CATALOGUE.items():
        searches = [recorded[name]["explorer"]["search"]] if name in recorded else list(SMALL)
        found[name] = {"seeds": by_seeds(specimen, count()), "explorer": by_explorer(specimen, searches)}
        tell(WIDTHS.format(*specimen_row(name, **found[name])))
    missed = sum(None in accounts.values() for accounts in found.values())
    for row in chain(tutorial_rows(), kernel_rows()):
        tell(WIDTHS.format(*row))
        missed += MISSED in row
    tell(page.summary(found))
    return 1 if missed else 0


def specimen_row(name: str, seeds: Account | None, explorer: Account | None) -> Sequence[object]:
    """Give the row of a specimen."""
    row: list[object] = [name, *[MISSED] * 8]
    if seeds is not None:
        row[1:6] = [seeds["seed"], seeds["drawn"], len(seeds["operations"]), f"{seeds['found_s']:.2f}", f"{seeds['reduced_s']:.3f}"]
    if explorer is not None:
        row[6:] = [explorer["search"], len(explorer["trace"]), f"{explorer['found_s']:.2f}"]
    return row


def tutorial_rows() -> Iterator[Sequence[object]]:
    """Give the row of each fault of the tutorial's."""
    for name, account in of_the_tutorial().items():
        times = f"{account['found_s']:.2f}", f"{account['reduced_s']:.3f}"
        yield [f"tutorial: {name}"[:NAME_WIDTH], account["seed"], "", len(account["operations"]), *times, "", "", ""]


def kernel_rows() -> Iterator[Sequence[object]]:
    """Give the row of each rule that is taken out of the simulated kernel."""
    for rule in REMOVED:
        account = by_parity(rule)
        found = [MISSED] * 5 if account is None else [account["scripts"] - 1, "", account["operations"], f"{account['found_s']:.2f}", ""]
        yield [f"kernel without: {rule}"[:NAME_WIDTH], *found, "", "", ""]


if __name__ == "__main__":
    sys.exit(main())
