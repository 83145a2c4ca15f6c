"""Every bound makes sense, or is refused in one sentence that names it."""

import math
from dataclasses import replace
from typing import Any

import pytest

from fsmserver.core.errors import LimitError
from fsmserver.core.limits import DEFAULT, Limits, about

TIMES = [name for name, each in Limits.declared.items() if isinstance(each.default, float)]
COUNTS = [name for name in Limits.declared if name not in TIMES]


@pytest.mark.parametrize("value", [0, -1.0, math.nan, "5", True, None])
@pytest.mark.parametrize("name", TIMES)
def test_a_time_that_makes_no_sense_is_refused(name: str, value: Any) -> None:
    with pytest.raises(LimitError, match=f"{name} must be a number of seconds over 0") as raised:
        replace(DEFAULT, **{name: value})
    assert (raised.value.name, repr(raised.value.value)) == (name, repr(value))


@pytest.mark.parametrize("value", [-1, 1.5, "5", True])
@pytest.mark.parametrize("name", COUNTS)
def test_a_number_that_makes_no_sense_is_refused(name: str, value: Any) -> None:
    with pytest.raises(LimitError, match=f"{name} must be a whole number of at least"):
        replace(DEFAULT, **{name: value})


@pytest.mark.parametrize("name", [name for name in COUNTS if name not in ("outbox_high_bytes", "outbox_low_bytes", "outbox_cap_bytes")])
def test_nothing_but_the_marks_may_be_zero(name: str) -> None:
    with pytest.raises(LimitError, match="at least 1"):
        replace(DEFAULT, **{name: 0})


def test_the_marks_may_be_zero_and_must_be_in_order() -> None:
    assert Limits(outbox_high_bytes=0, outbox_low_bytes=0).outbox_high_bytes == 0
    with pytest.raises(LimitError, match="outbox_low_bytes must be at most outbox_high_bytes, 10"):
        Limits(outbox_high_bytes=10, outbox_low_bytes=11)
    with pytest.raises(LimitError, match="outbox_high_bytes must be at most outbox_cap_bytes, 10"):
        Limits(outbox_high_bytes=11, outbox_low_bytes=1, outbox_cap_bytes=10)


def test_for_ever_is_a_time() -> None:
    assert Limits(idle_s=math.inf).idle_s == math.inf


@pytest.mark.parametrize("name", TIMES + COUNTS)
def test_each_has_its_unit_in_its_name_or_counts_things_and_a_sentence(name: str) -> None:
    assert about(name)
    assert not about(name).endswith(".")
    assert name.endswith(("_s", "_bytes", "_per_round")) or name in ("connections", "backlog", "executor_threads")


def test_the_sentence_of_a_limit_is_its_own() -> None:
    assert about("idle_s") == "an open connection on which no byte moves either way is closed after this"
    assert about("linger_bytes") == "at most this is read and discarded after our FIN"


def test_a_high_mark_may_be_the_cap_and_the_low_one() -> None:
    assert Limits(outbox_high_bytes=10, outbox_low_bytes=10, outbox_cap_bytes=10).outbox_high_bytes == 10


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"outbox_high_bytes": 10, "outbox_low_bytes": 11}, "outbox_low_bytes"),
        ({"outbox_high_bytes": 11, "outbox_low_bytes": 1, "outbox_cap_bytes": 10}, "outbox_high_bytes"),
        ({"backlog": 0}, "backlog"),
    ],
)
def test_a_refusal_keeps_the_name_and_the_value(values: dict[str, Any], name: str) -> None:
    with pytest.raises(LimitError) as raised:
        Limits(**values)
    assert (raised.value.name, raised.value.value) == (name, values[name])
