"""Many seeds, on any executor: what was searched, what was seen, what failed, and one digest of it all.

Each task is a range of seeds, of a size that does not depend on the executor, and its report is plain data; so one process,
a pool of them and a cluster give the same report. Each seed is run twice, and the two must be the same to the last byte: nothing
in the product may depend on `id()`, on the order of a set, or on `hash()`.
"""

from __future__ import annotations

import hashlib
import json
import pkgutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fsmserver.testing.coverage import Coverage
from fsmserver.testing.operations import FAULTS, KINDS, Operation
from fsmserver.testing.reduction import reduce
from fsmserver.testing.simulation import Failure, Outcome, WorldMaker, run_script, run_seed
from fsmserver.testing.snapshot import fewer_collections
from fsmserver.testing.world import Config, World

SEEDS_A_TASK: Final = 20
FORMAT: Final = 1
DEFAULT_PROTOCOL: Final = "fsmserver.cli.echo:Echo"
FIGURES: Final = ("checked", "messages", "transitions", "events", "rounds", "connections", "operations", "simulated_s", "cpu_s")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is searched: plain values, so that it can be sent anywhere and kept beside a failure.

    `protocol` is `module:Class`; `faults` are names of kinds of faults, or `all` or `none`; `world` names a function that makes a
    `World` of a `Config`, for worlds of one's own (then `protocol` is not asked).
    """

    protocol: str = DEFAULT_PROTOCOL
    poller: str = "epoll"
    faults: tuple[str, ...] = ("all",)
    world: str = ""
    twice: bool = True

    def make_world(self) -> WorldMaker:
        """Find what makes the worlds.

        Raises:
            ValueError, ImportError, AttributeError: there is no such name.

        """
        if self.world:
            maker: WorldMaker = pkgutil.resolve_name(self.world)
            return maker
        factory: Callable[[], object] = pkgutil.resolve_name(self.protocol)
        return lambda config: World(factory, config)

    def kinds(self) -> tuple[str, ...]:
        """Give the kinds of operations in play.

        Raises:
            ValueError: there is no such fault; the sentence lists those there are.

        """
        unknown = set(self.faults) - set(FAULTS) - {"all", "none"}
        if unknown:
            raise ValueError(f"there is no fault {min(unknown)!r}; there are all, none, {', '.join(FAULTS)}")
        allowed = set(FAULTS) if "all" in self.faults else set(self.faults)
        return tuple(name for name in KINDS if name not in FAULTS or name in allowed)


@dataclass(slots=True)
class Found:
    """A failing run. `named` are the peers that the failure names: a reduction begins with them, and a file does without."""

    seed: int
    failure: Failure
    config: Config
    operations: list[Operation]
    named: tuple[int, ...] = ()

    def as_json(self, plan: Plan) -> str:
        """Write it as a file that `replay` reads, on any machine."""
        return json.dumps(
            {
                "format": FORMAT,
                "seed": self.seed,
                "protocol": plan.protocol,
                "world": plan.world,
                "failure": {"kind": self.failure.kind, "sentence": self.failure.sentence},
                "config": self.config.as_dict(),
                "operations": self.operations,
            },
            indent=1,
        )


def read_failure(text: str) -> tuple[Plan, Found]:
    """Read what `as_json` wrote.

    Raises:
        ValueError: it is not such a file; the sentence says what is wrong.

    """
    try:
        data: dict[str, Any] = json.loads(text)
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']!r}, and this version reads {FORMAT}")
        config = Config(**data["config"])
        operations = [tuple(operation) for operation in data["operations"]]
        found = Found(data["seed"], Failure(**data["failure"]), config, operations)
        plan = Plan(data["protocol"], config.poller, world=data["world"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"it is not a recorded failure: {error!r}") from error
    for operation in found.operations:
        if not operation or operation[0] not in KINDS:
            raise ValueError(f"there is no operation {operation!r}")
    return plan, found


@dataclass(slots=True)
class Report:
    """What a range of seeds gave. `digests` has 16 bytes for each seed, in order."""

    first: int
    digests: bytes = b""
    coverage: Coverage = field(default_factory=Coverage)
    found: list[Found] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=lambda: dict.fromkeys(FIGURES, 0))

    @property
    def seeds(self) -> int:
        """How many seeds were run."""
        return len(self.digests) // 16

    @property
    def digest(self) -> str:
        """One fingerprint of everything that happened in all of them."""
        return hashlib.blake2b(self.digests, digest_size=16).hexdigest()

    def count(self, outcome: Outcome) -> None:
        """Take in one run."""
        for name in FIGURES:
            if name == "operations":
                self.figures[name] += len(outcome.operations)
            elif name != "cpu_s":
                self.figures[name] += getattr(outcome, name)

    def add(self, other: Report) -> None:
        """Take in the report of the seeds that follow."""
        self.digests += other.digests
        self.coverage.add(other.coverage)
        self.found += other.found
        for name, value in other.figures.items():
            self.figures[name] += value


class NotRepeatable(AssertionError):
    """The same seed gave two different runs."""


def run_range(plan: Plan, first: int, count: int) -> Report:
    """Run the seeds from `first` on, each twice; give the report. This is what a task of a campaign does."""
    report = Report(first)
    began_s = time.process_time()
    with fewer_collections():
        _run_seeds(plan, report, range(first, first + count))
    report.figures["cpu_s"] = time.process_time() - began_s
    return report


def _run_seeds(plan: Plan, report: Report, seeds: Iterable[int]) -> None:
    make_world, kinds = plan.make_world(), plan.kinds()
    for seed in seeds:
        outcome = run_seed(seed, make_world, poller=plan.poller, kinds=kinds)
        report.count(outcome)
        report.coverage.add(outcome.coverage)
        if plan.twice and outcome.failure is None:
            again = run_seed(seed, make_world, poller=plan.poller, kinds=kinds)
            report.count(again)
            if again.digest != outcome.digest:
                outcome.failure = Failure.of(NotRepeatable(f"seed {seed} gave {outcome.digest}, then {again.digest}"))
        if outcome.failure is not None:
            report.found.append(Found(seed, outcome.failure, outcome.config, outcome.operations, outcome.named))
        report.digests += bytes.fromhex(outcome.digest) if outcome.digest else bytes(16)


def ranges(first: int, count: int, size: int = SEEDS_A_TASK) -> Iterator[tuple[int, int]]:
    """Cut seeds into tasks, of a size that is always the same."""
    for start in range(first, first + count, size):
        yield start, min(size, first + count - start)


def run_campaign(
    plan: Plan,
    seeds: int,
    *,
    first: int = 0,
    executor: Executor | None = None,
    before: Iterable[int] = (),
    progress: Callable[[int], object] = lambda _: None,
) -> Report:
    """Run `seeds` seeds from `first` on; without an executor in this process.

    `before` are seeds that failed earlier: they are tried first, and what fails of them is found too. `progress` is told of every
    task how many seeds it had.
    """
    total = Report(first)
    for seed in before:
        total.found += run_range(plan, seed, 1).found
    tasks = list(ranges(first, seeds))
    parts: dict[int, Report] = {}
    if executor is None:
        for start, count in tasks:
            parts[start] = run_range(plan, start, count)
            progress(count)
    else:
        futures = [executor.submit(run_range, plan, start, count) for start, count in tasks]
        for future in as_completed(futures):
            part = future.result()
            parts[part.first] = part
            progress(part.seeds)
    for start, _ in tasks:
        total.add(parts[start])
    return total


def reduce_found(plan: Plan, found: Found) -> Found:
    """Cut a failing run down to the operations that it needs."""
    outcome = Outcome(found.config, list(found.operations), found.failure, found.named)
    best = reduce(outcome, plan.make_world())
    if best is outcome or best.failure is None:
        return found
    return Found(found.seed, best.failure, best.config, best.operations)


def save(plan: Plan, found: Found, folder: Path) -> Path:
    """Write a failing run to a file of its own; give its path.

    Raises:
        OSError: that is not possible.

    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"seed-{found.seed}-{plan.poller}.json"
    path.write_text(found.as_json(plan) + "\n", encoding="utf-8")
    return path


def repeat(plan: Plan, found: Found) -> Outcome:
    """Run a recorded failure again."""
    return run_script(found.config, found.operations, plan.make_world())


# Seeds that failed, kept for the next time.


class FailedSeeds:
    """A shelf of a Hypothesis example database for the failing seeds of one plan."""

    def __init__(self, database: Any, plan: Plan) -> None:
        """Use `database`, any `hypothesis.database.ExampleDatabase`."""
        self._database = database
        self._key = f"fsmserver.simulate {plan.world or plan.protocol} {plan.poller} {' '.join(plan.faults)}".encode()

    def __iter__(self) -> Iterator[int]:
        """Give the seeds, in order."""
        return iter(sorted(int(value) for value in self._database.fetch(self._key)))

    def update(self, failed: Iterable[int], passed: Iterable[int]) -> None:
        """Keep those that failed, and forget those that pass now."""
        for seed in failed:
            self._database.save(self._key, str(seed).encode())
        for seed in passed:
            self._database.delete(self._key, str(seed).encode())


def open_database(where: str) -> Any:
    """Open a folder, or `redis://HOST:PORT/N` that several machines share, as a Hypothesis example database.

    Raises:
        ImportError: what is needed for it is not installed.

    """
    if where.startswith("redis://"):
        from hypothesis.extra.redis import RedisExampleDatabase  # noqa: PLC0415 - only who asks for it needs it
        from redis import Redis  # noqa: PLC0415 - as above

        return RedisExampleDatabase(Redis.from_url(where))
    from hypothesis.database import DirectoryBasedExampleDatabase  # noqa: PLC0415 - as above

    return DirectoryBasedExampleDatabase(where)
