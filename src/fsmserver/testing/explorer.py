"""Breadth-first search of everything that shipped code can do within bounds, on the finished graph: no dead end, no spin, no lingering.

Each state is explored once: every operation that can be done there is done, by the real code, and leads to another state or
to a violation. Two worlds whose canonical form is the same are one state. Because the search goes breadth first, the
operations that lead to a violation are as few as can be.

When no state is left, the graph answers what no single run can:

- *no dead end*: from each state there is a path on which the peers only leave, time passes and rounds are done, and in the
  end nothing is left;
- *no spin*: rounds alone, woken again and again though nothing comes from outside, never lead back to where they began;
- *no lingering*: if nobody does anything any more, rounds and the passing of time end every connection: they never lead
  back to a state in which one is open.

The states themselves are not kept, only how to reach them: a memento for each state of the present front.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TextIO, TypeVar

from fsmserver.testing.operations import Operation, words
from fsmserver.testing.snapshot import Memento, Snapshots, fewer_collections

W = TypeVar("W")

PROGRESS_EVERY: Final = 1000
"""States between two calls of `on_progress`."""


class Explorable(Protocol[W]):
    """What can be searched. `BoundedServer` is one; a user's own system can be another."""

    @property
    def waiting(self) -> Collection[str]:
        """The names of the operations that happen when nobody does anything: rounds, the passing of time."""

    @property
    def timeless(self) -> Collection[str]:
        """The names of those of them that may be done again and again, and change nothing: rounds."""

    @property
    def parting(self) -> Collection[str]:
        """The names of those that happen when everybody leaves."""

    def make(self) -> W:
        """Make a world in which nothing has happened."""

    def untouched(self, world: W) -> Iterable[object]:
        """Name the objects that mementos leave alone."""

    def operations(self, world: W) -> Iterable[Operation]:
        """List what can be done now, always in the same order."""

    def apply(self, world: W, operation: Operation) -> bool:
        """Do it, and check what must hold; give True if it has to get somewhere: repeated for ever it would be a spin.

        Raises:
            Exception: whatever is raised is a violation.

        """

    def canonical(self, world: W) -> Hashable:
        """Give a value that is the same for two worlds if and only if they have the same future."""

    def is_over(self, world: W) -> bool:
        """Tell whether nothing is left."""

    def is_serving(self, world: W) -> bool:
        """Tell whether a connection is open."""


@dataclass(frozen=True, slots=True)
class Violation:
    """What was found: the kind of it, a sentence, and the shortest list of operations that leads to it."""

    kind: str
    sentence: str
    trace: tuple[Operation, ...]


class Graph:
    """States by number, in the order of their discovery; for each the operations tried, in order, and where each led."""

    OVER, SERVING = 1, 2

    def __init__(self) -> None:
        """Begin with no state."""
        self.names: list[Operation] = []
        self.flags = bytearray()
        self.notes: list[str] = []
        """What an abstraction said of each state, if there was one."""
        self._name_numbers: dict[Operation, int] = {}
        self._starts = array("I")
        self._targets = array("I")
        self._labels = array("H")
        self._woken = bytearray()
        self._parents = array("I")
        self._parent_labels = array("H")

    def add_state(self, parent: int, operation: Operation | None, *, is_over: bool, is_serving: bool) -> int:
        """Give a new state its number. `parent` and `operation` say how it was reached first."""
        self._parents.append(parent)
        self._parent_labels.append(0 if operation is None else self._label(operation))
        self.flags.append(self.OVER * is_over | self.SERVING * is_serving)
        return len(self.flags) - 1

    def begin(self) -> None:
        """Begin with the edges of the next state; states are explored in the order of their numbers."""
        self._starts.append(len(self._targets))

    def add_edge(self, operation: Operation, target: int, *, woken: bool) -> None:
        """Say where an operation leads from the state that was begun."""
        self._targets.append(target)
        self._labels.append(self._label(operation))
        self._woken.append(woken)

    def _label(self, operation: Operation) -> int:
        number = self._name_numbers.get(operation)
        if number is None:
            number = self._name_numbers[operation] = len(self.names)
            self.names.append(operation)
        return number

    @property
    def states(self) -> int:
        """How many states were found."""
        return len(self.flags)

    @property
    def transitions(self) -> int:
        """How many operations were tried."""
        return len(self._targets)

    def explored(self) -> int:
        """Count the states whose operations have all been tried."""
        return len(self._starts)

    def edges(self, state: int) -> Iterator[tuple[Operation, int]]:
        """Give the operations that were tried in a state, and where they led."""
        for place in self._places(state):
            yield self.names[self._labels[place]], self._targets[place]

    def _places(self, state: int) -> range:
        end = self._starts[state + 1] if state + 1 < len(self._starts) else len(self._targets)
        return range(self._starts[state], end)

    def path(self, state: int) -> tuple[Operation, ...]:
        """Give the fewest operations that lead to a state."""
        steps = []
        while state:
            steps.append(self.names[self._parent_labels[state]])
            state = self._parents[state]
        return tuple(reversed(steps))

    def depth(self) -> int:
        """Give the length of the longest of these paths."""
        depths = array("I", [0]) if self.states else array("I")
        for state in range(1, self.states):
            depths.append(depths[self._parents[state]] + 1)
        return max(depths, default=0)

    def write(self, file: TextIO) -> None:
        """Write a line `state NUMBER NOTE` for each state, then `NUMBER TARGET OPERATION` for each transition."""
        notes = self.notes or [""] * self.states
        file.writelines(f"state {state} {note}".rstrip() + "\n" for state, note in enumerate(notes))
        texts = [words(operation) for operation in self.names]
        for state in range(len(self._starts)):
            file.writelines(f"{state} {self._targets[place]} {texts[self._labels[place]]}\n" for place in self._places(state))

    # What the finished graph says.

    def dead_ends(self, parting: Collection[str]) -> list[int]:
        """Give the states from which operations of these names alone never lead to where nothing is left."""
        allowed = [operation[0] in parting for operation in self.names]
        before = self._reversed(lambda place: allowed[self._labels[place]])
        reached = bytearray(flag & self.OVER for flag in self.flags)
        todo = [state for state in range(self.states) if reached[state]]
        while todo:
            for origin in before(todo.pop()):
                if not reached[origin]:
                    reached[origin] = 1
                    todo.append(origin)
        return [state for state in range(self.states) if not reached[state]]

    def spins(self) -> list[int]:
        """Give states on, or between, cycles of operations that had to get somewhere."""
        return self._on_cycles(lambda place, _: bool(self._woken[place]))

    def lingering(self, waiting: Collection[str], timeless: Collection[str]) -> list[int]:
        """Give states with an open connection on, or between, cycles of the operations named in `waiting`.

        One of those named in `timeless` that changes nothing is no cycle.
        """
        passive = [operation[0] in waiting for operation in self.names]
        still = [operation[0] in timeless for operation in self.names]
        flags, targets, labels, serving = self.flags, self._targets, self._labels, self.SERVING

        def counts(place: int, origin: int) -> bool:
            target, label = targets[place], labels[place]
            return passive[label] and bool(flags[origin] & flags[target] & serving) and not (still[label] and target == origin)

        return self._on_cycles(counts)

    def cycles(self, among: Sequence[int], through: str) -> list[int]:
        """Give states on cycles that stay among those that `among` marks and have an operation named `through`."""
        component = self._components(among)
        named = [operation[0] == through for operation in self.names]
        return [
            state
            for state in range(len(self._starts))
            if among[state]
            and any(named[self._labels[place]] and component.get(self._targets[place]) == component[state] for place in self._places(state))
        ]

    def _components(self, among: Sequence[int]) -> dict[int, int]:
        """Find the strongly connected components of the states that are marked, as Tarjan does, without recursion."""
        component: dict[int, int] = {}
        order: dict[int, int] = {}
        low: dict[int, int] = {}
        stack: list[int] = []
        for root in range(len(self._starts)):
            if not among[root] or root in order:
                continue
            work = [(root, iter(self._places(root)))]
            order[root] = low[root] = len(order)
            stack.append(root)
            while work:
                state, places = work[-1]
                for place in places:
                    target = self._targets[place]
                    if not among[target]:
                        continue
                    if target not in order:
                        order[target] = low[target] = len(order)
                        stack.append(target)
                        work.append((target, iter(self._places(target))))
                        break
                    if target not in component:
                        low[state] = min(low[state], order[target])
                else:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[state])
                    if low[state] == order[state]:
                        while True:
                            member = stack.pop()
                            component[member] = state
                            if member == state:
                                break
        return component

    def _reversed(self, counts: Callable[[int], bool]) -> Callable[[int], Sequence[int]]:
        """Give a function from a state to those that lead to it over edges that count."""
        starts = array("I", bytes(4 * (self.states + 1)))
        targets = self._targets
        chosen = [place for place in range(len(targets)) if counts(place)]
        for place in chosen:
            starts[targets[place] + 1] += 1
        for state in range(self.states):
            starts[state + 1] += starts[state]
        fill, origins = array("I", starts), array("I", bytes(4 * len(chosen)))
        origin_of = self._origins()
        for place in chosen:
            target = targets[place]
            origins[fill[target]] = origin_of[place]
            fill[target] += 1
        return lambda state: origins[starts[state] : starts[state + 1]]

    def _origins(self) -> array[int]:
        origins = array("I", bytes(4 * len(self._targets)))
        for state in range(len(self._starts)):
            for place in self._places(state):
                origins[place] = state
        return origins

    def _on_cycles(self, counts: Callable[[int, int], bool]) -> list[int]:
        """Leave out, again and again, the states that no edge that counts leads to, then those that none leads away from."""
        edges = [
            (origin, self._targets[place]) for origin in range(len(self._starts)) for place in self._places(origin) if counts(place, origin)
        ]
        for here, there in ((0, 1), (1, 0)):
            degrees: dict[int, int] = {}
            following: dict[int, list[int]] = {}
            for edge in edges:
                degrees[edge[there]] = degrees.get(edge[there], 0) + 1
                following.setdefault(edge[here], []).append(edge[there])
            todo = [state for state in following if state not in degrees]
            gone = set(todo)
            while todo:
                for state in following.get(todo.pop(), ()):
                    degrees[state] -= 1
                    if not degrees[state]:
                        gone.add(state)
                        todo.append(state)
            edges = [edge for edge in edges if edge[0] not in gone and edge[1] not in gone]
        return sorted({state for edge in edges for state in edge})


@dataclass(slots=True)
class Result:
    """What a search found. `complete` says that no state was left to explore."""

    graph: Graph = field(default_factory=Graph)
    forms: list[Hashable] = field(default_factory=list)
    """The canonical form of each state."""
    violation: Violation | None = None
    complete: bool = False
    seconds: float = 0.0

    @property
    def states(self) -> int:
        """How many different states were found."""
        return self.graph.states

    @property
    def transitions(self) -> int:
        """How many operations were tried in them."""
        return self.graph.transitions

    @property
    def depth(self) -> int:
        """The number of operations that the farthest state needs."""
        return self.graph.depth()


Progress = Callable[[Graph], object]


class Search(Generic[W]):
    """One search; `explore` is the usual way to run it."""

    def __init__(self, explorable: Explorable[W], abstraction: Callable[[W], str] | None = None) -> None:
        """Make the world, and find its first state."""
        self.explorable = explorable
        self._abstraction = abstraction
        self.result = Result()
        self.world = explorable.make()
        self._snapshots = Snapshots(self.world, explorable.untouched(self.world))
        self._numbers: dict[Hashable, int] = {}
        self._pending: deque[tuple[int, Memento, Operation | None]] = deque()
        self._find(self._snapshots.take(), 0, None)

    def _find(self, memento: Memento, origin: int, operation: Operation | None) -> int:
        """Give the number of the state that the world is in now."""
        form = self.explorable.canonical(self.world)
        number = self._numbers.get(form)
        if number is None:
            is_over, is_serving = self.explorable.is_over(self.world), self.explorable.is_serving(self.world)
            number = self.result.graph.add_state(origin, operation, is_over=is_over, is_serving=is_serving)
            self._numbers[form] = number
            self.result.forms.append(form)
            if self._abstraction is not None:
                self.result.graph.notes.append(self._abstraction(self.world))
            self._pending.append((number, memento, operation))
        return number

    def run(self, most_states: int | None, on_progress: Progress | None) -> None:
        """Explore until nothing is left, or something was found that must not be."""
        graph = self.result.graph
        while self._pending and self.result.violation is None:
            if most_states is not None and graph.states >= most_states:
                return
            self._explore(*self._pending.popleft())
            if on_progress is not None and not graph.explored() % PROGRESS_EVERY:
                on_progress(graph)
        self.result.complete = self.result.violation is None

    def _explore(self, number: int, memento: Memento, operation: Operation | None) -> None:
        explorable, world, snapshots, graph = self.explorable, self.world, self._snapshots, self.result.graph
        snapshots.restore(memento)
        if operation is not None:
            explorable.apply(world, operation)
            assert self._numbers.get(explorable.canonical(world)) == number, "the same operation in the same state led elsewhere"
        here = snapshots.take(like=memento)
        graph.begin()
        moved = False
        for each in list(explorable.operations(world)):
            if moved:
                snapshots.restore(here)
            moved = True
            try:
                woken = explorable.apply(world, each)
                target = self._find(here, number, each)
            except Exception as error:  # noqa: BLE001 - whatever is raised is what was looked for
                self.result.violation = Violation(kind_of(error), str(error) or type(error).__name__, (*graph.path(number), each))
                return
            graph.add_edge(each, target, woken=woken)

    def judge(self) -> None:
        """Ask the finished graph."""
        graph, explorable = self.result.graph, self.explorable
        for kind, states in (
            ("the loop spins: rounds are woken for ever and get nowhere", graph.spins()),
            (
                "nobody does anything any more, and a connection stays open for ever",
                graph.lingering(explorable.waiting, explorable.timeless),
            ),
            ("the peers leave, and something is left for ever", graph.dead_ends(explorable.parting)),
        ):
            if states and self.result.violation is None:
                self.result.violation = Violation("invariant 8", f"{kind}; {len(states)} states", graph.path(states[0]))


def kind_of(error: BaseException) -> str:
    """Name what was raised: an invariant by its number, anything else by its type."""
    number = getattr(error, "number", None)
    return f"invariant {number}" if isinstance(number, int) else type(error).__name__


def explore(
    explorable: Explorable[W],
    *,
    most_states: int | None = None,
    abstraction: Callable[[W], str] | None = None,
    on_progress: Progress | None = None,
) -> Result:
    """Search everything that can be reached, breadth first, until there is nothing left or something is found.

    `most_states` ends a search that is too large: its result is then not `complete`, and the finished graph is not asked.
    `abstraction(world)` says in a line what of each state is to stand in the graph's `notes`.
    """
    before_s = time.monotonic()
    with fewer_collections():
        search = Search(explorable, abstraction)
        search.run(most_states, on_progress)
    if search.result.complete:
        search.judge()
    search.result.seconds = time.monotonic() - before_s
    return search.result
