"""The tables, as Markdown: what is printed is what stands in the docs."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.figures import Spread, added, percentile_us, spread
from benchmarks.servers import COMPILED, COMPILED_TRACED, FLOOR, OURS, TRACED
from benchmarks.slices import Measured
from benchmarks.workloads import CROWD, WORKLOADS

UVLOOP = "uvloop Protocol"
RAW = "raw epoll"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


class Results:
    """All that one run measured."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.versions: dict[str, str] = {}
        self.workloads: dict[str, Measured] = {}
        self.idle: dict[int, Measured] = {}
        self.active: dict[int, Measured] = {}
        self.memory_bytes: dict[str, float] = {}
        self.import_ms: Spread | None = None
        self.listening_ms: Spread | None = None
        self.bare_listening_ms: Spread | None = None

    def data(self) -> dict[str, Any]:
        """Give all as plain data."""
        measured = {what: {str(key): one.data() for key, one in getattr(self, what).items()} for what in ("workloads", "idle", "active")}
        return {
            "versions": self.versions,
            **measured,
            "memory_bytes": self.memory_bytes,
            "import_ms": self.import_ms,
            "listening_ms": self.listening_ms,
            "bare_listening_ms": self.bare_listening_ms,
        }

    @classmethod
    def of(cls, data: dict[str, Any]) -> "Results":
        """Take back what `data` gave, through JSON."""
        found = cls()
        found.versions, found.memory_bytes = data["versions"], data["memory_bytes"]
        found.workloads = {letter: Measured.of(one) for letter, one in data["workloads"].items()}
        found.idle = {int(crowd): Measured.of(one) for crowd, one in data["idle"].items()}
        found.active = {int(crowd): Measured.of(one) for crowd, one in data["active"].items()}
        found.import_ms = Spread(*data["import_ms"]) if data["import_ms"] else None
        found.listening_ms = Spread(*data["listening_ms"]) if data["listening_ms"] else None
        found.bare_listening_ms = Spread(*data["bare_listening_ms"]) if data.get("bare_listening_ms") else None
        return found


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table whose columns line up; all but the first are figures, and stand to the right."""
    rows = [head, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) if not column else '-' * (width + 1) + ':' for column, width in enumerate(widths))}|"
    return "\n".join([line(rows[0]), rule, *map(line, rows[1:])])


def versions(results: Results) -> str:
    """Say what was measured with."""
    return ", ".join(f"{what} {which}" for what, which in results.versions.items()) + "."


def cost(letter: str, found: Measured) -> str:
    """Write the table of one workload's CPU, the cheapest first."""
    each = "connection" if WORKLOADS[letter].churn else "message"
    names = [name for name, slices in found.same_core.items() if slices]
    head = ["server", "x C loop", "quartiles", *(["x uvloop"] if UVLOOP in names else []), f"µs a {each}", "on two cores"]
    rows = []
    for name in sorted(names, key=lambda name: found.times_floor(name).median):
        ratio = found.times_floor(name)
        uvloop = [f"{found.times_floor(name, UVLOOP).median:.2f}"] if UVLOOP in names else []
        two = f"{found.us_two_cores(name).median:.2f}" if found.two_cores[name] else ""
        rows.append([name, f"{ratio.median:.2f}", f"{ratio.low:.2f} to {ratio.high:.2f}", *uvloop, f"{found.us(name).median:.2f}", two])
    slices = len(found.same_core[names[0]])
    return f"**{letter}: {WORKLOADS[letter].words}**: server CPU a {each}, {slices} slices\n\n{table(head, rows)}"


def latencies(letter: str, found: Measured) -> str:
    """Write the table of one workload's latencies and throughput, on two cores."""
    rows = []
    for name, slices in found.two_cores.items():
        if not slices or not slices[0].latencies:
            continue
        each = [{what: percentile_us(one.latencies, share) for what, share in SHARES.items()} for one in slices]
        middle = {what: spread(one[what] for one in each) for what in SHARES}
        flood = spread(one.flood_bytes / one.elapsed_s / 1e6 for one in slices).median
        rows.append((middle["p99"].median, [name, *(f"{middle[what].median:,.0f}" for what in SHARES), *_rates(found, name, flood)]))
    if not rows:
        return ""
    head = ["server", *(f"{what}, µs" for what in SHARES), "a second", *(["firehose, MB/s"] if WORKLOADS[letter].firehose else [])]
    ordered = [row[: len(head)] for _, row in sorted(rows, key=lambda row: row[0])]
    return f"**{letter}: {WORKLOADS[letter].words}**: latency and throughput on two cores\n\n{table(head, ordered)}"


def _rates(found: Measured, name: str, flood: float) -> list[str]:
    return [f"{found.per_second(name).median:,.0f}", f"{flood:,.0f}"]


def made_of(found: Measured) -> str:
    """Say what the cost of a message in b is made of: by comparing with those who do less."""
    floor, raw, ours = (found.us(name).median for name in (FLOOR, RAW, OURS))
    times_raw, times_ours = (found.times_floor(name).median for name in (RAW, OURS))
    rows = [
        ["kernel, and 90 instructions of C: the C loop", "1.00", f"{floor:.2f}"],
        ["interpreter: what a bare loop in Python adds", f"{times_raw - 1:+.2f}", f"{raw - floor:+.2f}"],
        ["fsmserver: what the server adds to that", f"{times_ours - times_raw:+.2f}", f"{ours - raw:+.2f}"],
    ]
    measured = [FLOOR, RAW, OURS]
    if found.same_core.get(COMPILED):
        measured.append(COMPILED)
        times, us = found.times_floor(COMPILED).median, found.us(COMPILED).median
        rows.append(["or fsmserver compiled: what that adds to the C loop", f"{times - 1:+.2f}", f"{us - floor:+.2f}"])
    shares = ", ".join(f"{name} {1 - found.user_share[name]:.0%}" for name in measured)
    return f"**What a message in b is made of** (share of the CPU in the kernel: {shares})\n\n{table(['part', 'x C loop', 'µs'], rows)}"


def growth(crowds: dict[int, Measured], what: str) -> str:
    """Write the table of the cost against connections."""
    numbers = sorted(crowds)
    names = [name for name, slices in crowds[numbers[0]].same_core.items() if slices]

    def relative(name: str, crowd: int) -> float:
        return spread(one.relative for one in crowds[crowd].same_core[name]).median

    rows = [
        [
            name,
            *(f"{crowds[crowd].us(name).median:.2f}" for crowd in numbers),
            f"{crowds[numbers[-1]].us(name).median / crowds[numbers[0]].us(name).median - 1:+.0%}",
            f"{relative(name, numbers[-1]) / relative(name, numbers[0]) - 1:+.0%}",
        ]
        for name in names
    ]
    head = ["server", *(f"{crowd:,}" for crowd in numbers), "first to last", "relative to the client"]
    return f"**Cost against connections, {what}**: server CPU a message of 64 B on one core, µs\n\n{table(head, rows)}"


def memory(results: Results) -> str:
    """Write the table of memory."""
    rows = [[name, f"{size:,.0f}"] for name, size in sorted(results.memory_bytes.items(), key=lambda item: item[1])]
    return f"**Memory**: resident bytes an idle connection, of {CROWD:,} that echoed one message each\n\n" + table(
        ["server", "bytes"], rows
    )


def start(results: Results) -> str:
    """Write the table of starting."""
    assert results.import_ms is not None
    assert results.listening_ms is not None
    rows = [
        ["`import fsmserver`, CPU over a bare interpreter's", results.import_ms.text(1)],
        ["`python -m fsmserver serve --listen ...`, from start to listening", results.listening_ms.text(0)],
    ]
    if results.bare_listening_ms is not None:
        rows.append(["`python -m fsmserver`, from start to listening", results.bare_listening_ms.text(0)])
    return "**Starting**\n\n" + table(["what", "ms: median (quartiles)"], rows)


def trace(found: Measured) -> str:
    """Say what the trace costs."""
    text = f"The trace costs {found.times_floor(TRACED, OURS).median - 1:+.0%} of server CPU in b"
    if found.same_core.get(COMPILED_TRACED):
        text += f", and {found.times_floor(COMPILED_TRACED, COMPILED).median - 1:+.0%} of the compiled build's"
    return f"{text}."


def everything(results: Results) -> Iterable[str]:
    """Give one table after the other."""
    yield versions(results)
    for letter, found in results.workloads.items():
        if any(found.same_core.values()):
            yield cost(letter, found)
        if text := latencies(letter, found):
            yield text
    ways: list[tuple[bool, Callable[[], str]]] = [
        (
            bool(results.workloads.get("b")) and set(results.workloads["b"].same_core) >= {FLOOR, RAW, OURS},
            lambda: made_of(results.workloads["b"]),
        ),
        (bool(results.workloads.get("i")) and TRACED in results.workloads["i"].same_core, lambda: trace(results.workloads["i"])),
        (bool(results.idle), lambda: growth(results.idle, "ten active")),
        (bool(results.active), lambda: growth(results.active, "all active")),
        (bool(results.memory_bytes), lambda: memory(results)),
        (results.import_ms is not None, lambda: start(results)),
    ]
    for known, write in ways:
        if known:
            yield write()


def between_marks(page: str, tables: str) -> str:
    """Put the tables where a page has its marks, in the place of those that were there."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{begin}\n\n{tables}\n\n{end}{after}"


def latency_histogram(found: Measured, name: str) -> dict[int, int]:
    """Give the latencies of all slices of a server."""
    return added(one.latencies for one in found.two_cores[name])
