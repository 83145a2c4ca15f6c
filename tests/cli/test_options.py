"""The plain way past Typer says what Typer would say, or nothing."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fsmserver.cli import serving
from fsmserver.cli.app import app
from fsmserver.cli.options import ALL, FLAGS, LIMITS, NAMED, OPTIONS, PROTOCOL, read, spelled
from fsmserver.core.limits import Limits

DEFAULTS = {name: each.default for name, each in {"protocol": PROTOCOL, **ALL}.items()}
ODD_WORDS = ["serve", "connect", "--help", "--idle-s=3", "--listen=x:1", "--", "-1", "-q", "--list", "--no-quiet", "*", "~", "%x", "$x"]
ODD_VALUES = [
    "0",
    "1",
    "007",
    "1_0",
    "1.5",
    ".5",
    "5.",
    "1e3",
    "inf",
    "nan",
    "-1",
    "+1",
    "999999999",
    "99999999999999999999",
    "xxx",
    "tcp://[::1]:0",
    "a:B",
    "²",
    "٣",
]

words_of_serve = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(sorted(NAMED)), st.sampled_from(ODD_VALUES) | st.integers().map(str) | st.floats().map(str) | st.text()),
        st.tuples(st.sampled_from(sorted(FLAGS))),
        st.tuples(st.sampled_from(ODD_VALUES) | st.sampled_from(ODD_WORDS)),
    ),
    max_size=4,
).map(lambda rows: [word for row in rows for word in row])


def as_typer_reads(words: Sequence[str]) -> dict[str, Any]:
    asked: list[dict[str, Any]] = []

    def served(each: dict[str, Any]) -> int:
        asked.append(each)
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "serve", served)
        assert app(list(words), standalone_mode=False) == 0
    return asked[0]


def without_empty_lists(asked: dict[str, Any]) -> dict[str, str]:
    return {name: repr(value or None if isinstance(value, list) else value) for name, value in asked.items()}


@given(words=words_of_serve)
@example(words=["--listen", "a:1", "--listen", "b:2", "--idle-s", "20", "--backlog", "007"])
@settings(max_examples=150, deadline=None)
def test_what_is_read_plainly_typer_reads_in_the_same_way(words: list[str]) -> None:
    asked = read(["serve", *words])
    if asked is not None:
        assert without_empty_lists(asked) == without_empty_lists(as_typer_reads(["serve", *words]))


@pytest.mark.parametrize("name", NAMED.values())
def test_each_option_is_read_plainly_as_typer_reads_it(name: str) -> None:
    words = ["serve", spelled(name), "17"]
    asked = read(words)
    assert asked is not None
    assert asked[name] != DEFAULTS[name]
    assert without_empty_lists(asked) == without_empty_lists(as_typer_reads(words))


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], {}),
        (["serve"], {}),
        (["serve", "my.module:Class"], {"protocol": "my.module:Class"}),
        (["serve", "--listen", "tcp://[::1]:0", "a:B", "--listen", "/x"], {"listen": ["tcp://[::1]:0", "/x"], "protocol": "a:B"}),
        (["serve", "--quiet", "--no-eager-writes"], {"quiet": True, "eager_writes": False}),
        (["serve", "--eager-writes"], {"eager_writes": True}),
        (["serve", "--idle-s", "2", "--stall-s", "0.5"], {"idle_s": 2.0, "stall_s": 0.5}),
        (["serve", "--connections", "5", "--outbox-low-bytes", "0"], {"connections": 5, "outbox_low_bytes": 0}),
    ],
)
def test_plain_words_are_read_without_typer(words: list[str], given: dict[str, Any]) -> None:
    asked = read(words)
    assert asked == DEFAULTS | given
    assert without_empty_lists(asked) == without_empty_lists(as_typer_reads(words))


@pytest.mark.parametrize(
    "words",
    [
        ["--help"], ["connect"], ["serve", "--help"], ["serve", "--unknown"], ["serve", "--idle-s"], ["serve", "--idle-s=3"],
        ["serve", "--idle-s", "soon"], ["serve", "--idle-s", "-1"], ["serve", "--idle-s", "inf"], ["serve", "--idle-s", "1e3"],
        ["serve", "--connections", "1.0"], ["serve", "--connections", "007"], ["serve", "--connections", "9" * 16],
        ["serve", "--quiet", "--quiet"], ["serve", "--poller", "poll", "--poller", "poll"], ["serve", "a:B", "c:D"],
        ["serve", "--listen", ""], ["serve", "--listen", "~/x"], ["serve", "--listen", "-x"], ["serve", "--"], ["serve", "--trace", "a b"],
        ["serve", "--trace", "é"], ["serve", "--no-quiet"], ["serve", "--idle-s", "3\n"], ["serve", "--listen", "x\n"],
    ],
)  # fmt: skip
def test_whatever_is_in_doubt_is_left_to_typer(words: list[str]) -> None:
    assert read(words) is None


def test_each_limit_is_an_option_with_its_default_and_its_sentence() -> None:
    assert {name: (each.default, each.about) for name, each in LIMITS.items()} == {
        name: (each.default, each.about) for name, each in Limits.declared.items()
    }
    assert (LIMITS["idle_s"].kind, LIMITS["backlog"].kind, LIMITS["linger_bytes"].kind, LIMITS["connections"].kind) == (
        float, int, int, int | None,
    )  # fmt: skip
    assert list(ALL) == [*OPTIONS, *LIMITS]


def test_what_is_on_by_default_can_be_switched_off_by_name() -> None:
    assert spelled("eager_writes") == "--eager-writes/--no-eager-writes"
    assert FLAGS == {"--eager-writes": ("eager_writes", True), "--no-eager-writes": ("eager_writes", False), "--quiet": ("quiet", True)}
