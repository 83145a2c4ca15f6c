"""What connections cost that do nothing: resident memory each, and what they add to the cost of those that are active."""

from collections.abc import Iterable
from pathlib import Path

from benchmarks.slices import Measured, Timing, loading, measure, serving
from benchmarks.workloads import CROWD, WORKLOADS, Workload, takes_part

ACTIVE = 10
CROWDS = (10, 100, 1_000, 10_000)
"""So many connections in all, ten of them active."""

ALL_ACTIVE = (1, 10, 100, 1_000, 10_000)


def resident_bytes(pid: int) -> int:
    """Read what of a process is in memory."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the system does not say how much memory is resident")


def bytes_per_idle_connection(names: Iterable[str], paths: dict[str, str]) -> dict[str, float]:
    """Connect a hundred, then the crowd, each of which echoes one message: the difference, a connection."""
    found = {}
    for name in names:
        if not takes_part(name, "g"):
            continue
        with serving([name], paths) as servers:
            pid, port = servers[name]
            with loading(port, WORKLOADS["b"], paths, name):
                before_bytes = resident_bytes(pid)
                with loading(port, Workload("", connections=1, idle=CROWD - 1), paths, name):
                    found[name] = (resident_bytes(pid) - before_bytes) / CROWD
    return found


def by_crowd(
    names: list[str],
    servers: dict[str, tuple[int, int]],
    crowds: Iterable[int],
    timing: Timing,
    paths: dict[str, str],
    *,
    active: int | None,
) -> dict[int, Measured]:
    """Measure 64 B messages among so many connections: `active` of them send, or (None) all."""
    found = {}
    for crowd in crowds:
        sending = active or crowd
        workload = Workload(f"{crowd} connections, {sending} active", connections=sending, idle=crowd - sending)
        found[crowd] = measure([name for name in names if takes_part(name, "g")], servers, workload, timing, paths)
    return found
