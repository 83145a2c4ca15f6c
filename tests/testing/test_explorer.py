"""Exploration: everything that can be reached is found once, by the fewest operations; what restores and merges is sound.

The toy below has states that can be counted by hand. The server is the shipped one.
"""

import errno
import io
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fsmserver.cli import main
from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.states import Event, Interest
from fsmserver.runtime.link import Link
from fsmserver.runtime.listener import Listener
from fsmserver.testing.bounded import EVERYTHING, ONE, SMALL, BoundedServer, Bounds, check_bytes
from fsmserver.testing.explorer import Graph, Result, explore, kind_of
from fsmserver.testing.invariants import InvariantViolated
from fsmserver.testing.operations import Operation
from fsmserver.testing.snapshot import Snapshots
from fsmserver.testing.world import World

pytestmark = pytest.mark.untraced("an explorer goes back to earlier states: what its server does is no trace")

# A toy: a counter from 0 to 3 that is stepped up and down.


@dataclass
class Counter:
    count: int = 0
    stuck: bool = False


@dataclass
class Toy:
    most: int = 3
    steps: dict[str, Callable[[Counter], object]] = field(default_factory=dict)
    waiting: frozenset[str] = frozenset(("wait",))
    timeless: frozenset[str] = frozenset(("round",))
    parting: frozenset[str] = frozenset(("down",))
    woken: frozenset[str] = frozenset()

    def make(self) -> Counter:
        return Counter()

    def untouched(self, world: Counter) -> tuple[object, ...]:
        return ()

    def operations(self, world: Counter) -> list[Operation]:
        found: list[Operation] = [("up",)] if world.count < self.most else []
        found += [("down",)] if world.count and not world.stuck else []
        return found + [(name,) for name in self.steps]

    def apply(self, world: Counter, operation: Operation) -> bool:
        match operation[0]:
            case "up":
                world.count += 1
            case "down":
                world.count -= 1
            case name:
                self.steps[name](world)
        return operation[0] in self.woken

    def canonical(self, world: Counter) -> object:
        return (world.count, world.stuck)

    def is_over(self, world: Counter) -> bool:
        return not world.count

    def is_serving(self, world: Counter) -> bool:
        return world.count > 0


def fail_at(count: int) -> Callable[[Counter], object]:
    def step(world: Counter) -> None:
        if world.count == count:
            raise InvariantViolated(5, f"it is {count}")

    return step


def stick(world: Counter) -> None:
    world.stuck = world.stuck or world.count == 2


def test_every_state_is_found_once_and_every_operation_tried_in_each() -> None:
    result = explore(Toy())
    assert (result.states, result.transitions, result.depth) == (4, 6, 3)
    assert result.complete
    assert result.violation is None
    assert list(result.graph.edges(1)) == [(("up",), 2), (("down",), 0)]
    assert result.graph.path(3) == (("up",), ("up",), ("up",))


def test_a_violation_comes_with_the_shortest_trace() -> None:
    result = explore(Toy(steps={"look": fail_at(2), "stick": stick}))
    assert result.violation is not None
    assert not result.complete
    assert result.violation.kind == "invariant 5"
    assert result.violation.sentence == "invariant 5: it is 2"
    assert result.violation.trace == (("up",), ("up",), ("look",))


def test_whatever_is_raised_is_a_violation_and_has_a_kind() -> None:
    result = explore(Toy(steps={"break": lambda world: 1 // (3 - world.count)}))
    assert result.violation is not None
    assert (result.violation.kind, result.violation.sentence) == ("ZeroDivisionError", "integer division or modulo by zero")
    assert kind_of(KeyError()) == "KeyError"


def test_a_state_from_which_nothing_ends_is_a_dead_end() -> None:
    result = explore(Toy(steps={"stick": stick}))
    assert result.violation is not None
    assert "something is left for ever; 2 states" in result.violation.sentence
    assert result.violation.trace == (("up",), ("up",), ("stick",))


def test_being_woken_and_getting_nowhere_is_a_spin_over_one_state_or_several() -> None:
    again = explore(Toy(steps={"poke": lambda world: None}, woken=frozenset(("poke",))))
    assert again.violation is not None
    assert again.violation.sentence.startswith("the loop spins")
    around = explore(Toy(woken=frozenset(("up", "down"))))
    assert around.violation is not None
    assert around.violation.sentence.endswith("4 states")
    assert explore(Toy(woken=frozenset(("up",)))).violation is None


def test_waiting_that_leads_back_to_an_open_connection_is_lingering() -> None:
    def turn(world: Counter) -> None:
        world.count = {2: 3, 3: 2}.get(world.count, world.count - 1 if world.count else 0)

    result = explore(Toy(steps={"wait": turn}))
    assert result.violation is not None
    assert "stays open for ever; 2 states" in result.violation.sentence


def test_a_round_in_which_nothing_happens_is_no_lingering() -> None:
    rounds = replace(Toy(steps={"round": lambda world: None}), waiting=frozenset(("round",)))
    assert explore(rounds).violation is None
    ticks = replace(Toy(steps={"tick": lambda world: None}), waiting=frozenset(("tick",)))
    assert explore(ticks).violation is not None


def test_cycles_are_found_among_the_states_that_are_marked_and_through_the_operation_that_is_named() -> None:
    def jump(world: Counter) -> None:
        world.count = {0: 2, 1: 0}.get(world.count, world.count)

    found = explore(Toy(steps={"jump": jump})).graph
    assert [found.path(state) for state in range(found.states)] == [(), (("up",),), (("jump",),), (("jump",), ("up",))]
    assert found.cycles(bytes((1, 1, 1, 1)), through="jump") == [0, 1, 2, 3]
    assert found.cycles(bytes((1, 1, 0, 1)), through="jump") == [1, 3]
    assert found.cycles(bytes((1, 1, 0, 1)), through="down") == [1]
    assert found.cycles(bytes((0, 1, 1, 0)), through="up") == [1]
    assert found.cycles(bytes((1, 0, 0, 1)), through="up") == []


def test_a_search_can_be_cut_short_and_is_not_complete_then() -> None:
    result = explore(Toy(most=100), most_states=10)
    assert result.states == 10
    assert not result.complete
    assert result.violation is None


def test_the_same_operation_that_leads_elsewhere_the_second_time_is_noticed() -> None:
    class Fickle(Toy):
        calls = 0

        def apply(self, world: Counter, operation: Operation) -> bool:
            self.calls += 1
            world.count = self.calls
            return False

    with pytest.raises(AssertionError, match="led elsewhere"):
        explore(Fickle())


def test_progress_is_told_every_thousand_states() -> None:
    told: list[int] = []
    explore(Toy(most=2500), on_progress=lambda graph: told.append(graph.explored()))
    assert told == [1000, 2000]


def test_a_graph_is_written_as_text_with_what_an_abstraction_says_of_each_state() -> None:
    file = io.StringIO()
    explore(Toy(most=1), abstraction=lambda world: f"count {world.count}").graph.write(file)
    assert file.getvalue().splitlines() == ["state 0 count 0", "state 1 count 1", "0 1 up()", "1 0 down()"]
    plain = io.StringIO()
    explore(Toy(most=1)).graph.write(plain)
    assert plain.getvalue().splitlines()[:2] == ["state 0", "state 1"]


def test_an_empty_graph_has_no_depth() -> None:
    assert Graph().depth() == 0


# The server.

QUICK = [name for name in SMALL if name not in ("pauses", "closes", "one of two refused")]


@pytest.mark.pure
@pytest.mark.parametrize("name", QUICK)
def test_small_searches_of_the_shipped_code_are_complete_and_find_nothing(name: str) -> None:
    result = explore(BoundedServer(SMALL[name]))
    assert result.violation is None
    assert result.complete
    assert result.states > 100


@pytest.fixture(scope="module")
def plain() -> Result:
    return explore(BoundedServer(ONE))


@pytest.mark.pure
@pytest.mark.parametrize("change", [{"poller": "poll"}, {"poller": "select"}, {"watched": False}], ids=str)
def test_the_graph_is_the_same_on_every_poller_and_with_the_short_cuts(plain: Result, change: dict[str, Any]) -> None:
    other = explore(BoundedServer(replace(ONE, **change)))
    assert (other.states, other.transitions, other.depth) == (plain.states, plain.transitions, plain.depth)
    for state in range(plain.states):
        assert list(other.graph.edges(state)) == list(plain.graph.edges(state))


@pytest.mark.pure
def test_the_states_are_not_few_because_something_cannot_happen(plain: Result) -> None:
    kinds = {operation[0] for state in range(plain.states) for operation, _ in plain.graph.edges(state)}
    assert kinds == {"round", "tick", "connect", "leave", *ONE.operations}


EVERYTHING_AT_ONCE = Bounds(operations=EVERYTHING, faults=SMALL["faults"].faults, ticks=2, idle_ticks=2, watched=True)


@pytest.mark.pure
@pytest.mark.parametrize("bounds", [EVERYTHING_AT_ONCE, replace(EVERYTHING_AT_ONCE, poller="select", half_open=True, most_connections=1)])
def test_a_restored_world_goes_where_a_world_goes_that_was_never_disturbed(bounds: Bounds) -> None:
    """On random paths of 20 operations; before each of them the one world makes a detour and is restored."""
    chances = random.Random(7)
    for _ in range(40):
        server = BoundedServer(bounds)
        straight, detoured = server.make(), server.make()
        snapshots = Snapshots(detoured, server.untouched(detoured))
        memento = None
        for _ in range(20):
            memento = snapshots.take(like=memento)
            for _ in range(chances.randrange(4)):
                server.apply(detoured, chances.choice(server.operations(detoured)))
            snapshots.restore(memento)
            operations = server.operations(straight)
            assert operations == server.operations(detoured)
            operation = chances.choice(operations)
            assert server.apply(straight, operation) == server.apply(detoured, operation)
            assert server.canonical(straight) == server.canonical(detoured)
            assert whole(straight) == whole(detoured)


def whole(world: World) -> object:
    """What a canonical form leaves out."""
    kernel, scheduler = world.kernel, world.scheduler
    links = [(fd, repr(link), link.fsm.received_bytes, link.fsm.outbox.written_bytes) for fd, link in scheduler.links.items()]
    return kernel.now_us, sorted(kernel.open), links, scheduler._last_number, [bytes(peer.sent) for peer in world.live]


def test_worlds_with_the_same_form_have_the_same_future() -> None:
    """Two paths that meet in one form, at different times and with different histories, go the same ways from there on."""
    chances = random.Random(11)
    server = BoundedServer(replace(ONE, operations=("say", "hear", "end", "cut", "tick", "close", "pause", "resume")))
    known: dict[bytes, tuple[Operation, ...]] = {}
    met = 0
    for _ in range(150):
        world, path = server.make(), []
        for _ in range(18):
            operation = chances.choice(server.operations(world))
            server.apply(world, operation)
            path.append(operation)
            former = known.setdefault(server.canonical(world), tuple(path))
            if former != tuple(path):
                assert futures(server, former) == futures(server, tuple(path))
                met += 1
                break
    assert met > 50


def futures(server: BoundedServer, path: tuple[Operation, ...]) -> list[tuple[Operation, bytes]]:
    def replayed() -> World:
        world = server.make()
        for operation in path:
            server.apply(world, operation)
        return world

    found = []
    for operation in server.operations(replayed()):
        world = replayed()
        server.apply(world, operation)
        found.append((operation, server.canonical(world)))
    return found


@pytest.mark.pure
def test_a_world_does_not_grow_however_many_peers_have_come_and_gone() -> None:
    server = BoundedServer(replace(ONE, operations=("say",)))
    world = server.make()
    snapshots = Snapshots(world, server.untouched(world))
    sizes = set()
    for _ in range(20):
        for operation in (("connect", 1), ("round", 0), ("say", 1), ("round", 0), ("leave", 1), ("round", 0), ("round", 0)):
            server.apply(world, operation)
        assert server.is_over(world)
        sizes.add(sum(len(pairs) for _, pairs in snapshots.take().groups))
    assert len(sizes) == 1


def test_finishing_works_from_any_state() -> None:
    chances = random.Random(5)
    server = BoundedServer(replace(EVERYTHING_AT_ONCE, faults=()))
    for _ in range(60):
        world = server.make()
        for _ in range(chances.randrange(15)):
            server.apply(world, chances.choice(server.operations(world)))
        world.finish()


def test_a_byte_too_many_or_too_few_under_way_is_found() -> None:
    server = BoundedServer(ONE)
    world = server.make()
    for operation in (("connect", 1), ("round", 0), ("say", 1)):
        server.apply(world, operation)
    (peer,) = world.live
    peer.ours.unread = peer.ours.unread[:1]
    with pytest.raises(InvariantViolated, match="is to come from peer 1"):
        check_bytes(peer)
    server.apply(other := server.make(), ("connect", 1))
    for operation in (("round", 0), ("say", 1), ("round", 0)):
        server.apply(other, operation)
    (peer,) = other.live
    peer.stream.unread = b"??"
    with pytest.raises(InvariantViolated, match="is to go to peer 1"):
        check_bytes(peer)
    peer.link.fsm.written.pop()
    with pytest.raises(InvariantViolated, match="1 B written, 2 B taken"):
        check_bytes(peer)


def test_an_operation_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no operation juggle; there are say, hear"):
        BoundedServer(replace(ONE, operations=("say", "juggle")))


# Faults.


@contextmanager
def planted(owner: type, name: str, patch: Callable[[Any], Any]) -> Iterator[None]:
    original = vars(owner)[name]
    setattr(owner, name, patch(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def registers_output_for_ever(original: Callable[[Link], None]) -> Callable[[Link], None]:
    def adapt(self: Link) -> None:
        if not self.registered & Interest.WRITE.value or self.fsm.wants_write:
            original(self)

    return adapt


def ignores_backpressure(_: object) -> object:
    return lambda self: False


def keeps_reading_after_the_end(_: object) -> Callable[..., None]:
    def eof(self: ConnectionFSM, *_: object) -> None:
        self.fire(Event.EOF)  # and nothing is held

    return eof


def goes_on_being_watched(original: Callable[[Listener, OSError], bool]) -> Callable[[Listener, OSError], bool]:
    return lambda self, error: error.errno != errno.EMFILE and original(self, error)


def is_never_relieved(_: object) -> object:
    return lambda self: None


@pytest.mark.pure
@pytest.mark.parametrize(
    ("bounds", "fault", "sentence", "operations"),
    [
        ("one connection", (Link, "_adapt", registers_output_for_ever), "invariant 2: #1 192.0.2.1:40001 is registered for 3", 9),
        ("one connection", (ConnectionFSM, "_press", ignores_backpressure), "invariant 5: the outbox of #1", 8),
        ("one connection", (ConnectionFSM, "eof", keeps_reading_after_the_end), "invariant 8: #1 192.0.2.1:40001 has failed", 8),
        ("room for one of two", (Listener, "_goes_on_after", goes_on_being_watched), "the loop spins", 2),
        ("room for one of two", (Listener, "relieve", is_never_relieved), "the peers leave, and something is left for ever", 1),
    ],
)
def test_a_fault_in_the_shipped_code_is_found_by_the_fewest_operations(
    bounds: str, fault: tuple[type, str, Callable[[Any], Any]], sentence: str, operations: int
) -> None:
    with planted(*fault):
        violation = explore(BoundedServer(SMALL[bounds])).violation
    assert violation is not None
    assert violation.sentence.startswith(sentence)
    assert len(violation.trace) == operations


@pytest.mark.pure
def test_a_trace_leads_to_its_violation_again() -> None:
    with planted(ConnectionFSM, "_press", ignores_backpressure):
        server = BoundedServer(ONE)
        violation = explore(server).violation
        assert violation is not None
        world = server.make()
        for operation in violation.trace[:-1]:
            server.apply(world, operation)
        with pytest.raises(InvariantViolated, match="invariant 5"):
            server.apply(world, violation.trace[-1])


# The command.


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["fsmserver", "explore", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, out, err


SINGLE = ("--connections", "1", "--most-connections", "1")


@pytest.mark.pure
def test_the_command_prints_what_it_searched(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    code, out, _ = run(*SINGLE, "--graph", str(tmp_path / "graph"), monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    lines = out.splitlines()
    assert lines[:3] == ["states       265", "transitions  886", "depth        17"]
    assert lines[4].startswith("complete: ")
    assert len((tmp_path / "graph").read_text().splitlines()) == 265 + 886


@pytest.mark.pure
def test_the_command_prints_the_shortest_trace_and_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with planted(Link, "_adapt", registers_output_for_ever):
        code, out, _ = run(*SINGLE, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 1
    assert "violated: invariant 2: #1" in out
    assert "the shortest trace, 9 operations:\n  connect(1)\n" in out


@pytest.mark.pure
def test_a_search_that_is_cut_short_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(*SINGLE, "--most-states", "50", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 1
    assert "cut short: " in out


@pytest.mark.pure
def test_the_command_makes_the_small_searches(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("fsmserver.cli.exploring.SMALL", {"half open and paused": SMALL["half open and paused"]})
    code, out, _ = run("--small", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert out.startswith("half open and paused\nstates       150\n")


@pytest.mark.pure
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--connections", "0"), "connections must be at least 1, not 0"),
        (("--operations", "say,juggle"), "there is no operation juggle"),
        (("--poller", "magic"), "poller is one of epoll, poll, select, not 'magic'"),
        (("--when-full", "panic"), "when_full is one of wait, refuse, not 'panic'"),
        ((*SINGLE, "--most-states", "1", "--graph", "/nowhere/at/all"), "'/nowhere/at/all' cannot be written: No such file or directory"),
    ],
)
def test_what_is_wrong_with_the_command_is_said_in_a_sentence(
    arguments: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert sentence in err
