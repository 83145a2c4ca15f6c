"""The page on the simulated kernel: its example runs, and it says what the parity tests say."""

import errno
import re
from pathlib import Path

import tests.parity
from fsmserver.testing.faults import Delay, Fail, Fault, Short
from tests.parity.removed import REMOVED

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "simulated_kernel.md").read_text(encoding="utf-8")


def test_its_example_runs() -> None:
    [example] = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    exec(example, {})


def test_what_it_says_is_not_compared_is_what_the_parity_tests_say() -> None:
    table = PAGE[PAGE.index("| not compared | reason |") :]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", table, flags=re.MULTILINE)[1:]
    said = " ".join((tests.parity.__doc__ or "").split())
    assert len(rows) > 10
    assert said.endswith(" ".join(f"- {what}: {why}." for what, why in rows))


def test_it_counts_the_removed_rules_rightly() -> None:
    assert f"takes {len(REMOVED)} single rules away" in PAGE


def test_its_faults_can_be_written_as_it_writes_them() -> None:
    written = re.findall(r"(Fault\(\"\w+\", \w+\([^)]*\)[^`)]*\))", PAGE)
    assert len(written) >= 6
    for fault in written:
        assert isinstance(eval(fault, {"Fault": Fault, "Fail": Fail, "Short": Short, "Delay": Delay, "errno": errno}), Fault)
