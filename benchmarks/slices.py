"""Slices: a server is given load for a short while, and clocks are read at both edges.

All servers are alive, each with a load generator connected to it, and sleep but for the one whose turn it is. Slices go
round robin, every second round backwards, so that a noisy spell hits all alike. CPU is the process's own clock (user and
system), read when nothing is under way. A slice is made on one core, where server and load generator alternate and what
slows the core down slows both; or on two, for throughput and latency.
"""

import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, Self

from benchmarks.figures import Spread, ratios, spread
from benchmarks.servers import FLOOR, command
from benchmarks.workloads import Workload

SERVER_CORE, LOAD_CORE = 0, 1


def pin(core: int, pid: int = 0) -> None:
    """Hold a process (0: this one) on one of the cores that there are."""
    cores = sorted(ALL_CORES)
    os.sched_setaffinity(pid, {cores[core % len(cores)]})


ALL_CORES = os.sched_getaffinity(0)


def cpu_s(pid: int) -> float:
    """Read the CPU clock of another process: clock_getcpuclockid(3), which Python does not wrap."""
    return time.clock_gettime((~pid << 3) | 2)


def user_and_system_s(pid: int) -> tuple[float, float]:
    """Read how much of that was spent in the program and in the kernel; in ticks of 10 ms, so over seconds only."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        after_name = file.read().rpartition(") ")[2].split()
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    return int(after_name[11]) * tick_s, int(after_name[12]) * tick_s


class Slice(NamedTuple):
    """What one slice showed."""

    server_s: float
    load_s: float
    messages: int
    elapsed_s: float
    flood_bytes: int = 0
    latencies: dict[int, int] = {}  # noqa: RUF012 - never changed

    @property
    def relative(self) -> float:
        """The server's CPU over the load generator's."""
        return self.server_s / self.load_s

    @property
    def us(self) -> float:
        """The server's CPU a message, in µs."""
        return self.server_s / self.messages * 1e6

    @property
    def per_second(self) -> float:
        """Messages a second."""
        return self.messages / self.elapsed_s


KEPT_AS_IT_IS: Mapping[str, str] = {}
SETTLED_HEAP: Mapping[str, str] = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}
"""asyncio receives into 256 KiB. glibc maps those anew for each message, at two page faults and three system calls, until a buffer
of that size is freed whole, which some runs come to and others do not: 50 or 15 µs a message. With these thresholds the
cheaper state is there from the start, for all servers alike. They are not for measuring memory."""


class Process:
    """A program that is ended at the end of its block, and whose words are read line by line."""

    def __init__(self, words: list[str], core: int, name: str, environment: Mapping[str, str] = KEPT_AS_IT_IS) -> None:
        """Start it on `core`; `name` is what it is called when it fails, `environment` is added to this process's."""
        self._name = name
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            preexec_fn=lambda: pin(core),
            env=os.environ | environment,
        )
        self.pid = self._process.pid

    def read_line(self) -> str:
        """Read a line; a program that ended instead ends the suite."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._name} ended; its own words are above")
        return line

    def write_line(self, line: str) -> None:
        """Write a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def serving(
    names: Iterable[str], paths: dict[str, str], environment: Mapping[str, str] = KEPT_AS_IT_IS
) -> Iterator[dict[str, tuple[int, int]]]:
    """Run servers; gives the process and the port of each."""
    with ExitStack() as stack:
        running = {name: stack.enter_context(Process(command(name, paths), SERVER_CORE, name, environment)) for name in names}
        yield {name: (process.pid, int(process.read_line())) for name, process in running.items()}


@contextmanager
def loading(port: int, workload: Workload, paths: dict[str, str], name: str) -> Iterator[Process]:
    """Connect a load generator to the server of that name."""
    with Process([paths["load"], str(port), *workload.arguments], LOAD_CORE, f"the load generator of {name}") as load:
        load.read_line()
        yield load


def one_slice(pid: int, load: Process, milliseconds: int, *, same_core: bool, latencies: bool = False) -> Slice:
    """Give a server load for a while."""
    pin(SERVER_CORE if same_core else LOAD_CORE, load.pid)
    before_s, before_load_s = cpu_s(pid), cpu_s(load.pid)
    load.write_line(f"{milliseconds} {int(latencies)}")
    messages, elapsed_ns, flood_bytes, *buckets = load.read_line().split()
    used_s, used_load_s = cpu_s(pid) - before_s, cpu_s(load.pid) - before_load_s
    found = {int(bucket): int(count) for bucket, count in (each.split(":") for each in buckets)}
    return Slice(used_s, used_load_s, int(messages), int(elapsed_ns) / 1e9, int(flood_bytes), found)


class Timing(NamedTuple):
    """How many slices, and how long."""

    same_core: int
    two_cores: int
    milliseconds: int


class Measured:
    """All slices of one workload, by server."""

    def __init__(self, names: Iterable[str]) -> None:
        """Begin with none."""
        self.same_core: dict[str, list[Slice]] = {name: [] for name in names}
        self.two_cores: dict[str, list[Slice]] = {name: [] for name in names}
        self.user_share: dict[str, float] = {}

    def times_floor(self, name: str, floor: str = FLOOR) -> Spread:
        """Give how many times the C loop's (or another's) CPU it takes: on one core, relative to the load generator's."""
        return ratios((one.relative for one in self.same_core[name]), (one.relative for one in self.same_core[floor]))

    def us(self, name: str) -> Spread:
        """Give server CPU a message on one core, in µs."""
        return spread(one.us for one in self.same_core[name])

    def us_two_cores(self, name: str) -> Spread:
        """Give server CPU a message when the load comes from another core, in µs."""
        return spread(one.us for one in self.two_cores[name])

    def per_second(self, name: str) -> Spread:
        """Give messages a second on two cores."""
        return spread(one.per_second for one in self.two_cores[name])

    def data(self) -> dict[str, Any]:
        """Give all slices as plain data."""
        kept = {
            what: {name: list(map(tuple, slices)) for name, slices in getattr(self, what).items()} for what in ("same_core", "two_cores")
        }
        return {**kept, "user_share": self.user_share}

    @classmethod
    def of(cls, data: dict[str, Any]) -> "Measured":
        """Take back what `data` gave, through JSON."""
        found = cls(())
        for what in ("same_core", "two_cores"):
            for name, slices in data[what].items():
                read = [Slice(*values) for values in slices]
                buckets = [{int(bucket): count for bucket, count in one.latencies.items()} for one in read]
                getattr(found, what)[name] = [one._replace(latencies=each) for one, each in zip(read, buckets, strict=True)]
        found.user_share = data["user_share"]
        return found


def measure(names: list[str], servers: dict[str, tuple[int, int]], workload: Workload, timing: Timing, paths: dict[str, str]) -> Measured:
    """Measure one workload: a round that only warms up, then those on one core, then those on two."""
    found = Measured(names)
    with ExitStack() as stack:
        loads = {name: stack.enter_context(loading(servers[name][1], workload, paths, name)) for name in names}
        before = {name: user_and_system_s(servers[name][0]) for name in names}
        for turn in range(1 + timing.same_core + timing.two_cores):
            same_core = turn <= timing.same_core
            for name in names if turn % 2 else reversed(names):
                latencies = not same_core and workload.outstanding == 1
                one = one_slice(servers[name][0], loads[name], timing.milliseconds, same_core=same_core, latencies=latencies)
                if turn:
                    (found.same_core if same_core else found.two_cores)[name].append(one)
        for name in names:
            user_s, system_s = (now - then for now, then in zip(user_and_system_s(servers[name][0]), before[name], strict=True))
            found.user_share[name] = user_s / (user_s + system_s or 1)
    return found
