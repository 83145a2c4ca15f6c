"""A failing run cut down to what it needs, in about the time that a few such runs take.

A reduction tries scripts, and goes on from each that fails in the same way. Nearly all of its time goes into the first tries,
when scripts are long; so these are the ones that can take most away at once:

1. of all peers the one that the failure names, with what concerns nobody; in a bustle it talks alone;
2. what lasts long is made short: a bustle of a hundred rounds becomes one of a few;
3. the last operation alone, with its peers connected anew; the last two, four, eight, until they fail;
4. another peer alone; where it takes several, each is left out in turn;
5. halves, quarters, and so on down to single operations are left out (delta debugging);
6. what does the work of several operations is replaced by these or by a plainer one, the configuration is made plain, and
   numbers are made as small as they can be.

What is tried is not logged and has no digest, and it is not run to its end unless the failure came there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, product
from typing import Final, TypeAlias

from fsmserver.testing.operations import BRINGS, CROWD, KINDS, NAMELESS, Operation
from fsmserver.testing.simulation import Failure, Outcome, WorldMaker, run_script
from fsmserver.testing.snapshot import fewer_collections
from fsmserver.testing.world import FLOOD_BYTES, Config

Script: TypeAlias = tuple[Operation, ...]

MOST_WORK: Final = 20_000
"""Operations and rounds in all tries together: a few seconds, for a failure that needs all of a long script."""

FEW_OPERATIONS: Final = 20
"""A script may become so long by saying more plainly what is done."""

LASTING: Final = frozenset(("bustle", "chat", "flood"))
"""The kinds that go on for many rounds; how often is said behind their peers."""

FEW_TIMES: Final = (1, 3, 9)
"""So often they go on when they are made short."""

FEWER_TIMES: Final = (1, 3)
"""So often they are written out as what they are made of; more would not be plainer."""

LATEST_PEERS: Final = 4
"""Of so many it is tried whether one alone will do."""

FEW_CONNECTIONS: Final = 2
"""A limit that is reached soon, and a crowd that is small."""

CLOCK: Final = frozenset(name for name, kind in KINDS.items() if kind.group == "time" and name not in BRINGS)
"""The kinds that do nothing but rounds."""

ERRNOS: Final = frozenset(("fail_send", "fail_recv", "false_recv", "fail_set_up", "fail_accept", "fail_close", "fail_shutdown", "lose"))
"""The kinds whose number is an errno: one is not smaller than another."""

HEARS_BYTES: Final = 100_000
PLAIN: Final = Config()
ROUND: Final[Operation] = ("round",)


def reduce(outcome: Outcome, make_world: WorldMaker, *, most_work: int = MOST_WORK) -> Outcome:
    """Cut a failing run down to operations that are all needed for a failure of the same kind, and a plain configuration.

    Gives the outcome of the smallest script found; `outcome` itself if it does not fail again. `most_work` bounds the
    operations and rounds of all tries together.
    """
    assert outcome.failure is not None, "only a failure can be reduced"
    with fewer_collections():
        reduction = _Reduction(outcome, outcome.failure, make_world, most_work)
        if not reduction.begin():
            return outcome
        reduction.run()
        return run_script(reduction.config, reduction.script, make_world)


class _Reduction:
    """The smallest script so far that fails in the same way, and what can be tried to make it smaller."""

    def __init__(self, outcome: Outcome, failure: Failure, make_world: WorldMaker, most_work: int) -> None:
        self.config = outcome.config
        self.script: Script = tuple(outcome.operations)
        self._kind = failure.kind
        self._make_world = make_world
        self._work_left = most_work
        self._to_the_end = True
        self._confirmed = False
        self._tried: set[tuple[Config, Script]] = set()
        self._accused = outcome.named

    def begin(self) -> bool:
        """Tell whether it fails again; what is probably enough is tried before the whole, which costs more than all the rest."""
        return self._keep_accused() or self.fails(_all_shortened(self.script, FEW_TIMES[0])) or self.fails(self.script)

    def run(self) -> None:
        """Try everything, the coarse before the fine."""
        self._shorten()
        alone = self._keep_accused()
        self._keep_the_last()
        if not alone:
            self.fails(self.script, replace(self.config, connections=FEW_CONNECTIONS))
            self._keep_few_peers()
        self._tame()
        self._leave_out()
        self._make_plain()
        whole = self.script
        if self._take_apart():
            self._leave_out()
            if len(self.script) > max(len(whole), FEW_OPERATIONS):  # there was no work left to leave out what is not needed
                self.script = whole
        if self._make_small():
            self._leave_out()
        self._number_anew()

    def fails(self, operations: Iterable[Operation], config: Config | None = None) -> bool:
        """Tell whether a script fails in the same way; then it is the best so far, up to where it failed."""
        config, script = config or self.config, tuple(operations)
        if (config, script) in self._tried or self._work_left <= 0:
            return self._confirmed and (config, script) == (self.config, self.script)
        self._tried.add((config, script))
        world = self._make_world(config)
        world.kernel.log = None
        done, to_the_end, failure = 0, False, None
        try:
            for operation in script:
                done += 1
                world.apply(operation)
            to_the_end = True
            if self._to_the_end:
                world.finish()
        except Exception as error:  # noqa: BLE001 - whatever is raised is what was looked for
            failure = Failure.of(error)
        world.violation = None
        self._work_left -= done + world.rounds
        if failure is None or failure.kind != self._kind:
            return False
        self.config, self.script, self._to_the_end, self._confirmed = config, script[:done], to_the_end, True
        self._tried.add((config, self.script))
        self._accused = failure.names(world.peers.values())
        return True

    # What takes much away.

    def _shorten(self) -> None:
        if not any(operation[0] in LASTING for operation in self.script):
            return
        last = len(self.script) - 1
        if not any(self.fails(_all_shortened(self.script, times)) for times in FEW_TIMES) and self.script[last][0] in LASTING:
            any(self._replace(last, _all_shortened(self.script[last:], times)) for times in FEW_TIMES)  # it failed in there

    def _keep_accused(self) -> bool:
        return any(self._keep_one(peer) for peer in self._accused)

    def _keep_one(self, peer: int) -> bool:
        ways = product((True, False), repeat=2)
        return any(self.fails(_of_one(self.script, peer, calm=calm, talks=talks)) for calm, talks in ways)

    def _keep_the_last(self) -> None:
        script, size = self.script, 1
        while size < len(script) // 2:
            before, last = script[:-size], script[-size:]
            brought = set(chain.from_iterable(map(_brought_by, last)))
            peers = [peer for peer in _peers_in(last) if peer not in brought]
            came = [*(_connect(before, peer) for peer in peers), ROUND]
            if self.fails([*came, *_all_shortened(last, FEW_TIMES[0])]) or self.fails([*came, *last]):
                return
            size *= 2

    def _keep_few_peers(self) -> None:
        peers = _peers_in(self.script)
        if any(self._keep_one(peer) for peer in reversed(peers[-LATEST_PEERS:])):
            return
        size = len(peers) // 2
        while size:
            start = 0
            while start < len(peers):
                gone = peers[start : start + size]
                if self.fails(operation for operation in self.script if operation[0] in NAMELESS or operation[1] not in gone):
                    del peers[start : start + size]
                else:
                    start += size
            size //= 2

    def _tame(self) -> None:
        """Have each of what lasts be short, or not be there: the tries that follow cost less then."""
        lasting = [place for place, operation in enumerate(self.script) if operation[0] in LASTING]
        for place in reversed(lasting):
            ways = ([], *(list(_shortened(self.script[place], times)) for times in FEW_TIMES))
            any(self._replace(place, way) for way in ways)

    def _leave_out(self) -> None:
        size = max(1, len(self.script) // 2)
        while True:
            start, shorter = 0, False
            while start < len(self.script):
                if self.fails(self.script[:start] + self.script[start + size :]):
                    shorter = True
                else:
                    start += size
            if size == 1 and not shorter:
                return
            size = max(1, size // 2)

    # What makes it plain.

    def _make_plain(self) -> None:
        plain = replace(PLAIN, poller=self.config.poller)
        if self.config == plain or self.fails(self.script, plain):
            return
        for name, value in plain.as_dict().items():
            if getattr(self.config, name) != value:
                self.fails(self.script, replace(self.config, **{name: value}))

    def _take_apart(self) -> bool:
        """Give True if anything was."""
        before, place = self.script, 0
        while place < len(self.script):
            for parts in _parts_of(self.script[place], self.config.connections):
                if self._replace(place, parts):
                    break
            place += 1
        return self.script != before

    def _make_small(self) -> bool:
        """Give True if anything was."""
        before = self.script
        for place in range(len(self.script)):
            if place < len(self.script) and self.script[place][0] not in ERRNOS:
                arguments = KINDS[self.script[place][0]].arguments
                for number in range(len(arguments)):
                    self._make_one_small(place, number - len(arguments), arguments[number])
        return self.script != before

    def _make_one_small(self, place: int, number: int, choices: Sequence[object]) -> None:
        """Find the smallest of the choices that fails, as if all that are larger than one that fails did too."""
        operation = self.script[place]
        value = operation[number]
        smaller = sorted({choice for choice in choices if isinstance(choice, int) and isinstance(value, int) and choice < value})
        at = len(operation) + number
        bisect_left(smaller, True, key=lambda choice: self._replace(place, [(*operation[:at], choice, *operation[at + 1 :])]))

    def _number_anew(self) -> None:
        """Give the peers numbers from 1 on, in the order of their coming."""
        numbers: dict[int, int] = {}
        for peer in chain.from_iterable(map(_brought_by, self.script)):
            numbers.setdefault(peer, len(numbers) + 1)
        if any(peer != number for peer, number in numbers.items()):
            named = KINDS.keys() - NAMELESS | BRINGS.keys()
            self.fails(
                (operation[0], numbers.get(operation[1], operation[1]), *operation[2:]) if operation[0] in named else operation
                for operation in self.script
            )

    def _replace(self, place: int, parts: Sequence[Operation]) -> bool:
        return self.fails((*self.script[:place], *parts, *self.script[place + 1 :]))


def _brought_by(operation: Operation) -> range:
    """Give the numbers of the peers that an operation brings."""
    return range(operation[1], operation[1] + BRINGS[operation[0]]) if operation[0] in BRINGS else range(0)


def _peers_in(script: Iterable[Operation]) -> list[int]:
    """Give the peers that something is said of, the one that was spoken of last at the end."""
    latest: dict[int, None] = {}
    for operation in script:
        if operation[0] not in NAMELESS:
            latest.pop(operation[1], None)
            latest[operation[1]] = None
    return list(latest)


def _connect(script: Iterable[Operation], peer: int) -> Operation:
    """Give the operation that connects a peer; if it came in a crowd, one that would have done."""
    own = (operation for operation in script if operation[0] == "connect" and operation[1] == peer)
    return next(own, ("connect", peer, 0, 0))


def _of_one(script: Iterable[Operation], peer: int, *, calm: bool, talks: bool) -> Iterator[Operation]:
    """Give what concerns one peer, and rounds and time; unless it is to be `calm`, also what else concerns nobody.

    Of a crowd only this peer comes. If it `talks`, it goes on alone; otherwise only time passes.
    """
    for operation in script:
        match operation:
            case ("bustle", _, times, size_bytes, milliseconds):
                if peer in _brought_by(operation):
                    yield from (("connect", peer, 0, 0), ROUND)
                yield ("chat", peer, times, size_bytes, milliseconds) if talks else ("pass", times * milliseconds)
            case (name, *named):
                if (name in CLOCK or not calm) if name in NAMELESS else named[0] == peer:
                    yield operation


def _shortened(operation: Operation, times: int) -> Iterator[Operation]:
    """Give what lasts fewer times, but no less long."""
    match operation:
        case ("bustle" | "chat", _, often, _, milliseconds) if often > times:
            yield (*operation[:2], times, *operation[3:])
            yield ("pass", (often - times) * milliseconds)
        case ("flood", _, often):
            yield (*operation[:2], min(often, times))
        case _:
            yield operation


def _all_shortened(script: Iterable[Operation], times: int) -> list[Operation]:
    return list(chain.from_iterable(_shortened(operation, times) for operation in script))


def _parts_of(operation: Operation, connections: int) -> Iterator[Sequence[Operation]]:
    """Give what may stand in for an operation, the plainest first."""
    match operation:
        case ("bustle", first, times, size_bytes, milliseconds):
            crowd = range(first, first + min(CROWD, connections))
            comes = [*(("connect", peer, 0, 0) for peer in crowd), ROUND, ROUND]
            talks = [*(("say", peer, size_bytes) for peer in crowd), ROUND, *(("hear", peer, HEARS_BYTES) for peer in crowd)]
            yield comes
            for goes_on in FEWER_TIMES:
                yield comes + [*talks, ("pass", milliseconds)] * min(goes_on, times)
        case ("flood", peer, times):
            for goes_on in FEWER_TIMES:
                yield [("say", peer, FLOOD_BYTES), ROUND] * min(goes_on, times)
        case ("chat", peer, times, size_bytes, milliseconds):
            yield [("say", peer, size_bytes), ROUND]
            for goes_on in FEWER_TIMES:
                yield [("say", peer, size_bytes), ROUND, ("hear", peer, HEARS_BYTES), ("pass", milliseconds)] * min(goes_on, times)
        case ("jam", peer, milliseconds, _):
            yield [("stall", peer, milliseconds)]
            yield [("stay_open", peer)]
        case ("turn_away", peer):
            yield [("write_eof", peer)]
            yield [("pause", peer)]
        case ("pass", _):
            yield [ROUND]
        case ("jump", milliseconds):
            yield [ROUND]
            yield [("pass", milliseconds)]
