"""Campaigns: the same report from one process, a pool and a cluster; failures that are files; seeds that are kept."""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis.database import InMemoryExampleDatabase

from fsmserver.cli.echo import Echo
from fsmserver.testing import campaign
from fsmserver.testing.campaign import FailedSeeds, Found, Plan, read_failure, reduce_found, repeat, run_campaign, run_range, save
from fsmserver.testing.operations import FAULTS, KINDS
from fsmserver.testing.simulation import Failure
from fsmserver.testing.world import Config, World

SEEDS = 45
FRAGILE = Plan(protocol="tests.testing.test_campaign:Fragile")


class Fragile(Echo):
    """Cannot bear long messages."""

    def data_received(self, data: bytes) -> None:
        if len(data) > 60:
            raise ValueError("that is long")
        super().data_received(data)


class Forgetful(World):
    """A world whose runs depend on something that no seed decides."""

    counter = 0

    def digest(self) -> str:
        Forgetful.counter += 1
        return f"{Forgetful.counter:032x}"


def forgetful_world(config: Config) -> World:
    return Forgetful(Echo, config)


def summary(report: campaign.Report) -> dict[str, Any]:
    figures = {name: value for name, value in report.figures.items() if name != "cpu_s"}
    return {"digest": report.digest, "figures": figures, "pairs": report.coverage.pairs, "steps": report.coverage.steps}


@pytest.mark.slow
def test_one_process_a_pool_and_any_size_of_it_give_the_same_report() -> None:
    alone = run_campaign(Plan(), SEEDS)
    assert alone.seeds == SEEDS
    assert not alone.found
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert summary(run_campaign(Plan(), SEEDS, executor=pool)) == summary(alone)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_cluster_of_two_worker_processes_gives_the_same_report() -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        there = run_campaign(Plan(), SEEDS, executor=client.get_executor())
    assert summary(there) == summary(run_campaign(Plan(), SEEDS))


@pytest.mark.slow
def test_the_same_seeds_give_the_same_digest_on_every_poller() -> None:
    digests = {run_campaign(Plan(poller=poller, twice=False), SEEDS).digest for poller in ("select", "poll", "epoll")}
    assert len(digests) == 1


def test_other_seeds_give_another_digest() -> None:
    assert run_range(Plan(twice=False), 0, 3).digest != run_range(Plan(twice=False), 3, 3).digest


def test_a_failure_is_found_reduced_kept_and_repeated(tmp_path: Path) -> None:
    told: list[int] = []
    report = run_campaign(FRAGILE, SEEDS, progress=told.append)
    assert sum(told) == SEEDS
    found = report.found[0]
    assert "ValueError: that is long" in found.failure.sentence
    small = reduce_found(FRAGILE, found)
    assert len(small.operations) <= 6
    path = save(FRAGILE, small, tmp_path / "failures")
    plan, read = read_failure(path.read_text())
    assert (plan.protocol, read) == (FRAGILE.protocol, small)
    assert repeat(plan, read).failure == small.failure


def test_what_cannot_be_reduced_is_kept_as_it_is() -> None:
    found = Found(1, Failure("no such kind", "it was never so"), Config(), [("round",)])
    assert reduce_found(Plan(), found) is found


def test_a_run_that_cannot_be_repeated_is_a_failure() -> None:
    report = run_range(Plan(world="tests.testing.test_campaign:forgetful_world"), 0, 1)
    assert report.found[0].failure.kind == "NotRepeatable"


@pytest.mark.parametrize(("faults", "in_play"), [(("all",), set(FAULTS)), (("none",), set()), (("delay", "lose"), {"delay", "lose"})])
def test_the_faults_in_play_are_those_asked_for(faults: tuple[str, ...], in_play: set[str]) -> None:
    assert set(Plan(faults=faults).kinds()) & set(FAULTS) == in_play
    assert set(KINDS) - set(FAULTS) <= set(Plan(faults=faults).kinds())


def test_a_fault_that_does_not_exist_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="there is no fault 'flood of frogs'; there are all, none, "):
        Plan(faults=("flood of frogs",)).kinds()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("not JSON", "it is not a recorded failure"),
        ("{}", "it is not a recorded failure"),
        ('{"format": 99}', "its format is 99"),
    ],
)
def test_a_file_that_is_no_failure_is_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_failure(text)


def test_a_recorded_operation_that_does_not_exist_is_a_sentence() -> None:
    data = json.loads(Found(1, Failure("a", "b"), Config(), [("round",)]).as_json(Plan()))
    data["operations"] = [["fly", 1]]
    with pytest.raises(ValueError, match="there is no operation"):
        read_failure(json.dumps(data))


def test_failing_seeds_are_kept_tried_first_and_forgotten_when_they_pass() -> None:
    shelf = FailedSeeds(InMemoryExampleDatabase(), FRAGILE)
    shelf.update(failed=[7, 3], passed=[])
    assert list(shelf) == [3, 7]
    report = run_campaign(FRAGILE, 1, first=1000, before=shelf)
    failed = {found.seed for found in report.found}
    shelf.update(failed, {3, 7} - failed)
    assert set(shelf) == failed


def test_a_folder_is_a_database(tmp_path: Path) -> None:
    shelf = FailedSeeds(campaign.open_database(str(tmp_path / "shelf")), Plan())
    shelf.update([5], [])
    assert list(FailedSeeds(campaign.open_database(str(tmp_path / "shelf")), Plan())) == [5]


def test_a_redis_server_is_a_database_too() -> None:
    database = campaign.open_database("redis://127.0.0.1:1/0")  # nothing is connected to before it is used
    assert type(database).__name__ == "RedisExampleDatabase"
