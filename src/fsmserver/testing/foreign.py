"""Drive an echo server that knows nothing of us: peers act by a script, the server waits, and what came of it is judged.

Such a program calls select, poll or epoll and never returns. So its waits are where the world turns: before each wait, and
whenever nothing is ready, the next operations of the peers are done, until the program has something to do again. Once the
script is over the faults stop and the questions are asked that any echo server has to answer:

| finding | the server ... |
|---|---|
| `dies` | raised what nobody handles |
| `returns` | stopped serving by itself |
| `spins` | waited again and again: no time passed, no byte moved, no connection came or went |
| `blocks` | made a call that waits for one peer, on a socket in blocking mode |
| `garbles` | sent a peer what it had not said, or not in that order |
| `forgets` | did not send back all that a peer said which stayed to hear it |
| `forgets after the end` | the same, to a peer that had sent FIN and went on receiving |
| `closes` | closed the connection of a peer that had neither ended nor failed |
| `hoards` | kept more of one peer's bytes in memory than `held_bytes` |
| `deafens` | did not serve a newcomer afterwards |
| `leaks` | had descriptors open that it had not before, when all peers were gone |

A peer is owed nothing if it left, reset, or was lost by the network; nor if it was refused for want of a descriptor, or
because select cannot watch descriptors from 1024 on. Urgent bytes may come back or not: both are right. A script may let some
minutes pass: a server that closes idle connections sooner is found to close them.

At the end the wait raises a private BaseException that unwinds the program, so that its `finally` clauses run.

    report = drive(lambda: main("127.0.0.1", 8008), SimKernel(), [("connect", 0), ("say", 0, 100), ("round",), ("cut", 0)])
    print(report.findings)

`foreign_search` does this with scripts from seeds, and reduces what it finds.
"""

from __future__ import annotations

import errno
import linecache
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from fsmserver.testing.faults import Delay, Fail, Fault, Short
from fsmserver.testing.foreign_peers import PATTERN_BYTES, EchoPeer, PeerReport
from fsmserver.testing.foreign_scripts import HELD_BYTES, SIZES
from fsmserver.testing.patching import patched
from fsmserver.testing.stream import Stream
from fsmserver.testing.system import FD_SETSIZE, WaitsForEver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fsmserver.testing.kernel import SimKernel
    from fsmserver.testing.operations import Operation

Program: TypeAlias = "Callable[[], object]"

SPIN_WAITS: Final = 100
"""So many waits in a row that lead to nothing are a spin. asyncio makes up to five for its own housekeeping."""

PATIENCE_S: Final = 60.0
"""How long the program may take for its own timers, such as the second for which asyncio rests after EMFILE."""

UNWINDING_WAITS: Final = 1000
"""How often a program may wait while it unwinds: asyncio cancels its tasks."""

NEWCOMER: Final = -1
"""The number of the peer that comes when the script is over."""

_OURS: Final = str(Path(__file__).parent)


# What came of it.


class Finding(NamedTuple):
    """What is wrong with a server: one of the kinds of the table above, and where or how much."""

    kind: str
    place: str = ""
    """The same for the same fault, so that it can be told from others: for `dies` the exception and the line."""

    def __str__(self) -> str:
        """Say it: `dies: KeyError in main: queues[s].get()`."""
        return f"{self.kind}: {self.place}" if self.place else self.kind


@dataclass(frozen=True, slots=True)
class Report:
    """What came of driving a program through a script."""

    outcome: str
    """`served` to the end, or the finding that ended it: `dies`, `returns`, `spins`, `blocks`."""
    place: str
    error: BaseException | None
    peers: tuple[PeerReport, ...]
    most_held_bytes: int
    """The most that the program had received from one peer and not sent back to it."""
    newcomer_served: bool
    left_open: tuple[int, ...]
    operations: int
    waits: int
    seconds: float
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        """Say it in one line."""
        what = "; ".join(map(str, self.findings)) or "nothing wrong"
        return f"{what} ({self.operations} operations, {self.waits} waits, {self.seconds:g} simulated seconds)"


class _Enough(BaseException):
    """Unwinds the program: nothing that it catches by the name of Exception may keep it."""


class _Until(Enum):
    """What the story of the peers waits for."""

    WAIT = auto()
    """The program's next wait."""
    IDLE = auto()
    """The program having nothing to do."""
    TIME = auto()
    """Time passing: to the next thing under way, or to the end of the program's wait."""
    TIME_PASSES = auto()
    ALARM = auto()


class _Alarm:
    """Something to wait for."""

    def __init__(self, kernel: SimKernel, seconds: float) -> None:
        self.rung = False
        kernel.later(seconds, self)

    def release(self) -> None:
        self.rung = True


class _Journal(list[Any]):
    """The kernel's log, which passes on what it is told."""

    def __init__(self, tell: Callable[[str, int, int], None]) -> None:
        super().__init__()
        self._tell = tell

    def append(self, entry: tuple[int, str, int, int]) -> None:
        self._tell(*entry[1:])


class _Drive:
    """One program, one kernel, one script."""

    def __init__(self, kernel: SimKernel, operations: Iterable[Operation], held_bytes: int) -> None:
        self.kernel = kernel
        self.operations = operations
        self.held_bytes = held_bytes
        self.peers: dict[int, EchoPeer] = {}
        self.address: Any = None
        self.outcome = ""
        self.place = ""
        self.error: BaseException | None = None
        self.held: dict[int, int] = {}
        self.most_held_bytes = 0
        self.newcomer_served = False
        self.left_open: tuple[int, ...] = ()
        self.done = 0
        self.waits = 0
        self.fruitless_waits = 0
        self.fruitless_calls = 0
        self.unwinding_waits = 0
        self.reports: dict[int, PeerReport] = {}
        self.alarm: _Alarm | None = None
        self.until = _Until.IDLE
        self.story = self._story()

    def run(self, program: Program) -> Report:
        kernel, system = self.kernel, self.kernel.system
        began_s = kernel.clock()
        system.before_wait, system.when_idle = self._before_wait, self._when_idle
        kernel.log = _Journal(self._see)
        try:
            with patched(kernel):
                program()
        except (_Enough, WaitsForEver):
            pass  # WaitsForEver: nobody can come, for it listens nowhere
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever kills it is what is looked for
            if not self.outcome:
                self.outcome, self.place, self.error = "dies", place_of(error), error
        finally:
            system.before_wait = system.when_idle = kernel.log = None
        if self.address is None and self.outcome in ("", "served"):
            raise ValueError("the program listens nowhere: there is nobody to drive it")
        self.outcome = self.outcome or "returns"
        self.reports = {number: peer.report() for number, peer in self.peers.items()} | self.reports
        return Report(
            self.outcome, self.place, self.error, self._peer_reports(), self.most_held_bytes, self.newcomer_served,
            self.left_open, self.done, self.waits, kernel.clock() - began_s, tuple(self._findings()),
        )  # fmt: skip

    def _peer_reports(self) -> tuple[PeerReport, ...]:
        return tuple(report for number, report in self.reports.items() if number != NEWCOMER)

    # Where the world turns.

    def _before_wait(self) -> None:
        self.waits += 1
        if self.outcome:
            self._unwind()
            return
        self.fruitless_waits += 1
        if self.fruitless_waits > SPIN_WAITS:
            self._end("spins")
        if self.until in (_Until.WAIT, _Until.TIME_PASSES) or (self.until is _Until.ALARM and self._rung):
            self._go_on()

    def _when_idle(self) -> bool:
        if self.outcome:
            raise _Enough
        if self.until is _Until.TIME:
            self.until = _Until.TIME_PASSES
            self._progress()
            return False
        if self.until is _Until.ALARM and not self._rung:
            self._progress()  # time will pass
            return False
        self._go_on()
        return True

    @property
    def _rung(self) -> bool:
        return self.alarm is not None and self.alarm.rung

    def _unwind(self) -> None:
        """Interrupt the program once; then let it wait for what it has to do, but not for ever."""
        self.unwinding_waits += 1
        if self.unwinding_waits == 1 or self.unwinding_waits > UNWINDING_WAITS:
            raise _Enough

    def _go_on(self) -> None:
        try:
            self.until = next(self.story)
        except StopIteration:
            self._end("served")

    def _end(self, outcome: str) -> None:
        """Unwind the program from a wait."""
        self.outcome = outcome
        self.unwinding_waits = 1
        raise _Enough

    def _end_in(self, call: str, outcome: str) -> None:
        """Unwind the program from a call; asyncio keeps that from happening, so its next wait does it."""
        self.outcome, self.place = outcome, call
        raise _Enough

    def _progress(self) -> None:
        self.fruitless_waits = self.fruitless_calls = 0

    def _see(self, call: str, fd: int, outcome: int) -> None:
        """Learn of a call of the program: its outcome is a size, or minus an errno."""
        if outcome < 0:
            self._see_failure(call, fd, -outcome)
            return
        if call == "accept":
            self.held[outcome] = 0
            self._see_accepted(outcome)
        elif call == "close":
            self.held.pop(fd, None)
        elif fd in self.held:  # a connection, and not a pair of the program's own
            self.held[fd] += outcome if call == "recv" else -outcome
            self.most_held_bytes = max(self.most_held_bytes, self.held[fd])
        if outcome or call not in ("recv", "send", "sendmsg"):
            self._progress()

    def _see_failure(self, call: str, fd: int, number: int) -> None:
        owner = self.kernel.open.get(fd)
        if number == errno.EAGAIN and getattr(owner, "blocking", False) and not self.outcome:
            self._end_in(call, "blocks")
        if call == "accept" and number in (errno.EMFILE, errno.ENFILE):
            for peer in self.peers.values():
                peer.excused |= self._is_outside(peer)
        self.fruitless_calls += 1
        if self.fruitless_calls > SPIN_WAITS * (2 + len(self.kernel.open)) and not self.outcome:
            self._end_in(call, "spins")

    def _see_accepted(self, fd: int) -> None:
        if fd >= FD_SETSIZE:
            stream = self.kernel.open[fd].stream
            for peer in self.peers.values():
                peer.excused |= peer.stream.peer is stream

    # What the peers do.

    def _story(self) -> Iterator[_Until]:
        latest_s = self.kernel.clock() + PATIENCE_S
        while not self.kernel.ports:
            if self.kernel.clock() >= latest_s:
                return
            yield _Until.TIME
        self.address = next(iter(self.kernel.ports))
        before = set(self.kernel.open)
        for operation in self.operations:
            self._progress()
            self.done += 1
            yield from self._perform(*operation)
        yield _Until.IDLE  # the last of them have their effect
        self.kernel.calm()
        yield from self._questions(before)

    def _questions(self, before: set[int]) -> Iterator[_Until]:
        """Ask what any server has to answer: of the peers there are, of a newcomer, of what is left behind."""
        waiting = set(self.peers)
        while waiting:  # where descriptors are few, those who are in have to leave before others can come in
            yield from self._settle(self._all_served)
            served = {number for number in waiting if not self._is_outside(self.peers[number])} or waiting
            yield from self._dismiss(served)
            waiting -= served
        yield from self._serve_newcomer()
        yield from self._settle(lambda: not self._left(before))
        self.left_open = self._left(before)

    def _serve_newcomer(self) -> Iterator[_Until]:
        if self.address not in self.kernel.ports:
            return
        newcomer = self.peers[NEWCOMER] = EchoPeer(NEWCOMER, self.kernel.connect(self.address))
        newcomer.say(SIZES[2])
        yield from self._settle(lambda: newcomer.complete)
        self.newcomer_served = newcomer.complete or not newcomer.owed
        yield from self._dismiss({NEWCOMER})

    def _dismiss(self, numbers: set[int]) -> Iterator[_Until]:
        """Take note of what became of these peers, and have them leave."""
        for number in sorted(numbers):
            self.reports[number] = self.peers[number].report()
            self.peers[number].leave(Stream.close)
        yield from self._settle(lambda: True)

    def _all_served(self) -> bool:
        room = self.kernel.has_descriptor
        return all(peer.complete for peer in self._here if room or not self._is_outside(peer))

    def _is_outside(self, peer: EchoPeer) -> bool:
        queue = self.kernel.ports.get(self.address)
        return queue is not None and peer.stream.peer in (*queue.backlog, *queue.waiting)

    @property
    def _here(self) -> list[EchoPeer]:
        return [peer for peer in self.peers.values() if peer.owed]

    def _left(self, before: set[int]) -> tuple[int, ...]:
        return tuple(sorted(set(self.kernel.open) - before))

    def _settle(self, done: Callable[[], bool]) -> Iterator[_Until]:
        """Let the program work, all peers listening, until `done`, or until patience ends."""
        self.alarm = _Alarm(self.kernel, PATIENCE_S)
        while True:
            yield _Until.IDLE
            self._progress()
            if sum([peer.hear(1 << 20) for peer in self.peers.values()]):
                continue
            if done() or self._rung:
                return
            yield _Until.TIME

    def _perform(self, name: str, *arguments: int) -> Iterator[_Until]:
        if name == "round":
            yield _Until.WAIT
        elif name == "pass":
            self.alarm = _Alarm(self.kernel, arguments[0] / 1000)
            yield _Until.ALARM
        elif name == "fail_accept":
            self.kernel.inject(Fault("accept", Fail(arguments[0])))
        elif name == "connect":
            if arguments[0] not in self.peers and self.address in self.kernel.ports:
                self.peers[arguments[0]] = EchoPeer(arguments[0], self.kernel.connect(self.address))
        elif (peer := self.peers.get(arguments[0])) is not None and not peer.gone:
            yield from self._perform_of(peer, name, *arguments[1:])

    def _perform_of(self, peer: EchoPeer, name: str, *arguments: int) -> Iterator[_Until]:
        fd = peer.stream.peer.fd
        match name, arguments:
            case "say", (size_bytes,):
                peer.say(size_bytes)
            case "hear", (size_bytes,):
                peer.hear(size_bytes)
            case "urge", ():
                peer.urge()
            case "end", ():
                peer.end()
            case "leave", ():
                peer.leave(Stream.close)
            case "cut", ():
                peer.leave(Stream.reset)
            case "lose", (number,):
                peer.leave(lambda stream: self.kernel.lose(stream, number))
            case "flood", (size_bytes,):
                yield from self._flood(peer, size_bytes)
            case "false_report", (bits,):
                queue = self.kernel.ports.get(self.address)
                self.kernel.report_falsely(fd if fd >= 0 or queue is None else queue.fd, bits)
            case "short_send", (size_bytes, times) if fd >= 0:
                self.kernel.inject(Fault("send", Short(size_bytes), fd=fd, times=times))
                self.kernel.inject(Fault("sendmsg", Short(size_bytes), fd=fd, times=times))
            case "split", (size_bytes,) if fd >= 0:
                self.kernel.inject(Fault("deliver", Short(size_bytes), fd=fd))
            case "delay", (milliseconds,) if fd >= 0:
                self.kernel.inject(Fault("deliver", Delay(milliseconds / 1000), fd=fd))

    def _flood(self, peer: EchoPeer, size_bytes: int) -> Iterator[_Until]:
        while size_bytes > 0 and (count_bytes := peer.say(min(size_bytes, PATTERN_BYTES))):
            size_bytes -= count_bytes
            self._progress()
            yield _Until.IDLE

    # What is wrong.

    def _findings(self) -> Iterator[Finding]:
        if self.outcome != "served":
            yield Finding(self.outcome, self.place)
        if not all(each.in_order for each in self.reports.values()):
            yield Finding("garbles")
        if self.most_held_bytes > self.held_bytes:
            yield Finding("hoards")
        if self.outcome != "served":
            return
        owed = [each for each in self.reports.values() if each.owed and each.in_order]
        if any(each.closed_on for each in owed):
            yield Finding("closes")
        if any(not each.complete and not each.ended and not each.closed_on for each in owed):
            yield Finding("forgets")
        if any(not each.complete and each.ended for each in owed):
            yield Finding("forgets after the end")
        if not self.newcomer_served:
            yield Finding("deafens")
        if self.left_open:
            yield Finding("leaks")


def place_of(error: BaseException) -> str:
    """Name an exception and the line of the program that it came from: `KeyError in main: queues[s].get()`."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith(_OURS):
            place = f" in {code.co_name}: {linecache.getline(code.co_filename, trace.tb_lineno).strip()}"
        trace = trace.tb_next
    return type(error).__name__ + place


def drive(program: Program, kernel: SimKernel, operations: Iterable[Operation], *, held_bytes: int = HELD_BYTES) -> Report:
    """Run `program` on `kernel`, with peers that do `operations`, each one connecting to the first port it listens on.

    `program` is called once, in this thread, under `patched(kernel)`. It is unwound by a BaseException at the end.

    Raises:
        ValueError: it waits without listening.

    """
    return _Drive(kernel, operations, held_bytes).run(program)
