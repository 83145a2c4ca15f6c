"""`docs/specimens.md`, made of the record of what was found: nothing on the page is written by hand but its sentences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
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
  There are no fewer within its bounds. Where the sentence counts states, the finished graph was asked, and the operations lead to the first
  state from which everybody may leave and something is left, or in which the loop spins.
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
    seeds, explorer = ([accounts[tool] for accounts in specimens.values() if accounts[tool]] for tool in ("seeds", "explorer"))
    quick = sum(account["reduced_s"] <= QUICK_S for account in seeds)
    needed, shortest = ([len(each[what]) for each in found] for found, what in ((seeds, "operations"), (explorer, "trace")))
    return f"""\
By seeds: {len(seeds)} of {len(specimens)}, after {spread([account["found_s"] for account in seeds])} CPU seconds; reduced to
{spread(needed)} operations in {spread([account["reduced_s"] for account in seeds])} CPU seconds,
{quick} of {len(seeds)} within {QUICK_S} s. By the explorer: {len(explorer)} of {len(specimens)}, in
{spread(shortest)} operations, after {spread([account["found_s"] for account in explorer])} CPU seconds."""


def spread(values: Sequence[float]) -> str:
    """Say the median and the largest: `a median of 4 (at most 11)`."""
    return f"a median of {median(values):.3g} (at most {max(values):.3g})" if values else NOTHING
