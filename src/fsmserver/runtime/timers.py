"""Time in the loop: lazy deadlines for connections, exact timers for callbacks.

A deadline is armed once and not moved when bytes do: when its moment comes, the connection is asked what is due, and
the deadline is armed again for later if it has moved on. So a message costs no timer work at all.
"""

import heapq
import math
from collections.abc import Callable
from typing import Any, Final

TICK_S: Final = 1 / 16
"""Deadlines fire at most this late, and never early: what is measured in seconds need not be exact to a millisecond."""


NEVER_TICK: Final = 0
"""The tick of what is not armed. Real ticks begin at 1."""


class Dated:
    """What a deadline can be armed for: a number of its own, and the tick that it is armed for."""

    __slots__ = ("armed_tick", "number")

    def __init__(self, number: int) -> None:
        """Begin with no deadline."""
        self.number = number
        self.armed_tick = NEVER_TICK


class Agenda:
    """When the loop has something to do besides what the poller reports: `next_s`, the one time it looks at in each round.

    Who has something to do earlier says so; too early does no harm.
    """

    __slots__ = ("next_s",)

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self.next_s = math.inf

    def at_once(self) -> None:
        """Have this round not end before it is done."""
        self.next_s = -math.inf

    def by(self, when_s: float) -> None:
        """Have the loop look no later than `when_s`."""
        self.next_s = min(self.next_s, when_s)


class Deadlines:
    """A calendar of ticks: arming, disarming and firing cost the same however many there are."""

    def __init__(self, agenda: Agenda | None = None) -> None:
        """Begin with nothing armed; `agenda` is told of what comes next."""
        self._agenda = Agenda() if agenda is None else agenda
        self._pages: dict[int, dict[int, Any]] = {}
        self._ticks: list[int] = []
        self.next_s = math.inf

    def __len__(self) -> int:
        """Count what is armed."""
        return sum(len(page) for page in self._pages.values())

    def arm(self, dated: Dated, when_s: float) -> None:
        """See to it that `dated` comes due no later than a tick after `when_s`; an earlier date stands."""
        if when_s == math.inf:
            return
        tick = math.ceil(when_s / TICK_S)
        if tick < 1:  # noqa: PLR1730 - max() costs a call for each connection
            tick = 1
        armed_tick = dated.armed_tick
        if armed_tick == NEVER_TICK or tick < armed_tick:
            if armed_tick != NEVER_TICK:
                del self._pages[armed_tick][dated.number]
            page = self._pages.get(tick)
            if page is None:
                page = self._begin_page(tick)
            page[dated.number] = dated
            dated.armed_tick = tick

    def _begin_page(self, tick: int) -> dict[int, Any]:
        page = self._pages[tick] = {}
        heapq.heappush(self._ticks, tick)
        self.next_s = self._ticks[0] * TICK_S
        self._agenda.by(self.next_s)
        return page

    def disarm(self, dated: Dated) -> None:
        """Forget the date of `dated`, if it has one."""
        if dated.armed_tick != NEVER_TICK:
            del self._pages[dated.armed_tick][dated.number]
            dated.armed_tick = NEVER_TICK

    def due(self, now_s: float, most: int) -> list[Any]:
        """Take out what has come due, at most `most` at a time; what is left comes first the next time."""
        due: list[Any] = []
        while self.next_s <= now_s and len(due) < most:
            page = self._pages[self._ticks[0]]
            while page and len(due) < most:
                dated = page.pop(next(iter(page)))
                dated.armed_tick = NEVER_TICK
                due.append(dated)
            if not page:
                del self._pages[heapq.heappop(self._ticks)]
                self.next_s = self._ticks[0] * TICK_S if self._ticks else math.inf
        return due


LEAST_SWEEP: Final = 64
"""A heap smaller than this is not searched for cancelled timers."""


class Handle:
    """A callback that was asked for; `cancel()` takes it back."""

    __slots__ = ("_args", "_callback", "owner", "when_s")

    def __init__(self, when_s: float, callback: Callable[..., object], args: tuple[Any, ...], owner: object) -> None:
        """Keep what to call, when, and for whom."""
        self.when_s = when_s
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self.owner = owner

    def cancel(self) -> None:
        """Never call it; after it was called, or the second time, this does nothing."""
        self._callback, self._args, self.owner = None, (), None

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled, or has been called."""
        return self._callback is None

    def run(self) -> None:
        """Call it, once."""
        callback, args = self._callback, self._args
        if callback is not None:
            self._callback, self._args = None, ()
            callback(*args)

    def __repr__(self) -> str:
        """Show what would be called and when."""
        what = "over" if self._callback is None else repr(self._callback)
        return f"<Handle {what} at {self.when_s:.3f} s>"


class Timers:
    """Timers of callbacks, in the order of their times and, at the same time, of their asking."""

    def __init__(self, agenda: Agenda | None = None) -> None:
        """Begin with none; `agenda` is told of what comes next."""
        self._agenda = Agenda() if agenda is None else agenda
        self._heap: list[tuple[float, int, Handle]] = []
        self._count = 0
        self._sweep_at = LEAST_SWEEP
        self.next_s = math.inf

    def __len__(self) -> int:
        """Count the timers that will still be called."""
        return sum(not handle.cancelled for _, _, handle in self._heap)

    def add(self, handle: Handle) -> None:
        """Have `handle` come due at its time. Whenever the heap has doubled, the cancelled ones are thrown out."""
        if len(self._heap) >= self._sweep_at:
            self._heap = [entry for entry in self._heap if not entry[2].cancelled]
            heapq.heapify(self._heap)
            self._sweep_at = max(LEAST_SWEEP, 2 * len(self._heap))
        self._count += 1
        heapq.heappush(self._heap, (handle.when_s, self._count, handle))
        self.next_s = self._heap[0][0]
        self._agenda.by(self.next_s)

    def due(self, now_s: float, most: int) -> list[Handle]:
        """Take out what has come due, at most `most` at a time. What these add is not among them."""
        due: list[Handle] = []
        while self._heap and self._heap[0][0] <= now_s and len(due) < most:
            handle = heapq.heappop(self._heap)[2]
            if not handle.cancelled:
                due.append(handle)
        self.next_s = self._heap[0][0] if self._heap else math.inf
        return due
