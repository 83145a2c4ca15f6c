"""Each error is one sentence for a person, and fields for a program."""

from collections.abc import Callable
from typing import Any

import pytest

from fsmserver.core.errors import (
    DeadlinePassed,
    FsmServerError,
    IllegalTransition,
    LimitError,
    LingerOverrun,
    OutboxOverflow,
    OutboxSealed,
    UrgentData,
)

CASES: list[tuple[Callable[..., FsmServerError], tuple[Any, ...], str, dict[str, Any]]] = [
    (
        IllegalTransition,
        ("queued", "open", ["receive", "flush"]),
        "open cannot happen in the state queued (possible there: receive, flush)",
        {"state": "queued", "event": "open", "legal": ("receive", "flush")},
    ),
    (
        IllegalTransition,
        ("closed", "open", []),
        "open cannot happen in the state closed (nothing can happen there any more)",
        {"state": "closed", "event": "open", "legal": ()},
    ),
    (
        OutboxOverflow,
        (15, 6, 20),
        "6 bytes more do not fit into the outbox: it holds 15 of at most 20 bytes (outbox_cap_bytes)",
        {"size_bytes": 15, "offered_bytes": 6, "cap_bytes": 20},
    ),
    (OutboxSealed, (), "nothing can be written after write_eof or close: the end of the stream is already queued", {}),
    (DeadlinePassed, ("idle_s", 0.5), "idle_s passed: 0.5 s", {"limit": "idle_s", "after_s": 0.5}),
    (LingerOverrun, (5,), "the peer sent more than 5 bytes after the connection was closed (linger_bytes)", {"limit_bytes": 5}),
    (UrgentData, (), "the peer sent urgent data, and the policy for exceptional conditions is close", {}),
    (LimitError, ("idle_s", 0, "over 0"), "idle_s must be over 0, not 0", {"name": "idle_s", "value": 0}),
]


@pytest.mark.parametrize(("kind", "args", "sentence", "fields"), CASES)
def test_an_error_says_its_sentence_and_keeps_its_fields(
    kind: Callable[..., FsmServerError], args: tuple[Any, ...], sentence: str, fields: dict[str, Any]
) -> None:
    error = kind(*args)
    assert str(error) == sentence
    assert {name: getattr(error, name) for name in fields} == fields


def test_a_deadline_is_a_timeout_and_a_limit_is_a_value() -> None:
    assert issubclass(DeadlinePassed, TimeoutError)
    assert issubclass(LimitError, ValueError)
