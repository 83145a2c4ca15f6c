"""`docs/specimens.md`, made of the record of what was found: nothing on the page is written by hand but its sentences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.specimens.catalogue import CATALOGUE
from tests.specimens.finding import MOST_EXAMPLES, MOST_SCRIPTS

Record = dict[str, dict[str, Any]]

RECORD: Final = Path(__file__).with_name("found.json")
PAGE: Final = Path(__file__).parents[2] / "docs" / "specimens.md"
NOTHING: Final = "none"
QUICK_S: Final = 0.1

OPENING: Final = """\
# Specimens

{count} ways in which servers have failed, each planted into this one by a patch of a few lines (`tests/specimens/catalogue.py`), to see
whether the tools find it. Nothing in the tools knows of them: they check what must hold of any server, the
[eight invariants](design.md), and that nothing is raised that nobody has ordered.

```console
$ python -m tests.specimens                                        # this table again, each row by its tools
$ python -m tests.specimens plant "EMFILE spin" explore --small    # any command of fsmserver, with one of them planted
$ python -m tests.specimens record                                 # everything from the beginning; writes this page
```

- **seed**, **drawn**, **needed**: `python -m fsmserver simulate` from seed 0 on: the first seed that fails, the number of operations in
  its run, and how many are left when it is reduced.
- **explorer**, **shortest**: `python -m fsmserver explore --small`: the small search that shows the fault first, in how many operations.
  There are no fewer within its bounds.
- **machine**: the Hypothesis machine `ServerMachine` with an echo and {examples} examples, always the same ones: how many runs it took, and
  {nothing} if they were not enough.

"""

SCRIPTS: Final = """
## The scripts that show them

Of each fault what it is, where it was met, the reduced run of the seed, and the explorer's trace with what was found.

"""

STRANGER: Final = """## A server that knows nothing of us

The faults of the select() tutorial's server, unchanged on the [simulated kernel](drop_in.md): found by one search that was not told
what to look for.

"""

KERNEL: Final = """
## The simulated kernel

A rule of its semantics is taken away, and random scripts are run on it and on the [real kernel](simulated_kernel.md) until they differ:
how many scripts that took, of at most {scripts}, and how many operations are needed to show it.

"""


def read() -> Record:
    """Read the record."""
    record: Record = json.loads(RECORD.read_text(encoding="utf-8"))
    return record


def write(record: Record) -> None:
    """Write the record and the page."""
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(record), encoding="utf-8")


def page(record: Record) -> str:
    """Write the page."""
    specimens, tutorial, kernel = record["specimens"], record["tutorial"], record["kernel"]
    parts = [
        OPENING.format(count=len(specimens), examples=MOST_EXAMPLES, nothing=NOTHING),
        table(("fault", "seed", "drawn", "needed", "explorer", "shortest", "machine"), map(row, specimens, specimens.values())),
        f"\n{summary(specimens)}\n",
        SCRIPTS,
        *(story(name, accounts) for name, accounts in specimens.items()),
        STRANGER,
        table(("fault", "seed", "a shortest script"), map(stranger_row, tutorial, tutorial.values())),
        KERNEL.format(scripts=MOST_SCRIPTS),
        table(("without this rule", "scripts", "needed", "poller"), map(kernel_row, kernel, kernel.values())),
    ]
    return "".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def row(name: str, accounts: dict[str, Any]) -> list[object]:
    """Give the row of a specimen."""
    seeds, explorer, machine = accounts["seeds"], accounts["explorer"], accounts["machine"]
    return [
        name,
        *((seeds["seed"], seeds["drawn"], len(seeds["operations"])) if seeds else (NOTHING,) * 3),
        *((explorer["search"], len(explorer["trace"])) if explorer else (NOTHING,) * 2),
        machine["examples"] if machine else NOTHING,
    ]


def story(name: str, accounts: dict[str, Any]) -> str:
    """Say of a specimen what it is, where it was met, and what shows it."""
    specimen, seeds, explorer = CATALOGUE[name], accounts["seeds"], accounts["explorer"]
    lines = [f"**{name}**: {specimen.about} Met in: {specimen.reported}."]
    if seeds:
        config = ", ".join(f"{key}={value!r}" for key, value in seeds["config"].items())
        lines.append(f"- {code(seeds['operations'])}{f' with `Config({config})`' if config else ''}")
    if explorer:
        lines.append(f"- {code(explorer['trace'])}: {plain(explorer['finding'])}")
    return "\n".join(lines) + "\n\n"


def stranger_row(name: str, account: dict[str, Any]) -> list[object]:
    """Give the row of a fault of the tutorial's."""
    return [name, account["seed"], code(account["operations"]) if account["operations"] else "a peer comes and goes"]


def kernel_row(rule: str, account: dict[str, Any] | None) -> list[object]:
    """Give the row of a rule that was removed."""
    return [rule, *((account["scripts"], account["operations"], account["poller"]) if account else (NOTHING,) * 3)]


def code(operations: Iterable[str]) -> str:
    """Write operations as code."""
    return f"`{' '.join(operations)}`"


def plain(sentence: str) -> str:
    """Write a finding in one line that markdown leaves alone."""
    return f"`{sentence.splitlines()[0].replace('`', '')}`"


def summary(specimens: Record) -> str:
    """Say how quickly it went; the times are CPU seconds of the machine that made the record."""
    accounts = [accounts["seeds"] for accounts in specimens.values() if accounts["seeds"]]
    found, reduced = ([account[name] for account in accounts] for name in ("found_s", "reduced_s"))
    needed = [len(account["operations"]) for account in accounts]
    explored = [accounts["explorer"] for accounts in specimens.values() if accounts["explorer"]]
    return "\n".join(_summary_lines(len(specimens), found, reduced, needed, explored))


def _summary_lines(
    count: int, found: list[float], reduced: list[float], needed: list[int], explored: list[dict[str, Any]]
) -> Iterator[str]:
    quick = sum(seconds <= QUICK_S for seconds in reduced)
    yield f"By seeds: {len(found)} of {count}, after {median(found):.2f} CPU seconds (median; the longest took {max(found):.1f})."
    yield f"Reduced to {median(needed):.0f} operations (median; at most {max(needed)}), in {median(reduced):.3f} CPU seconds (median; the"
    yield f"longest took {max(reduced):.2f}); {quick} of {len(reduced)} within {QUICK_S} s."
    lengths, times = [len(each["trace"]) for each in explored], [each["found_s"] for each in explored]
    yield f"By the explorer: {len(explored)} of {count}, in {median(lengths):.0f} operations (median; at most {max(lengths)}), after"
    yield f"{median(times):.2f} CPU seconds (median; the longest search took {max(times):.1f})."
