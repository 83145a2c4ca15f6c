"""Compare echo servers: server CPU per message, all in one run, in interleaved slices.

    python benchmarks/echo.py [--same-core] [--slices N] [--milliseconds N] [--json FILE] [--servers NAME,NAME]

The load generator (load.c, compiled here) runs in another process on another core than the server. All servers are
alive for the whole run; slices go round robin, every second round backwards, so that a noisy spell hits all alike.
CPU is the server process's own clock (user and system), read at both edges of a slice. The table shows medians of
microseconds per message, the quartiles, and the ratio of the medians to uvloop's.

On a machine that is busy with other work, `--same-core` is steadier: server and load generator share one core, and the
figure is the server's CPU over the load generator's, so that what slows the core down slows both.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WORKLOADS = {"100 x 64 B": (100, 64), "1,000 x 1 KiB": (1000, 1024), "10 x 64 KiB": (10, 65536)}
SERVER_CORE, LOAD_CORE = 0, 1
REFERENCE = "uvloop Protocol"


def pin(core: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


def cpu_s(pid: int) -> float:
    """Read the CPU clock of another process: clock_getcpuclockid(3), which Python does not wrap."""
    return time.clock_gettime((~pid << 3) | 2)


def start(name: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, str(HERE / "servers.py"), name], stdout=subprocess.PIPE, text=True, preexec_fn=lambda: pin(SERVER_CORE)
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def one_slice(load: str, pid: int, port: int, workload: tuple[int, int], milliseconds: int, *, same_core: bool) -> float:
    command = [load, str(port), str(workload[0]), str(workload[1]), str(milliseconds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    core = SERVER_CORE if same_core else LOAD_CORE
    with subprocess.Popen(command, text=True, preexec_fn=lambda: pin(core), **pipes) as process:  # type: ignore[call-overload]
        if process.stdout.readline() != "ready\n":
            raise SystemExit("the load generator failed; its own words are above")
        before_s, before_load_s = cpu_s(pid), cpu_s(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        messages = process.stdout.readline()
        used_s, used_load_s = cpu_s(pid) - before_s, cpu_s(process.pid) - before_load_s
        if not messages:
            raise SystemExit("the load generator failed; its own words are above")
        process.communicate("\n")
    return used_s / used_load_s if same_core else used_s * 1e6 / int(messages)


def measure(load: str, names: list[str], slices: int, milliseconds: int, *, same_core: bool) -> dict[str, dict[str, list[float]]]:
    running = {name: start(name) for name in names}
    figures: dict[str, dict[str, list[float]]] = {workload: {name: [] for name in names} for workload in WORKLOADS}
    try:
        for workload, shape in WORKLOADS.items():
            for turn in range(slices + 1):
                for name in names if turn % 2 else reversed(names):
                    process, port = running[name]
                    cost = one_slice(load, process.pid, port, shape, milliseconds, same_core=same_core)
                    if turn:  # the first warms up
                        figures[workload][name].append(cost)
    finally:
        for process, _ in running.values():
            process.kill()
            process.wait()
    return figures


def show(figures: dict[str, dict[str, list[float]]], *, same_core: bool) -> None:
    what = "server CPU / client CPU, one core" if same_core else "server CPU per message, µs"
    for workload, costs in figures.items():
        reference = statistics.median(costs[REFERENCE]) if REFERENCE in costs else None
        print(f"\n{f'{workload}: {what}':<46}{'median':>8}{'quartiles':>18}{'x uvloop':>10}")
        for name, values in sorted(costs.items(), key=lambda item: statistics.median(item[1])):
            low, median, high = statistics.quantiles(values, n=4, method="inclusive")
            ratio = f"{median / reference:10.2f}" if reference else ""
            print(f"  {name:<44}{median:8.2f}{f'{low:.2f} to {high:.2f}':>18}{ratio}")


def versions() -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, Any] = {"python": platform.python_version(), "system": f"{platform.system()} {platform.release()}"}
    for package in ("fsmserver", "uvloop"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def main() -> None:
    from servers import SERVERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=9)
    parser.add_argument("--milliseconds", type=int, default=700)
    parser.add_argument("--same-core", action="store_true", help="server and load generator share a core; compare their CPU")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--servers", default=",".join(SERVERS))
    options = parser.parse_args()
    names = options.servers.split(",")
    if unknown := sorted(set(names) - set(SERVERS)):
        parser.error(f"there is no server {unknown[0]!r}; there are {', '.join(SERVERS)}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    about = versions()
    print(", ".join(f"{what} {which}" for what, which in about.items()))
    with tempfile.TemporaryDirectory() as folder:
        load = str(Path(folder) / "load")
        subprocess.run(["cc", "-O2", "-o", load, str(HERE / "load.c")], check=True)
        figures = measure(load, names, options.slices, options.milliseconds, same_core=options.same_core)
    show(figures, same_core=options.same_core)
    if options.json:
        what = "server_per_client_cpu" if options.same_core else "us_per_message"
        options.json.write_text(json.dumps({"versions": about, what: figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
