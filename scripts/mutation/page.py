"""The record of the last run of each file, the explanations of survivors, and the page that is made of both."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from scripts.mutation.judging import ROOT, SURVIVED, TOO_LONG
from scripts.mutation.mutants import Mutant

RECORD: Final = Path(__file__).with_name("record.json")
EXPLAINED: Final = Path(__file__).with_name("explained.toml")
PAGE: Final = ROOT / "docs/mutation.md"
CORE: Final = "src/fsmserver/core/"
CORE_BOUND_PERCENT: Final = 95.0
RUNTIME_BOUND_PERCENT: Final = 90.0


def read_record() -> dict[str, dict[str, Any]]:
    """Give, for each file, `mutants`, `too_long` (both counts) and `survived` (a list of keys)."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def read_groups() -> list[dict[str, Any]]:
    """Give the explanations: `file` and `function`, `why`, and `mutants`, what each line becomes."""
    return list(tomllib.loads(EXPLAINED.read_text()).get("because", [])) if EXPLAINED.exists() else []


def explanations() -> dict[tuple[str, str], str]:
    """Give why each explained mutant changes nothing, by file and key."""
    return {
        (f"src/fsmserver/{group['file']}", f"{group['function']}: {change}"): group["why"]
        for group in read_groups()
        for change in group["mutants"]
    }


def write_record(made: Sequence[Mutant], verdicts: Mapping[tuple[str, str], str]) -> None:
    """Bring the record up to date with what was judged: the rest stays as it was, where it still exists."""
    record = read_record()
    for file in dict.fromkeys(mutant.file for mutant in made):
        keys = [mutant.key for mutant in made if mutant.file == file]
        former = record.get(file, {"survived": [], "too_long": []})
        now = {key: verdicts.get((file, key)) for key in keys}
        record[file] = {
            "mutants": len(keys),
            "too_long": [key for key in keys if now[key] == TOO_LONG or (now[key] is None and key in former["too_long"])],
            "survived": [key for key in keys if now[key] == SURVIVED or (now[key] is None and key in former["survived"])],
        }
    RECORD.write_text(json.dumps(dict(sorted(record.items())), indent=1) + "\n")


def findings() -> list[str]:
    """List what is wrong: survivors without a reason, reasons without a survivor, bounds that are missed."""
    record, reasons = read_record(), explanations()
    survivors = {(file, key) for file, said in record.items() for key in said["survived"]}
    found = [f"unexplained: {file}: {key}" for file, key in sorted(survivors - reasons.keys())]
    found += [f"explained, but it does not survive: {file}: {key}" for file, key in sorted(reasons.keys() - survivors) if file in record]
    for name, bound_percent, files in bounds(record):
        if files and (score := score_percent([record[file] for file in files])) < bound_percent:
            found.append(f"{name}: {score:.1f} % of the mutants are killed, {bound_percent:.0f} % are asked for")
    return found


def bounds(record: Mapping[str, Any]) -> list[tuple[str, float, list[str]]]:
    """List what has to reach which score: the core as a whole, and each file of the loop."""
    core = [file for file in record if file.startswith(CORE)]
    rest = [(file.removeprefix("src/fsmserver/"), RUNTIME_BOUND_PERCENT, [file]) for file in record if not file.startswith(CORE)]
    return [("core", CORE_BOUND_PERCENT, core), *rest]


def score_percent(said: Sequence[Mapping[str, Any]]) -> float:
    """Give how many of the mutants of some files were killed."""
    count = sum(each["mutants"] for each in said)
    return 100.0 * (count - sum(len(each["survived"]) for each in said)) / count if count else 100.0


def write_page() -> None:
    """Write docs/mutation.md."""
    record = read_record()
    groups = sorted(read_groups(), key=lambda group: (group["file"], group["function"]))
    PAGE.write_text("\n".join([HEAD, *_scores(record), BETWEEN, *_reasons(groups, record)]) + "\n")


def _scores(record: Mapping[str, Any]) -> list[str]:
    lines = ["| file | mutants | killed | of them by running too long | survived | score |", "|---|--:|--:|--:|--:|--:|"]
    lines += [_row(f"`{file.removeprefix('src/fsmserver/')}`", [said]) for file, said in record.items()]
    core = [said for file, said in record.items() if file.startswith(CORE)]
    return [*lines, _row("**`core/`**", core), _row("**all**", list(record.values()))]


def _row(name: str, said: Sequence[Mapping[str, Any]]) -> str:
    count, survived, too_long = (
        sum(counts) for counts in ([_count(each[key]) for each in said] for key in ("mutants", "survived", "too_long"))
    )
    return f"| {name} | {count:,} | {count - survived:,} | {too_long:,} | {survived:,} | {score_percent(said):.1f} % |"


def _count(said: int | Sequence[str]) -> int:
    return said if isinstance(said, int) else len(said)


def _reasons(groups: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> list[str]:
    lines = []
    for file in record:
        short = file.removeprefix("src/fsmserver/")
        here = [group for group in groups if group["file"] == short]
        if here:
            lines += ["", f"### `{short}`", ""]
        for group in here:
            lines += [f"- `{group['function']}`: {group['why']}", *(f"  - ``{change}``" for change in group["mutants"])]
    return lines


HEAD: Final = """# Do the tests notice? Mutation testing

<!-- written by `python -m scripts.mutation`: change that, or `scripts/mutation/explained.toml`, and not this page -->

A test that cannot fail proves nothing. So each expression in each function of the core and of the loop is changed, one at a
time, and for each change the tests must fail:

```sh
.venv/bin/python -m scripts.mutation                          # everything
.venv/bin/python -m scripts.mutation --only core/outbox.py    # one file
```

The changes are those of [mutmut](https://mutmut.readthedocs.io): another comparison, another operator, another number or
string, a value that is `None`, an argument less, a condition turned round. The runner is ours (`scripts/mutation/`): it
changes properties too, and a function's code is exchanged where it stands, in a fork of a process that has imported and
collected everything, so most mutants take a fraction of a second. What runs while modules are imported is imported
anew. The tests are those in `tests/core` and `tests/runtime`, and `tests/properties/test_short_way.py`; no others may help.
Of these only such are asked as reach the changed lines, and the slowest two files only about what they are for. A mutant that
has a test run ten times as long as it should, or takes gigabytes, counts as killed.

The facts of the tables are not in functions. They are changed by `python -m specs.mutants`, where no survivor may be
explained away: 1,384 of 1,384 are killed. Left out are annotations, decorators, docstrings, what assertions would say, and the
arguments of `len` and `isinstance`.

The command fails if the score is below 95 % in `core/`, or below 90 % in a file of `runtime/`; if a survivor has no
explanation below; and if an explanation has no survivor any more.
"""

BETWEEN: Final = """
## Every survivor

What is left changes nothing that can be seen from outside, or nothing that is promised. One line each says why."""
