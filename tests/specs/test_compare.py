"""Comparing the code's graph with the specification's: whatever differs is found, by the shortest way to it.

Within tiny bounds the code's own graph stands in for TLC's, so no Java is needed here; `python -m specs.compare` has the real one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from fsmserver.core.connection import ConnectionFSM
from fsmserver.runtime.link import Link
from fsmserver.runtime.timers import Deadlines
from fsmserver.testing.explorer import Result, explore
from specs import graph
from specs.compare import (
    AWAY,
    Bounds,
    Code,
    Conn,
    bounds_of,
    changes,
    check,
    compare,
    definitions,
    exactly,
    kept_open,
    main,
    model_of,
    never_taken,
    tell,
)
from specs.models import HERE, CannotCheck, join

pytestmark = pytest.mark.untraced("an explorer goes back to earlier states: what its server does is no trace")

TINY = {
    "Peers": "<- One", "PeerDoes": "<- EachDoesAll", "ApplicationDoes": "<- ApplicationDoesAll", "WorldDoes": "<- Everything",
    "PromptReaders": "<- None", "Eager": "= TRUE", "HalfOpen": "= FALSE", "Refuses": "= FALSE", "MostConnections": "= 1",
    "AcceptsPerRound": "= 2", "ChunkUnits": "= 1", "ReadUnits": "= 1", "ReceiveRoom": "= 1", "SendRoom": "= 2", "PeerRoom": "= 1",
    "HighUnits": "= 1", "LowUnits": "= 0", "CapUnits": "= 2", "LingerChunks": "= 1", "Ticks": "<- OneTick", "BackoffTicks": "= 1",
    "QuietTicks": "= 1", "DrainTicks": "= 1", "MostChunks": "= 0",
}  # fmt: skip


def bounds(**changed: str) -> Bounds:
    return Bounds(TINY | changed, definitions())


PLAIN = {"ApplicationDoes": "<- ApplicationEchoes", "WorldDoes": "<- TimeOnly"}


def explored(code: Code) -> tuple[Result, list[Any]]:
    result = explore(code)
    assert result.complete
    return result, list(code.nodes(result.forms))  # type: ignore[arg-type]


def specification(result: Result, nodes: list[Any]) -> graph.Graph:
    """Take the code's own graph for TLC's."""
    numbers = {node: number for number, node in enumerate(dict.fromkeys(nodes))}
    edges = {
        (numbers[nodes[state]], operation[0], numbers[nodes[target]])
        for state in range(result.states)
        for operation, target in result.graph.edges(state)
    }
    return graph.Graph(list(numbers), edges)


@contextmanager
def planted(owner: type, name: str, patch: Callable[[Any], Any]) -> Iterator[None]:
    original = vars(owner)[name]
    setattr(owner, name, patch(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


@pytest.fixture(scope="module")
def plain() -> tuple[Result, list[Any], graph.Graph]:
    result, nodes = explored(Code(bounds(**PLAIN)))
    return result, nodes, specification(result, nodes)


def test_bounds_are_read_from_the_configuration_and_the_definitions() -> None:
    found = bounds_of(model_of("Graph"))
    assert list(found["Peers"]) == [1, 2]
    assert found["PeerDoes"][2] < found["PeerDoes"][1]
    assert found["ApplicationDoes"] == {1: set(), 2: set()}
    assert found["Ticks"]["idle_s"] >= 1
    assert found["Eager"] is True
    assert bounds(PeerDoes="<- NobodyReads")["PeerDoes"][1] == {"connect", "send", "fin", "reset", "close"}


@pytest.mark.parametrize(("name", "why"), [("Nonsense", "is no model"), ("Bytes", "counts bytes"), ("Connection", "is no model")])
def test_what_cannot_be_compared_is_refused(
    name: str, why: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CannotCheck, match=why):
        bounds_of(model_of(name))
    monkeypatch.setattr("sys.argv", ["compare", name])
    assert main() == 2
    assert why in capsys.readouterr().err


def test_the_code_that_is_explored_goes_the_loop_s_short_way() -> None:
    code = Code(bounds(**PLAIN))
    world = code.make()
    for operation in (("Connect", 1), ("Round", 0), ("Send", 1)):
        code.apply(world, operation)
    (link,) = world.scheduler.links.values()
    assert world.scheduler.ways[link.fd][0] is link
    assert link.fsm.usual_bytes > 0


def test_a_graph_is_equal_to_itself(plain: tuple[Result, list[Any], graph.Graph]) -> None:
    result, nodes, specified = plain
    assert compare(result.graph, nodes, specified) is None


def test_every_action_is_taken_within_bounds_that_allow_all() -> None:
    result, _ = explored(Code(bounds()))
    names = {operation[0] for state in range(result.states) for operation, _ in result.graph.edges(state)}
    assert names == {
        "Round", "TimePasses", "Connect", "Send", "Read", "Fin", "Reset", "PeerCloses", "Pause", "Resume", "Close", "Abort",
        "EndOutput", "DescriptorsRunOut", "DescriptorsComeBack", "Stop",
    }  # fmt: skip


def test_an_edge_that_the_specification_lacks_is_found_by_the_shortest_way(plain: tuple[Result, list[Any], graph.Graph]) -> None:
    result, nodes, specified = plain
    state = next(state for state in range(result.states) if len(result.graph.path(state)) == 3)
    source = specified.nodes.index(nodes[state])
    lost = next(edge for edge in sorted(specified.edges) if edge[0] == source and edge[1] == "Round")
    difference = compare(result.graph, nodes, graph.Graph(specified.nodes, specified.edges - {lost}))
    assert difference is not None
    assert difference.path == result.graph.path(state)
    assert difference.only_code == [("Round", specified.nodes[lost[2]])]
    assert difference.only_specification == []


def test_an_edge_that_the_code_lacks_is_found_by_the_shortest_way(plain: tuple[Result, list[Any], graph.Graph]) -> None:
    _, _, specified = plain

    def forgets(original: Callable[[ConnectionFSM, float], None]) -> Callable[[ConnectionFSM, float], None]:
        return lambda self, now_s: None

    with planted(ConnectionFSM, "_after_last_byte", forgets):
        result, nodes = explored_anyway(Code(bounds(**PLAIN)))
    difference = compare(result.graph, nodes, specified)
    assert difference is not None
    lines = list(tell(difference))
    assert lines[0] == f"the graphs part after {len(difference.path)} steps:"
    assert [line.strip() for line in lines[1:4]] == ["Connect(1)", "Round", "Send(1)"]
    assert any("only the code: Round leads to" in line for line in lines)
    assert any("only the specification: Round leads to" in line for line in lines)


def explored_anyway(code: Code) -> tuple[Result, list[Any]]:
    result = explore(code)
    return result, list(code.nodes(result.forms))  # type: ignore[arg-type]


def test_a_state_that_the_specification_lacks_is_shown(plain: tuple[Result, list[Any], graph.Graph]) -> None:
    result, nodes, specified = plain
    fewer = graph.Graph(specified.nodes[:-1], {edge for edge in specified.edges if len(specified.nodes) - 1 not in (edge[0], edge[2])})
    difference = compare(result.graph, nodes, fewer)
    assert difference is not None
    assert difference.only_code[0][1] == specified.nodes[-1]


def test_other_beginnings_differ_at_once(plain: tuple[Result, list[Any], graph.Graph]) -> None:
    result, nodes, specified = plain
    difference = compare(result.graph, nodes, graph.Graph(specified.nodes[::-1], set()))
    assert difference is not None
    assert difference.path == ()
    assert difference.only_code == [("Init", nodes[0])]


def test_worlds_that_differ_in_what_is_left_out_do_the_same(plain: tuple[Result, list[Any], graph.Graph]) -> None:
    _, _, specified = plain
    result, nodes = explored(Code(bounds(**PLAIN), concretely=True))
    assert result.states > len(specified.nodes)
    assert compare(result.graph, nodes, specified) is None


def test_no_cycle_keeps_a_dead_connection_open(plain: tuple[Result, list[Any], graph.Graph]) -> None:
    code = Code(bounds(**PLAIN))
    assert kept_open(explore(code), code, (1,)) == []


def test_a_cycle_that_keeps_a_dead_connection_open_is_found() -> None:
    def never(original: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        return lambda self, now_s, most: []

    def deaf(original: Callable[[Link, int], None]) -> Callable[[Link, int], None]:
        return lambda self, readiness: None

    code = Code(bounds(**PLAIN))
    code.conn = ageless(code.conn)  # type: ignore[method-assign] # else its age would grow for ever
    with planted(Deadlines, "due", never), planted(Link, "ready", deaf):
        result = explore(code)
    states = kept_open(result, code, (1,))
    assert states
    assert all(code.conns(result.forms[state])[0].open for state in states)  # type: ignore[arg-type]


def ageless(look: Callable[..., Conn]) -> Callable[..., Conn]:
    return lambda world, peer: AWAY if peer is None else look(world, peer)._replace(age=0)


def test_what_differs_between_two_values_is_said_field_by_field() -> None:
    before = (("conn", (AWAY.frozen(),)), ("server", (("left", 0), ("state", "serving"))))
    after = (("conn", (Conn("waiting").frozen(),)), ("server", (("left", 2), ("state", "draining"))))
    assert list(changes(before, after)) == ["conn[1].place: away -> waiting", "server.left: 0 -> 2", "server.state: serving -> draining"]
    assert list(changes(before, before)) == []


def test_what_is_no_whole_number_of_chunks_is_refused() -> None:
    assert exactly(6, 3) == 2
    with pytest.raises(AssertionError, match="7 bytes are no whole chunks"):
        exactly(7, 3)


def test_the_command_says_that_graphs_are_equal_or_where_they_part(
    plain: tuple[Result, list[Any], graph.Graph], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, specified = plain
    tiny = replace(model_of("Graph"), states=len(specified.nodes), coverage=False)
    monkeypatch.setattr("specs.compare.model_of", lambda name: tiny)
    monkeypatch.setattr("specs.compare.bounds_of", lambda model: bounds(**PLAIN))
    monkeypatch.setattr("specs.compare.graph.dump", lambda model: specified)
    assert check("Graph", concretely=False)
    assert "Graph: equal, state for state and step for step" in capsys.readouterr().out
    monkeypatch.setattr("specs.compare.graph.dump", lambda model: graph.Graph(specified.nodes, set()))
    monkeypatch.setattr("sys.argv", ["compare"])
    assert main() == 1
    assert "the graphs part after 0 steps:\n  only the code: Connect leads to" in capsys.readouterr().out
    tiny = replace(tiny, states=1)
    assert not check("Graph", concretely=False)
    assert "Graph: the manifest says 1 states" in capsys.readouterr().out


def test_an_action_that_the_specification_never_takes_is_noticed(plain: tuple[Result, list[Any], graph.Graph]) -> None:
    _, _, specified = plain
    one = replace(model_of("One"), idle=("Pause", "Resume", "Close", "Abort", "EndOutput", "DescriptorsRunOut", "DescriptorsComeBack"))
    assert never_taken(one, specified) == ["Stop"]
    assert never_taken(replace(one, idle=(*one.idle, "Stop")), specified) == []
    assert never_taken(replace(one, coverage=False), specified) == []


def test_tlc_checks_what_must_always_hold_while_it_dumps_the_graph() -> None:
    assert model_of("Graph").states == 499_640
    assert "INVARIANT AfterARound" in join(HERE / name for name in model_of("Graph").configs)
    assert "INVARIANT" not in join(HERE / name for name in model_of("HalfOpen").configs)
