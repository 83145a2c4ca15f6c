"""The pictures of the docs, from the same figures as the tables."""

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "fsmserver"  # the same figures give the same file
mpl.rcParams["font.size"] = 9
mpl.rcParams["axes.spines.top"] = mpl.rcParams["axes.spines.right"] = False

from matplotlib import pyplot as plt  # noqa: E402 - after its settings

from benchmarks.figures import BUCKET_RATIO  # noqa: E402
from benchmarks.report import Results, latency_histogram  # noqa: E402
from benchmarks.servers import COMPILED, FLOOR, OURS  # noqa: E402
from benchmarks.slices import Measured  # noqa: E402
from benchmarks.workloads import WORKLOADS  # noqa: E402

RED, DARK_RED, BLACK = "#d62728", "#7a0019", "#222222"
OTHERS = [each for each in map(mpl.colors.to_hex, mpl.colormaps["tab20"].colors) if each != RED]  # type: ignore[attr-defined]
COST_LETTERS = "abcdefg"
LATENCY_LETTERS = "abh"
CLIP = 6.0


def color(name: str, position: int) -> str:
    """Give each build of ours one that stands out, and the floor black."""
    return {OURS: RED, COMPILED: DARK_RED, FLOOR: BLACK}.get(name, OTHERS[position % len(OTHERS)])


def costs(workloads: dict[str, Measured], path: Path) -> None:
    """Draw what a message costs, as a multiple of the C loop's, by workload and server."""
    letters = [letter for letter in COST_LETTERS if letter in workloads and any(workloads[letter].same_core.values())]
    figure, panels = plt.subplots(1, len(letters), figsize=(2.1 * len(letters) + 1.5, 4.2), sharey=True, squeeze=False)
    names = [name for name, slices in workloads[letters[0]].same_core.items() if slices]
    for panel, letter in zip(panels[0], letters, strict=True):
        found = workloads[letter]
        for place, name in enumerate(reversed(names)):
            if not found.same_core.get(name):
                panel.text(0.1, place, "not run", va="center", fontsize=7)
                continue
            ratio = found.times_floor(name)
            panel.barh(place, min(ratio.median, CLIP), color=color(name, names.index(name)))
            panel.errorbar(
                min(ratio.median, CLIP),
                place,
                xerr=[[ratio.median - ratio.low], [ratio.high - ratio.median]],
                color="#555555",
                capsize=2,
                lw=0.8,
            ) if ratio.high < CLIP else None
            panel.text(min(ratio.median, CLIP) + 0.12, place + 0.28, f"{ratio.median:.2f}", va="center", fontsize=7)
        panel.axvline(1, color=BLACK, lw=0.6)
        panel.set(title=f"{letter}: {WORKLOADS[letter].words.replace(', ', chr(10))}", xlim=(0, CLIP + 1), yticks=range(len(names)))
        panel.title.set_fontsize(8)
        panel.set_yticklabels(list(reversed(names)))
    figure.suptitle("Server CPU a message (a connection in f), times the C loop's; bars end at 6", fontsize=10)
    save(path)


def growth(crowds: dict[str, dict[int, Measured]], path: Path) -> None:
    """Draw what a message costs against the connections."""
    figure, panels = plt.subplots(1, len(crowds), figsize=(5 * len(crowds), 4), squeeze=False)
    for panel, (what, by_crowd) in zip(panels[0], crowds.items(), strict=True):
        numbers = sorted(by_crowd)
        names = [name for name, slices in by_crowd[numbers[0]].same_core.items() if slices]
        for position, name in enumerate(names):
            values = [by_crowd[crowd].us(name).median for crowd in numbers]
            panel.plot(numbers, values, "o-", ms=3, lw=2.2 if name in {OURS, COMPILED} else 1, color=color(name, position), label=name)
        panel.set(xscale="log", yscale="log", title=what, xlabel="connections", ylabel="server CPU a message, µs")
        for axis in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
            axis("{x:.0f}")
    panels[0][-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle("Cost against connections: 64 B, one core", fontsize=10)
    save(path)


def distributions(workloads: dict[str, Measured], path: Path) -> None:
    """Draw how many messages take longer than so many µs."""
    letters = [letter for letter in LATENCY_LETTERS if letter in workloads and any(workloads[letter].two_cores.values())]
    figure, panels = plt.subplots(1, len(letters), figsize=(4.2 * len(letters) + 1, 4), squeeze=False)
    for panel, letter in zip(panels[0], letters, strict=True):
        for position, name in enumerate(workloads[letter].two_cores):
            histogram = latency_histogram(workloads[letter], name)
            total, left = sum(histogram.values()), sum(histogram.values())
            edges, shares = [], []
            for bucket in sorted(histogram):
                left -= histogram[bucket]
                edges.append(BUCKET_RATIO ** (bucket + 1))
                shares.append(max(left / total, 1e-5))
            panel.plot(edges, shares, lw=2.2 if name in {OURS, COMPILED} else 1, color=color(name, position), label=name)
        panel.set(xscale="log", yscale="log", ylim=(1e-4, 1), title=f"{letter}: {WORKLOADS[letter].words}", xlabel="latency, µs")
        panel.set_ylabel("share of messages that take longer")
    panels[0][-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle("Latency, client and server on two cores", fontsize=10)
    save(path)


def save(path: Path) -> None:
    """Write the picture."""
    plt.tight_layout()
    plt.savefig(path, metadata={"Date": None})
    plt.close()


def everything(results: Results, folder: Path) -> list[Path]:
    """Draw what there are figures for; gives the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    if any(letter in results.workloads and any(results.workloads[letter].same_core.values()) for letter in COST_LETTERS):
        drawn.append(folder / "costs.svg")
        costs(results.workloads, drawn[-1])
    crowds = {"ten active": results.idle, "all active": results.active}
    crowds = {what: by_crowd for what, by_crowd in crowds.items() if by_crowd}
    if crowds:
        drawn.append(folder / "connections.svg")
        growth(crowds, drawn[-1])
    if any(letter in results.workloads and any(results.workloads[letter].two_cores.values()) for letter in LATENCY_LETTERS):
        drawn.append(folder / "latencies.svg")
        distributions(results.workloads, drawn[-1])
    return drawn
