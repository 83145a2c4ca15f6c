"""Everything that is checked of the design, and the code's graph against the specification's. `specs/check` is this module.

    specs/check                 the small set: on each commit
    specs/check --all           the large set too
    specs/check --no-graphs     only the models
    specs/check NAME...         only these models
    specs/check --list          what there is
    specs/check --config NAME   print the whole configuration of a model, to run its checker by hand

TLC checks the models of TLA+, Spin those of Promela; `models.py` says what is expected of each. A model whose graph is compared
with the code's is not run a second time: TLC checks its safety while it dumps the graph (`compare.py`).
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from specs import compare, models
from specs.models import HERE, MANIFEST, CannotCheck, Model, Outcome, expectation, faults, find_jar, find_java, join, load
from specs.promela.verifier import Verifiers, find_tools

if TYPE_CHECKING:
    from collections.abc import Sequence


def check(chosen: Sequence[Model], *, jobs: int, verbose: bool) -> bool:
    """Run models, print a line each, give True if all are as expected.

    Raises:
        CannotCheck: something that is needed for it is missing.

    """
    _need_tools(chosen)
    taken: dict[str, int] = {}
    failed: list[str] = []
    with Verifiers() as verifiers, ThreadPoolExecutor(jobs) as pool:
        outcomes = pool.map(lambda model: (verifiers.run if model.in_promela else models.run)(model), chosen)
        for model, outcome in zip(chosen, outcomes, strict=True):
            wrong = faults(model, outcome)
            print(line(model, outcome, wrong), flush=True)
            if wrong:
                failed.append(model.name)
                print(without_coverage(outcome.text)[-4000:], flush=True)
            for name, count in outcome.actions.items() if model.expected == "sound" else ():
                taken[name] = taken.get(name, 0) + count
            if verbose and model.expected == "sound":
                print("    " + ", ".join(f"{name} {count:,}" for name, count in sorted(outcome.actions.items())), flush=True)
    if taken:
        print("actions taken: " + ", ".join(f"{name} {count:,}" for name, count in sorted(taken.items())))
    print("\n".join(totals(chosen)))
    print(f"NOT as expected: {', '.join(failed)}" if failed else "all as expected")
    return not failed


def _need_tools(chosen: Sequence[Model]) -> None:
    if any(model.in_promela for model in chosen):
        find_tools()
    if not all(model.in_promela for model in chosen):
        find_java()
        find_jar()


def totals(chosen: Sequence[Model]) -> list[str]:
    """Say for each checker how many models there are, and how many states the sound ones have."""
    lines = []
    for checker in sorted({model.checker for model in chosen}):
        its = [model for model in chosen if model.checker == checker]
        sound = [model for model in its if model.expected == "sound"]
        safe, live = (sum(model.states for model in sound if model.is_live is live) for live in (False, True))
        count = f"{safe:,} states of models of safety, {live:,} of models of liveness"
        lines.append(f"{checker}: {len(sound)} sound, {count}; {len(its) - len(sound)} broken")
    return lines


def without_coverage(text: str) -> str:
    """Give what was printed, less the counts of each expression and the statements never reached."""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("|", "line ", "Parsing ", "Semantic ")))


def line(model: Model, outcome: Outcome, wrong: Sequence[str]) -> str:
    """Say in a line what came of a model."""
    if wrong:
        said = "FAILED: " + "; ".join(wrong)
    elif model.expected == "sound":
        said = f"sound, {outcome.states:,} states, {outcome.generated:,} steps{_reached(outcome)}"
    else:
        said = f"found: {model.violates} is violated ({model.expected})"
    return f"{model.name:<32} {outcome.seconds:6.1f} s  {said}"


def _reached(outcome: Outcome) -> str:
    return f", {outcome.statements - len(outcome.unreached):,} of {outcome.statements:,} statements" if outcome.statements else ""


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; give the exit code: 1 if something is not as expected, 2 if it could not be checked."""
    parser = argparse.ArgumentParser(prog="specs/check", description="Check the models of specs/manifest.json, and the code against one.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these models")
    parser.add_argument("--all", action="store_true", help="the large set too")
    parser.add_argument("--no-graphs", action="store_true", help="do not compare the code's graph with the specification's")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many models at once; one takes up to 7 GiB")
    parser.add_argument("--list", action="store_true", help="list the models and run none")
    parser.add_argument("--config", metavar="NAME", help="print the whole configuration of a model and run none")
    parser.add_argument("--verbose", action="store_true", help="how often each action is taken in each model")
    said = parser.parse_args(argv)
    known = {model.name: model for model in load()}
    unknown = [name for name in [*said.names, *filter(None, [said.config])] if name not in known]
    if unknown:
        print(f"there is no model {', '.join(unknown)} in {MANIFEST.name}; see --list", file=sys.stderr)
        return 2
    chosen = [known[name] for name in said.names] or [model for model in known.values() if said.all or model.size == "small"]
    if said.config:
        print(configuration(known[said.config]))
        return 0
    if said.list:
        for model in chosen:
            print(f"{model.name:<32} {model.checker:<4} {model.size:<6} {expectation(model):<60} {model.about}")
        return 0
    try:
        return 0 if _everything(chosen, said) else 1
    except CannotCheck as error:
        print(error, file=sys.stderr)
        return 2


def _everything(chosen: Sequence[Model], said: argparse.Namespace) -> bool:
    if said.names or said.no_graphs:
        return check(chosen, jobs=said.jobs, verbose=said.verbose)
    names = compare.MODELS if said.all else compare.MODELS[:1]
    twice = {model.name for model in load() if model.name in names and not model.is_live}
    good = check([model for model in chosen if model.name not in twice], jobs=said.jobs, verbose=said.verbose)
    return all([good, *(compare.check(name, concretely=False) for name in names)])


def configuration(model: Model) -> str:
    """Give all that its checker is told of a model."""
    return f"spin -a {' '.join(model.flags)} model.pml" if model.in_promela else join(HERE / name for name in model.configs).rstrip()


if __name__ == "__main__":
    sys.exit(main())
