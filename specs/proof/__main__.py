"""Prove everything, with both solvers, and print what each said.

    python -m specs.proof                                  of the table as it is
    python -m specs.proof --only "event finish"            only what has these words
    python -m specs.proof --change finish queued closed    of a table with one arrow changed (`none` makes it illegal)
    python -m specs.proof --every-change                   of each table that differs in one arrow: each must fail

The exit code is 0 if all is proved, 1 if something is not: then a counterexample is printed in words.
"""

import argparse
import sys
import time
from itertools import product

from fsmserver.core.states import Event, State
from specs.proof.obligations import obligations
from specs.proof.prove import Outcome, prove
from specs.proof.tables import Tables, of_the_code


def main(argv: list[str] | None = None) -> int:
    """Run the proof and print it. Give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m specs.proof", description="Prove the invariants of the connection's table.")
    parser.add_argument("--change", nargs=3, metavar=("EVENT", "STATE", "NEXT"), help="change one arrow first; NEXT may be none")
    parser.add_argument("--every-change", action="store_true", help="see that each table with one arrow changed fails the proof")
    parser.add_argument("--only", default="", metavar="WORDS", help="prove only what has these words")
    parser.add_argument("--quiet", action="store_true", help="print only what is not proved, and the count")
    options = parser.parse_args(argv)
    tables = of_the_code()
    if options.every_change:
        return _every_change(tables)
    if options.change:
        tables = _changed(tables, *options.change)
    began_s = time.monotonic()
    outcomes = []
    for outcome in prove(tables, [each for each in obligations(tables) if options.only in f"{each.group}: {each.claim}"]):
        outcomes.append(outcome)
        if not (options.quiet and outcome.proved):
            _show(outcome)
    failed = sum(not outcome.proved for outcome in outcomes)
    print(f"{len(outcomes) - failed} of {len(outcomes)} obligations proved by both solvers, {time.monotonic() - began_s:.1f} s")
    return 1 if failed else 0


def _every_change(tables: Tables) -> int:
    """Ask of each changed table what is asked of the event whose arrow was changed; that is enough."""
    count, passed = 0, []
    for event, origin in product(Event, State):
        present = tables.arrows[origin].get(event)
        for destination in (None, *State):
            if destination is not present:
                count += 1
                changed = tables.with_arrow(event, origin, destination)
                asked = [each for each in obligations(changed) if each.group == f"event {event}"]
                if all(outcome.proved for outcome in prove(changed, asked)):
                    passed.append(f"{event} in {origin} leads to {destination or 'nothing'}")
    for words in passed:
        print(f"PASSED the proof: {words}")
    print(f"{count - len(passed)} of {count} changed tables fail the proof")
    return 1 if passed else 0


def _changed(tables: Tables, event: str, origin: str, destination: str) -> Tables:
    return tables.with_arrow(Event(event), State(origin), None if destination == "none" else State(destination))


def _show(outcome: Outcome) -> None:
    answers = "  ".join(f"{name} {answer}" for name, answer in outcome.answers.items())
    print(f"{'proved' if outcome.proved else 'FAILED'}  {answers}  {outcome.obligation.group}: {outcome.obligation.claim}")
    if outcome.counterexample:
        print(f"        {outcome.counterexample}")


if __name__ == "__main__":
    sys.exit(main())
