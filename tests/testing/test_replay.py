"""A run again, step by step, and as a picture."""

from typing import Any

import pytest

from fsmserver.cli.echo import Echo
from fsmserver.testing import replay as replays
from fsmserver.testing.operations import Operation
from fsmserver.testing.replay import Step, as_test, mermaid, replay
from fsmserver.testing.simulation import Failure
from fsmserver.testing.world import Config, World

SCRIPT: list[Operation] = [
    ("connect", 1, 0, 0), ("round",), ("say", 1, 5), ("round",), ("hear", 9, 5), ("false_recv", 1, 4), ("say", 1, 2), ("round",),
    ("leave", 1),
]  # fmt: skip


USUAL = Config()


class Fragile(Echo):
    def data_received(self, data: bytes) -> None:
        raise ValueError("fragile; very")


def steps_of(protocol: type, config: Config = USUAL, script: list[Operation] = SCRIPT) -> list[Step]:
    return list(replay(config, script, lambda config: World(protocol, config)))


def test_each_step_says_what_the_server_did_and_which_transitions_followed() -> None:
    steps = steps_of(Echo)
    assert len(steps) == len(SCRIPT) + 1
    echoed = steps[3].happened
    assert any(line.startswith("Connection1: recv(") and line.endswith(" = 5") for line in echoed)
    assert "Connection1: reading --receive--> reading" in echoed
    assert not steps[4].done
    assert any("EINTR" in line for line in steps[7].happened)
    assert steps[-1].failure is None


def test_a_step_that_fails_is_the_last() -> None:
    steps = steps_of(Fragile)
    assert steps[-1].failure is not None
    assert steps[-1].operation == ("round",)
    assert len(steps) == 4


@pytest.mark.untraced("it is about a machine that nobody watches")
def test_a_world_that_was_unwatched_is_repeated_unwatched() -> None:
    steps = steps_of(Echo, Config(watched=False))
    assert not any("--receive-->" in line for step in steps for line in step.happened)
    assert any("recv(" in line for step in steps for line in step.happened)


def test_a_diagram_has_peers_kernel_and_connections_and_no_sign_that_mermaid_would_misread() -> None:
    text = mermaid(steps_of(Fragile))
    assert text.startswith("sequenceDiagram\n")
    assert "Peer1->>Kernel: say(1, 5)" in text
    assert "Connection1->>Kernel: recv" in text
    assert "fragile, very" in text
    assert ";" not in text.replace("#45;", "")


def test_a_diagram_that_nobody_would_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "SHOWN_LINES", 3)
    lines = mermaid(steps_of(Echo)).splitlines()
    assert len(lines) == 5
    assert "lines before are left out" in lines[1]


def test_a_run_becomes_a_test_that_can_be_pasted_and_fails_in_the_same_way() -> None:
    text = as_test(Config(eager_writes=False), SCRIPT, "tests.testing.test_replay:Fragile", Failure("ProtocolFailed", "it raised"))
    assert "def test_protocolfailed() -> None:" in text
    assert "Config(eager_writes=False)" in text
    space: dict[str, Any] = {}
    exec(text.replace("from tests.testing.test_replay import Fragile", ""), {"Fragile": Fragile}, space)
    assert as_test(Config(), [], ":Local", Failure("a", "b")).startswith("# import Local here")
