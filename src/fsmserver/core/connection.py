"""One connection's machine, free of input and output: it serves any loop, real or simulated.

How to drive it, each round of your own loop:

1. tell it what happened: `receive(data)`, `eof()`, `reset(error)`, `expire(limit)`;
2. give it what the application has to say: `enqueue(data)`, and `close()` when there is no more;
3. watch its socket for reading while `wants_read`, for writing while `wants_write`;
4. when the socket is writable, offer `flush()` to the kernel and say with `sent(count)` what it took;
5. when `wants_fin`, shut the socket down for writing and say `fin_sent()`;
6. when `closed`, close the socket; `close_reason` says why.

Each call has changed the state when it returns; there is nothing to poll and nothing is deferred. Times are handed in
(`now_s`, any monotonic clock, in seconds); who needs no deadlines leaves them out.
"""

from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, ClassVar, Final

from fsmserver.core import wording
from fsmserver.core.compiling import compiled
from fsmserver.core.errors import DeadlinePassed, IllegalTransition, LimitError, LingerOverrun, OutboxOverflow, OutboxSealed, UrgentData
from fsmserver.core.limits import DEFAULT, Limits
from fsmserver.core.outbox import Buffer, Outbox
from fsmserver.core.reasons import DEFAULT_WHO, CloseReason, Who
from fsmserver.core.states import Event, Hold, Interest, State
from fsmserver.core.table import (
    CONNECTION,
    DEADLINE,
    FOREVER,
    INTEREST,
    LINGERS,
    OWES_NOTHING,
    RECEIVED_RENEWS,
    WANTS_READ,
    WANTS_WRITE,
)  # fmt: skip

Observer = Callable[["ConnectionFSM", State, Event], None]
Hook = Callable[[Any], object]

ARROWS: Final = CONNECTION.arrows
# The usual message: bytes come to an open connection that holds nothing and owes nothing; the answer is queued, offered
# and taken whole. What the table says of this path is looked up here, once, so that who goes it need not walk the table:
# the short cuts of `receive` and `enqueue`, and the loop's short way (`runtime.scheduler`), which a property test holds
# to `fire`. Only machines that nobody watches, and whose methods are these, take it: see `usual_bytes`.
USUAL: Final = CONNECTION.after[Event.RECEIVE][State.READING]
REPLIED: Final = CONNECTION.after[Event.ENQUEUE][USUAL]
OFFERED: Final = CONNECTION.after[Event.FLUSH][REPLIED]
TAKEN: Final = CONNECTION.after[Event.DRAIN][OFFERED]
# So are the usual begin and end: open at once, and the peer's FIN while nothing is owed, upon which we close as well.
BORN: Final = CONNECTION.initial
OPENED: Final = CONNECTION.after[Event.OPEN][BORN]
ENDED: Final = CONNECTION.after[Event.EOF][USUAL]
FINISHED: Final = CONNECTION.after[Event.FINISH][ENDED]
SHORTENED: Final = ("fire", "open", "receive", "enqueue", "flush", "sent", "eof", "close")
"""The methods that the short way goes past; a subclass that has its own of one of them never takes it."""

READING: Final = State.READING
WRITING: Final = State.WRITING
CLOSED: Final = State.CLOSED
EOF: Final = Hold.EOF.value
FINISHING: Final = Hold.FINISHING.value
PAUSED: Final = Hold.PAUSED.value
BACKPRESSURE: Final = Hold.BACKPRESSURE.value
OVER: Final = EOF | FINISHING
assert DEADLINE[ENDED][EOF] != DEADLINE[USUAL][0], "the last byte begins another limit"
assert OWES_NOTHING[ENDED][OVER], "who has heard the last byte and closes with nothing queued has finished"

new_tuple: Final = tuple.__new__
# The members of an enumeration cost a call each where they are named by their class.
FINISH: Final = Event.FINISH
PEER: Final = Who.PEER
APPLICATION: Final = Who.APPLICATION


@compiled(allow_interpreted_subclasses=True)
class ConnectionFSM:
    """The state of one connection, its outbox and its holds.

    `state`, `outbox`, `received_bytes`, `close_reason` and `since_s` (when the limit that runs last began anew) are there
    to be read; only the methods change them. `fire` is the one door for events; the named methods go through it.

    Methods `on_exit_<state>` and `on_enter_<state>` of a subclass are called with no arguments before and after each
    transition, also where the state follows itself, as `transitions` does. What such a method does to the machine
    stands: a machine that was closed in one of them stays closed.

    `usual_bytes` and `turn_bytes` are for the loop's short way. The first is how long an answer may be that needs no second
    look, 0 where every transition has to go through the methods. The second is that much while the loop waits for the
    answer to what it has just delivered, and 0 again as soon as there is one, or anything else has happened.
    """

    __slots__ = (
        "_born_s", "_exchanges", "_fin_sent", "_finisher", "_high_bytes", "_holds", "_leaving", "_low_bytes", "_observer", "_told_marks",
        "_watched", "close_reason", "limits", "lingered_bytes", "outbox", "received_bytes", "since_s", "state", "turn_bytes", "usual_bytes",
    )  # fmt: skip

    _hooks: ClassVar[Mapping[str, Hook]] = {}
    _long: ClassVar[bool] = False  # each transition has to go by the methods: a subclass has its own, or hooks

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401 - what a subclass may say is not ours to know
        """Collect the hooks once, so that a machine without any pays nothing for them."""
        super().__init_subclass__(**kwargs)
        names = (f"on_{moment}_{state}" for moment in ("enter", "exit") for state in State)
        cls._hooks = {name: getattr(cls, name) for name in names if hasattr(cls, name)}
        cls._long = bool(cls._hooks) or any(getattr(cls, name) is not getattr(ConnectionFSM, name) for name in SHORTENED)

    def __init__(self, *, limits: Limits = DEFAULT, now_s: float = 0.0) -> None:
        """Begin in `accepted`, with an empty outbox and nothing held."""
        high_bytes = limits.outbox_high_bytes
        self.state = BORN
        self.limits = limits
        self.outbox = Outbox()
        self.received_bytes = 0
        self.lingered_bytes = 0
        self.close_reason: CloseReason | None = None
        self._holds = 0
        self._high_bytes = high_bytes
        self._low_bytes = limits.outbox_low_bytes
        self._born_s = self.since_s = now_s
        self._finisher: Who | None = None
        self._fin_sent = False
        self._leaving = False
        self._observer: Observer | None = None
        self._exchanges = False
        self._told_marks: tuple[int, int] | None = None  # the former ones, until the new ones are told
        self._watched = watched = self._long
        self.turn_bytes = 0
        self.usual_bytes = 0 if watched else high_bytes  # which is no more than the cap

    def _choose_way(self, *, short: bool) -> None:
        self.turn_bytes = 0
        self.usual_bytes = min(self._high_bytes, self.limits.outbox_cap_bytes) if short else 0

    # The one door.

    def fire(self, event: Event, *, error: BaseException | None = None, who: Who | None = None) -> None:
        """Move along the table: `event` happened. The methods below call this; call them unless you extend the table.

        Raises:
            IllegalTransition: `event` cannot happen in this state; nothing was changed.

        """
        origin = self.state
        destination = ARROWS[origin].get(event)
        if destination is None:
            raise self._illegal(event)
        self.turn_bytes = 0
        if self._hooks and not self._leave(origin):
            return
        self.state = destination
        if destination is CLOSED:
            lost_bytes = self.outbox.discard()
            self.usual_bytes = 0
            self.close_reason = CloseReason(who or DEFAULT_WHO[event], origin, event, error, lost_bytes)
        if self._observer is not None:
            self._observer(self, origin, event)
            if self._exchanges:  # the count of what was received is told with the next event
                self._told_marks = None
                self._choose_way(short=event is not Event.RECEIVE and self.state is not CLOSED)
        if self._hooks:
            self._run_hook(f"on_enter_{destination}")

    def _leave(self, origin: State) -> bool:
        """Run the exit hook; give False if it moved the machine itself: then that stands."""
        if not self._leaving:  # what the hook fires itself does not leave a second time
            self._leaving = True
            try:
                self._run_hook(f"on_exit_{origin}")
            finally:
                self._leaving = False
        return self.state is origin

    def _run_hook(self, name: str) -> None:
        hook = self._hooks.get(name)
        if hook is not None:
            hook(self)

    def _illegal(self, event: Event) -> IllegalTransition:
        return IllegalTransition(self.state, event, self.allowed())

    def allowed(self) -> tuple[Event, ...]:
        """List the events that can happen now."""
        return CONNECTION.legal(self.state)

    # What the network did.

    def open(self, now_s: float = 0.0) -> None:
        """Say that the handshake is done (for plain TCP: at once); the application may see the connection now."""
        if self.state is BORN and not self._watched:
            self.state = OPENED
        else:
            self.fire(Event.OPEN)
        self.since_s = now_s

    def receive(self, data: Sized, now_s: float = 0.0) -> bool:
        """Say that bytes came. Give True if the application is to see them; a lingering close throws them away.

        Raises:
            IllegalTransition: the connection is closed.

        """
        if self.state is USUAL and not self._holds and not self._watched:
            self.received_bytes += len(data)
            self.since_s = now_s
            return True
        self.fire(Event.RECEIVE)
        if self.state is CLOSED:
            return False  # by a hook
        self.received_bytes += len(data)
        if RECEIVED_RENEWS[self.state][self._holds]:
            self.since_s = now_s
        return not self._holds & FINISHING or self._linger(len(data))

    def _linger(self, count_bytes: int) -> bool:
        self.lingered_bytes += count_bytes
        if self.lingered_bytes > self.limits.linger_bytes:
            self.abort(LingerOverrun(self.limits.linger_bytes), who=Who.SERVER)
        return False

    def eof(self, now_s: float = 0.0, half_open: bool = False) -> None:  # noqa: FBT001, FBT002 - the loop saves a call's worth
        """Say that the peer will send no more. What is queued is still sent, then the connection finishes.

        With `half_open` it stays open for sending until `close()` (or `half_closed_s` passes).
        """
        if self.state is USUAL and not self._holds and not self._watched:
            self.turn_bytes = 0
            self.state = ENDED
            self._holds = EOF
            self.since_s = now_s
            if not half_open or self.outbox.sealed:
                self.close(now_s, PEER)
            return
        self.fire(Event.EOF)
        self._change_holds(self._holds | EOF, now_s)
        if not half_open or (self.outbox.sealed and not self.outbox.size_bytes):
            self.close(now_s, who=Who.PEER)
        if OWES_NOTHING[self.state][self._holds]:
            self._finish()

    def reset(self, error: BaseException | None = None) -> None:
        """Say that the socket failed; `error` is the cause (an OSError with its errno)."""
        self.fire(Event.RESET, error=error)

    def exceptional(self) -> None:
        """Say that the socket was in the exceptional set (urgent data) and that the policy is to close."""
        self.fire(Event.EXCEPTIONAL, error=UrgentData())

    def expire(self, limit: str) -> None:
        """Say that a deadline passed: `limit` is the name of a field of `Limits`, as `deadline` gives it.

        Raises:
            LimitError: there is no such deadline.

        """
        if not (limit.endswith("_s") and limit in Limits.__slots__):
            raise LimitError("limit", limit, "the name of a deadline, such as idle_s")
        self.fire(Event.EXPIRE, error=DeadlinePassed(limit, getattr(self.limits, limit)))

    # What the application wants.

    def enqueue(self, data: bytes, now_s: float = 0.0) -> bool:
        """Put `data` into the outbox; empty data changes nothing.

        Gives True if this took the outbox over its high mark: reading is held, and the application had better pause.

        Raises:
            IllegalTransition: the connection is not open yet, or closed.
            OutboxSealed: the end of the stream was declared before.
            OutboxOverflow: the hard cap would be exceeded; nothing of `data` was kept.

        """
        outbox = self.outbox
        size_bytes = len(data)
        if self.state is USUAL and not self._watched and not outbox.sealed and 0 < size_bytes <= self.usual_bytes:
            outbox.front = data
            outbox.size_bytes = size_bytes
            self.since_s = now_s
            self.turn_bytes = 0
            self.state = REPLIED
            return False
        return self._enqueue(data, size_bytes, now_s)

    def _enqueue(self, data: bytes, size_bytes: int, now_s: float) -> bool:
        if Event.ENQUEUE not in ARROWS[self.state]:
            raise self._illegal(Event.ENQUEUE)
        outbox = self.outbox
        if outbox.sealed:
            raise OutboxSealed
        before_bytes = outbox.size_bytes
        if before_bytes + size_bytes > self.limits.outbox_cap_bytes:
            raise OutboxOverflow(before_bytes, size_bytes, self.limits.outbox_cap_bytes)
        if not size_bytes:
            return False
        outbox.append(data)
        if not before_bytes:
            self.since_s = now_s
        self.fire(Event.ENQUEUE)
        return outbox.size_bytes > self._high_bytes and self._press()

    def close(self, now_s: float = 0.0, who: Who = APPLICATION) -> None:
        """Close gracefully: what is queued is sent, then FIN, then the peer's FIN is waited for (`linger_s`).

        On a connection that is closing or closed this changes nothing. Before `open` there is nothing to be graceful
        about: the connection is aborted.
        """
        state = self.state
        if state is ENDED and self._holds == EOF and not self._watched:
            self._holds = OVER
            self.turn_bytes = self.usual_bytes = 0
            self._finisher = who
            self.outbox.sealed = True
            self.state = FINISHED
            self.close_reason = new_tuple(CloseReason, (who, state, FINISH, None, 0))  # CloseReason() costs four times as much
        elif state is State.ACCEPTED:
            self.abort(who=who)
        elif state is not CLOSED and not self._holds & FINISHING:
            self._finisher = who
            self.outbox.sealed = True
            self._change_holds(self._holds | FINISHING, now_s)
            if OWES_NOTHING[self.state][self._holds]:
                self._finish()

    def write_eof(self, now_s: float = 0.0) -> None:
        """Queue the end of the outgoing stream behind what is queued; receiving goes on. Once is enough."""
        if self.state is State.ACCEPTED:
            raise self._illegal(Event.ENQUEUE)
        self.outbox.sealed = True
        self.turn_bytes = 0
        if self._holds & EOF and not self.outbox.size_bytes:
            self.close(now_s)

    def abort(self, error: BaseException | None = None, *, who: Who = Who.APPLICATION) -> None:
        """Give the connection up now; what is queued is lost, and counted in the close reason.

        Raises:
            IllegalTransition: the connection is closed already.

        """
        self.fire(Event.ABORT, error=error, who=who)

    def pause(self, now_s: float = 0.0) -> None:
        """Stop reading until `resume()`."""
        self._change_holds(self._holds | PAUSED, now_s)

    def resume(self, now_s: float = 0.0) -> None:
        """Take back `pause()`."""
        self._change_holds(self._holds & ~PAUSED, now_s)

    def set_marks(self, high_bytes: int, low_bytes: int) -> bool:
        """Set this connection's own watermarks: over `high_bytes` reading is held, until down to `low_bytes`.

        Gives True if the outbox is over the new high mark and was not over the old one.

        Raises:
            LimitError: not 0 <= low <= high.

        """
        if not 0 <= low_bytes <= high_bytes:
            raise LimitError("low_bytes", low_bytes, f"between 0 and high_bytes, {high_bytes}")
        if self._exchanges:
            self._told_marks = self.told_marks
        self._high_bytes, self._low_bytes = high_bytes, low_bytes
        self._choose_way(short=not self._watched)  # and where there is one who watches, the next event tells them
        return self.outbox.size_bytes > high_bytes and self._press()

    def _press(self) -> bool:
        fresh = not self._holds & BACKPRESSURE
        self._holds |= BACKPRESSURE
        return fresh

    @property
    def marks(self) -> tuple[int, int]:
        """The low and the high watermark, in bytes."""
        return self._low_bytes, self._high_bytes

    @property
    def told_marks(self) -> tuple[int, int]:
        """The marks that were in force at the last event that an observer of exchanges was told of, the low one first."""
        return self._told_marks or self.marks

    # Sending.

    def flush(self) -> Sequence[Buffer]:
        """Take the outbox's front, as at most `IOV_MAX` buffers, to the kernel. After this call `sent` must follow.

        Raises:
            IllegalTransition: there is nothing to send.

        """
        self.fire(Event.FLUSH)
        return self.outbox.peek()

    def sent(self, count_bytes: int, now_s: float = 0.0) -> bool:
        """Say how much of what `flush` gave the kernel took: from 0 (it would block) to all of it.

        Gives True if this took the outbox down to its low mark after it was over the high one: the application may resume.

        Raises:
            IllegalTransition: nothing was being written.
            ValueError: more than the outbox holds; nothing was changed.

        """
        if self.state is not WRITING:
            raise self._illegal(Event.DRAIN)
        outbox = self.outbox
        outbox.take(count_bytes)
        if count_bytes:
            self.since_s = now_s
        eased = self._holds & BACKPRESSURE and self._ease()
        if not outbox.size_bytes:
            self.fire(Event.DRAIN)
            if outbox.sealed:
                self._after_last_byte(now_s)
        return bool(eased)

    def _ease(self) -> bool:
        low_enough = self.outbox.size_bytes <= self._low_bytes
        if low_enough:
            self._holds &= ~BACKPRESSURE
        return low_enough

    def _after_last_byte(self, now_s: float) -> None:
        if self._holds & EOF:
            self.close(now_s, who=Who.PEER)
        if OWES_NOTHING[self.state][self._holds]:
            self._finish()

    @property
    def wants_fin(self) -> bool:
        """Whether all is sent and the end of the stream is declared: shut down writing, then say `fin_sent()`."""
        return self.outbox.sealed and self.state is READING and not self._fin_sent

    def fin_sent(self) -> None:
        """Say that the socket was shut down for writing."""
        self._fin_sent = True

    # Holds, and what follows from them.

    def _change_holds(self, holds: int, now_s: float) -> None:
        if self.state is not CLOSED:
            limits, before = DEADLINE[self.state], self._holds
            self._holds = holds
            self.turn_bytes = 0
            if limits[before] != limits[holds]:
                self.since_s = now_s

    def _finish(self) -> None:
        self.fire(Event.FINISH, who=self._finisher)

    @property
    def holds(self) -> Hold:
        """The reasons not to read that are in force."""
        return Hold(self._holds)

    @property
    def interest(self) -> Interest:
        """What the poller must watch now."""
        return INTEREST[self.state][self._holds]

    @property
    def wants_read(self) -> bool:
        """Whether the socket belongs in the set that is watched for reading."""
        return WANTS_READ[self.state][self._holds]

    @property
    def wants_write(self) -> bool:
        """Whether the socket belongs in the set that is watched for writing."""
        return WANTS_WRITE[self.state][self._holds]

    @property
    def wants_flush(self) -> bool:
        """Whether the outbox holds bytes of which the kernel was offered none since it was empty."""
        return self.state is State.QUEUED

    @property
    def closed(self) -> bool:
        """Whether it is over; then `close_reason` is set."""
        return self.state is CLOSED

    @property
    def closing(self) -> bool:
        """Whether a graceful close is under way, or it is over."""
        return bool(self._holds & FINISHING) or self.state is CLOSED

    @property
    def paused(self) -> bool:
        """Whether the application has paused reading."""
        return bool(self._holds & PAUSED)

    @property
    def all_sent(self) -> bool:
        """Whether it is closed and, of a graceful close, only the peer's FIN was still waited for: nothing was lost."""
        reason = self.close_reason
        return reason is not None and LINGERS[reason.state][self._holds & ~EOF]

    @property
    def deadline(self) -> str:
        """The name of the limit that runs now, or `for ever`; `due()` also knows the lifetime."""
        return DEADLINE[self.state][self._holds]

    def due(self) -> tuple[str, float]:
        """Give the name of the limit that ends this connection next and when, in the clock's seconds (inf: never)."""
        limit = DEADLINE[self.state][self._holds]
        if limit == FOREVER:  # not `is`: compiled, each module has its own
            return limit, float("inf")
        due_s = self.since_s + getattr(self.limits, limit)
        over_s = self._born_s + self.limits.lifetime_s
        return ("lifetime_s", over_s) if over_s < due_s else (limit, due_s)

    # Watching and words.

    def observe(self, observer: Observer | None, *, exchanges: bool = False) -> None:
        """Have `observer(fsm, origin, event)` called after each transition, once the state is the new one; None ends that.

        With `exchanges` the loop may take its short way all the same: then it tells of a usual message in one piece itself.
        It goes by the methods again where that would not tell all: after a `receive` and where marks were set, until the next event.
        """
        own = self._long
        self._observer = observer
        self._exchanges = exchanges and observer is not None and not own
        self._watched = own or observer is not None
        self._choose_way(short=not own and (exchanges or observer is None))

    def tell_all(self) -> None:
        """Go by the methods until the observer was told of the next event: what the loop delivered last has not been answered."""
        self._choose_way(short=False)

    def explain(self, now_s: float | None = None) -> str:
        """Say in a sentence what the connection is doing and what it waits for; with `now_s` also for how long."""
        return wording.explain(self, None if now_s is None else now_s - self.since_s, now_s)

    def __repr__(self) -> str:
        """Show the state, what the outbox holds and the holds."""
        return wording.describe(self)
