"""What finds a specimen, and after how much work: each tool is asked in the same way for every one of them.

A tool is given the fault planted and nothing else, and gives an account of plain values, so that it can be kept as JSON.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count
from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings

from fsmserver.cli.echo import Echo
from fsmserver.testing.bounded import SMALL, BoundedServer
from fsmserver.testing.campaign import Plan
from fsmserver.testing.explorer import Result, explore
from fsmserver.testing.foreign_scripts import Script, random_script
from fsmserver.testing.foreign_search import reduce as reduce_strange
from fsmserver.testing.operations import words
from fsmserver.testing.reduction import reduce
from fsmserver.testing.simulation import Outcome, run_seed
from fsmserver.testing.snapshot import fewer_collections
from fsmserver.testing.stateful import Blind, ServerMachine, run_machine
from fsmserver.testing.world import Config
from tests.parity.compare import no_holes
from tests.parity.compare import search as compare
from tests.parity.removed import REMOVED, removed
from tests.specimens.catalogue import CATALOGUE, Specimen
from tests.specimens.strangers import NAMED, OTHERS, search_all

Account = dict[str, Any]

PATIENCE_S: Final = 10.0
"""CPU seconds after which the seeded driver gives up."""

OF_THE_GRAPH: Final = " states"
"""With this end the sentences about finished graphs."""

FEW_STATES: Final = 300
MOST_STATES: Final = 5000
"""The second is more than any of the small searches finds in the shipped code."""

MOST_EXAMPLES: Final = 300
MOST_SCRIPTS: Final = 400
PLAN: Final = Plan(twice=False)


# The seeded driver.


def by_seeds(specimen: Specimen, seeds: Iterable[int]) -> Account | None:
    """Run seeds until one fails, and reduce it; give None if none did, or not in time."""
    make_world = PLAN.make_world()
    with specimen.planted(), fewer_collections():
        began_s = time.process_time()
        for seed in seeds:
            outcome = run_seed(seed, make_world, kinds=PLAN.kinds())
            found_s = time.process_time()
            if outcome.failure is not None:
                best = reduce(outcome, make_world)
                return _account_of(seed, outcome, best, found_s - began_s, time.process_time() - found_s)
            if found_s - began_s > PATIENCE_S:
                return None
    return None


def _account_of(seed: int, outcome: Outcome, best: Outcome, found_s: float, reduced_s: float) -> Account:
    assert best.failure is not None, "what was reduced fails"
    return {
        "seed": seed,
        "drawn": len(outcome.operations),
        "operations": [words(operation) for operation in best.operations],
        "config": {name: value for name, value in best.config.as_dict().items() if value != getattr(Config(), name)},
        "finding": best.failure.sentence,
        "found_s": round(found_s, 3),
        "reduced_s": round(reduced_s, 3),
    }


# The explorer.


def by_explorer(specimen: Specimen, searches: Iterable[str] = tuple(SMALL)) -> Account | None:
    """Make the searches of `explore --small` of these names, and give the shortest trace of all, or None.

    They are cut short first, and are gone through only if none of them has found anything by then. A state that is wrong is
    preferred to what only the finished graph says.
    """
    for most_states in (FEW_STATES, MOST_STATES):
        accounts = list(filter(None, (_explored(specimen, name, most_states) for name in searches)))
        if accounts:
            return min(accounts, key=lambda account: (account["finding"].endswith(OF_THE_GRAPH), len(account["trace"])))
    return None


def _explored(specimen: Specimen, search: str, most_states: int) -> Account | None:
    began_s = time.process_time()
    with specimen.planted():
        result: Result = explore(BoundedServer(SMALL[search]), most_states=most_states)
    if result.violation is None:
        return None
    trace = [words(operation) for operation in result.violation.trace]
    took_s = round(time.process_time() - began_s, 3)
    return {"search": search, "trace": trace, "finding": result.violation.sentence, "states": result.states, "found_s": took_s}


# Hypothesis.


class Meddler(ServerMachine):
    """An echo server, with everything in play, and fewer connections than there are peers."""

    protocol = Echo
    meddles = True
    examples = 0
    connections = 4

    def __init__(self) -> None:
        """Count the examples."""
        super().__init__()
        Meddler.examples += 1

    def configure(self, config: Config) -> Config:
        """Have the listener be full sometimes."""
        return replace(config, connections=self.connections)


def by_machine(specimen: Specimen) -> Account | None:
    """Search with a Hypothesis machine, always in the same way, and not reducing; give None if it finds nothing."""
    Meddler.examples = 0
    bounds = settings(
        max_examples=MOST_EXAMPLES, stateful_step_count=25, deadline=None, derandomize=True, database=None, report_multiple_bugs=False,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    began_s = time.process_time()
    try:
        with specimen.planted():
            run_machine(Meddler, bounds)
    except Blind:
        return None
    except Exception:
        return {"examples": Meddler.examples - 1, "found_s": round(time.process_time() - began_s, 3)}  # the last one is a repetition
    return None


# Servers that know nothing of us, and the simulated kernel itself.


def of_the_tutorial() -> dict[str, Account]:
    """Search the tutorial's servers once, and reduce what shows each fault."""
    searched = search_all()
    accounts = {}
    for name, fault in (NAMED | OTHERS).items():
        found = searched[fault.program][fault.shows]
        began_s = time.process_time()
        script: Script = reduce_strange(fault.program, random_script(found.seed), found.finding)
        accounts[name] = {
            "seed": found.seed,
            "operations": [words(operation) for operation in script.operations],
            "finding": str(found.finding),
            "found_s": round(found.cpu_s, 3),
            "reduced_s": round(time.process_time() - began_s, 3),
        }
    return accounts


def by_parity(rule: str) -> Account | None:
    """Take a rule out of the simulated kernel, and compare it with the real one, script after script."""
    began_s = time.process_time()
    with removed(rule) as poller, no_holes():
        found = compare(range(MOST_SCRIPTS), poller)
    if found is None:
        return None
    seed, difference = found
    return {"scripts": seed + 1, "poller": poller, "operations": len(difference.script), "found_s": round(time.process_time() - began_s, 3)}


def everything(progress: Callable[[str], object]) -> dict[str, dict[str, Any]]:
    """Ask every tool from the beginning: the record that the page shows. It takes some minutes."""
    specimens = {}
    for name, specimen in CATALOGUE.items():
        specimens[name] = {"seeds": by_seeds(specimen, count()), "explorer": by_explorer(specimen), "machine": by_machine(specimen)}
        progress(name)
    return {"specimens": specimens, "tutorial": of_the_tutorial(), "kernel": {rule: by_parity(rule) for rule in REMOVED}}
