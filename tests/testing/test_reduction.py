"""Failing runs are cut down to what they need, quickly, and what is left still fails in the same way."""

from collections.abc import Callable

import pytest

from fsmserver.cli.echo import Echo
from fsmserver.testing import reduction
from fsmserver.testing.operations import Operation
from fsmserver.testing.reduction import reduce
from fsmserver.testing.simulation import Failure, Outcome, run_script, run_seed
from fsmserver.testing.world import Config, World


class Fragile(Echo):
    """Cannot bear long messages."""

    def data_received(self, data: bytes) -> None:
        if len(data) > 60:
            raise ValueError("that is long")
        super().data_received(data)


class Tired(Echo):
    """Cannot bear many messages."""

    heard = 0

    def data_received(self, data: bytes) -> None:
        self.heard += 1
        if self.heard > 4:
            raise ValueError("that is enough")
        super().data_received(data)


class Sleeper(Echo):
    """Is never there at the end."""

    def connection_lost(self, error: BaseException | None) -> None:
        if error is None:
            raise ValueError("it is over")


def maker(protocol: type[Echo]) -> Callable[[Config], World]:
    return lambda config: World(protocol, config)


def failing(protocol: type[Echo], script: list[Operation], config: Config = Config()) -> Outcome:  # noqa: B008 - it is frozen
    outcome = run_script(config, script, maker(protocol))
    assert outcome.failure is not None
    return outcome


def test_a_long_run_of_a_crowd_becomes_a_few_operations_that_fail_the_same_way() -> None:
    outcome = next(each for each in (run_seed(seed, maker(Fragile)) for seed in range(40)) if len(each.operations) > 30 and each.failure)
    best = reduce(outcome, maker(Fragile))
    assert len(best.operations) <= 4
    assert best.failure is not None
    assert outcome.failure is not None
    assert best.failure.kind == outcome.failure.kind
    assert run_script(best.config, best.operations, maker(Fragile)).failure == best.failure


CROWD: list[Operation] = [("connect", 3, 0, 0), ("round",), ("bustle", 4, 40, 60, 40), ("say", 3, 5), ("bustle", 14, 80, 30, 1)]


def test_a_bustle_becomes_what_one_peer_of_it_said_and_peers_are_numbered_anew() -> None:
    best = reduce(failing(Tired, CROWD), maker(Tired))
    assert [operation[0] for operation in best.operations] == ["connect", "chat"]
    assert {operation[1] for operation in best.operations} == {1}


def test_what_takes_several_peers_keeps_these_and_no_others() -> None:
    class Crowded(World):
        def round(self, longest_s: float = 0.0) -> None:
            super().round(longest_s)
            if len(self.scheduler.links) >= 3:
                self.violate(5, "three are a crowd")
                super().round(0.0)

    script: list[Operation] = [("bustle", 1, 40, 60, 40), ("leave", 1), ("round",)]
    outcome = run_script(Config(), script, lambda config: Crowded(Echo, config))
    best = reduce(outcome, lambda config: Crowded(Echo, config))
    assert [operation[0] for operation in best.operations] == ["connect", "connect", "connect", "round"]


def test_numbers_become_as_small_as_they_can_and_the_configuration_plain() -> None:
    config = Config(exceptional="inline", eager_writes=False, connections=12, receive_room_bytes=4096, poller="poll")
    script: list[Operation] = [("connect", 1, 60, 0), ("round",), ("say", 1, 500), ("round",)]
    best = reduce(failing(Fragile, script, config), maker(Fragile))
    assert best.operations == [("connect", 1, 0, 0), ("round",), ("say", 1, 64), ("round",)]
    assert best.config == Config(poller="poll")


def test_a_failure_that_comes_at_the_end_of_a_run_is_reduced_too() -> None:
    script: list[Operation] = [("connect", 1, 0, 0), ("round",), ("connect", 2, 0, 0), ("say", 2, 7), ("pass", 20), ("hear", 2, 60)]
    best = reduce(failing(Sleeper, script), maker(Sleeper))
    assert len(best.operations) == 1
    assert best.failure is not None
    assert "it is over" in best.failure.sentence


def test_what_does_not_fail_again_is_given_back_as_it_is() -> None:
    outcome = Outcome(Config(), [("round",)], Failure("no such kind", "it was never so"))
    assert reduce(outcome, maker(Echo)) is outcome


def test_a_reduction_that_has_no_work_left_gives_the_best_it_has() -> None:
    outcome = failing(Tired, CROWD)
    best = reduce(outcome, maker(Tired), most_work=len(CROWD))
    assert best.operations == outcome.operations
    assert best.failure == outcome.failure


def test_a_script_that_could_not_be_made_short_again_is_not_written_out() -> None:
    class Heard(World):
        def round(self, longest_s: float = 0.0) -> None:
            super().round(longest_s)
            if sum(peer.got_bytes > 0 for peer in self.peers.values()) >= 3:
                self.violate(5, "three have heard")
                super().round(0.0)

    outcome = run_script(Config(connections=12), [("bustle", 1, 5, 7, 1)], lambda config: Heard(Echo, config))
    for most_work in (0, 60, 150):
        best = reduce(outcome, lambda config: Heard(Echo, config), most_work=most_work)
        assert best.failure is not None
        assert len(best.operations) <= 20


@pytest.mark.parametrize("name", ["bustle", "flood", "chat", "jam", "turn_away", "pass", "jump"])
def test_what_does_the_work_of_several_operations_has_plainer_stand_ins_that_can_be_done(name: str) -> None:
    arguments = {"bustle": (2, 40, 5, 1), "flood": (1, 4), "chat": (1, 2, 5, 1), "jam": (1, 1000, 1), "turn_away": (1,)}.get(name, (20,))
    for parts in reduction._parts_of((name, *arguments), connections=2):
        script: list[Operation] = [("connect", 1, 0, 0), ("round",), *parts]
        assert run_script(Config(), script, maker(Echo)).failure is None
        assert name not in {part[0] for part in parts}
