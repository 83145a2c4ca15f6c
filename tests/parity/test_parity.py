"""Whatever is done, in whatever order: the simulated kernel gives what the real one gives, and reports it as it does."""

import re
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from fsmserver.testing.stateful import scaled
from tests.parity.__main__ import main
from tests.parity.compare import OPENING, POLLERS, Pair, Writer, confirmed, drive, no_holes, pair, play, reduced, run, search
from tests.parity.operations import KINDS
from tests.parity.removed import REMOVED, removed

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(sys.platform != "linux", reason="what is simulated is Linux"),
]

SOME_PATIENCE_MS = 50
MOST_SCRIPTS = 400
"""A rule that was removed is missed within so many; the slowest to be missed takes about a hundred."""


class ParityMachine(RuleBasedStateMachine):
    """Each kind of operation is a rule. A difference is made minimal by leaving operations out, which is faster than Hypothesis can be."""

    poller: str

    def __init__(self) -> None:
        super().__init__()
        self.both = Pair(self.poller)
        self.late = False
        for operation in OPENING:
            self.step(operation)

    def step(self, operation: tuple[Any, ...]) -> None:
        difference = None if self.late else self.both.step(operation)
        if difference is not None:
            self.late = True  # from here on the sides have different pasts
            difference = confirmed(difference, self.poller)
        if difference is not None:
            raise AssertionError(f"they differ:\n{reduced(difference, self.poller)}")

    def number(self, role: str, which: int) -> int:
        side = self.both.simulated
        numbers = {"new": [len(side.socks) + len(side.closed) + 1], "listener": side.listeners, "closed": list(side.closed)}
        candidates = numbers.get(role, list(side.socks))
        return candidates[which % len(candidates)] if candidates else 0

    def teardown(self) -> None:
        self.both.end()


def _make_rule(name: str) -> Any:
    kind = KINDS[name]

    def operate(self: ParityMachine, which: tuple[int, int], arguments: tuple[Any, ...]) -> None:
        numbers = [self.number(role, place) for role, place in zip(kind.role.split(", "), which, strict=False)]
        self.step((name, *numbers, *arguments))

    places = st.tuples(st.integers(0, 7), st.integers(0, 7))
    return rule(which=places, arguments=st.tuples(*map(st.sampled_from, kind.arguments)))(operate)


for _name in KINDS:
    setattr(ParityMachine, f"op_{_name}", _make_rule(_name))


def run_machine(poller: str, examples: int) -> None:
    bounds = settings(
        max_examples=examples,
        stateful_step_count=30,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    with no_holes():
        run_state_machine_as_test(type("Parity", (ParityMachine,), {"poller": poller}), settings=bounds)


@pytest.mark.slow
@pytest.mark.parametrize("poller", POLLERS)
def test_any_operations_in_any_order_give_the_same_on_both_kernels(poller: str) -> None:
    run_machine(poller, scaled(40))


@pytest.mark.slow
def test_a_difference_is_told_as_the_shortest_script_that_shows_it() -> None:
    with removed("the peer's FIN is RDHUP") as poller, pytest.raises(AssertionError) as caught:
        run_machine(poller, 100)
    told = re.match(r"they differ:\n((?:    .+\n)+)  simulated: (.+)\n  real: +(.+)", str(caught.value))
    assert told is not None
    script, simulated, real = told.groups()
    assert len(script.splitlines()) <= 4
    assert simulated != real


@pytest.mark.slow
@pytest.mark.parametrize("poller", POLLERS)
def test_seeded_scripts_give_the_same_on_both_kernels(poller: str) -> None:
    with no_holes():
        found = search(range(scaled(150)), poller)
    assert found is None, f"seed {found[0]} differs:\n{found[1]}"


@pytest.mark.slow
@pytest.mark.parametrize("name", REMOVED)
def test_a_kernel_without_one_of_its_rules_is_found_out(name: str) -> None:
    with no_holes():
        with removed(name) as poller:
            found = next(filter(None, (drive(seed, poller, SOME_PATIENCE_MS) for seed in range(MOST_SCRIPTS))), None)
        assert found is not None, f"nobody misses that {name}"
        assert run(found.script, poller) is None, "with the rule it passes again"


def test_there_are_rules_of_every_poller_among_those_removed() -> None:
    assert {patch.poller for patch in REMOVED.values()} == set(POLLERS)


def test_every_kind_of_operation_is_done_by_the_first_scripts() -> None:
    done: set[str] = set()
    for seed in range(60):
        with no_holes(), pair("epoll") as both:
            assert play(Writer(seed), both) is None
            done |= {name for name, *_ in both.done}
    assert done == set(KINDS)


def test_the_command_says_the_seed_and_the_shortest_script(capsys: pytest.CaptureFixture[str]) -> None:
    with removed("closing with unread input resets"):
        assert main(["--scripts", "9", "--poller", "epoll"]) == 1
    said = capsys.readouterr().out
    assert re.match(r"epoll: seed \d differs:\n    listen\(1\)\n    connect\(2, 1\)\n", said)
    assert len(said.splitlines()) < 10


def test_the_command_counts_the_scripts_that_passed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scripts", "2", "--poller", "poll", "--seed", "5"]) == 0
    assert capsys.readouterr().out.startswith("poll: 2 scripts, seeds 5 to 6, no difference; ")
