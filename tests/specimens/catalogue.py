"""Our own server with one fault each: what the tools of `fsmserver.testing` must find without being told.

Each specimen is a real failure of some server or loop, put into the shipped scheduler, link, listener or machine as a small patch that
lasts as long as a `with` block. The rest is the shipped code. Nothing in the tools knows of them: what finds them is what
must hold of any server. `python -m tests.specimens` says what was found by which tool, after how much work.

A patch is a function that takes the original of one attribute and gives what stands in for it:

    @specimen("a partial send is sent again", "...", "what goes wrong, in one sentence", ConnectionFSM, "sent")
    def _(original): ...

The loop's short way goes past some methods. Where the fault is in one of these, `short_way=False` keeps connections off it, as a
machine or a socket of one's own does.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from fsmserver.core import connection as connection_module
from fsmserver.core import reasons
from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.errors import OutboxOverflow
from fsmserver.core.reasons import ErrnoClass
from fsmserver.core.states import Event, Hold, Interest, ListenerEvent, ListenerState, State
from fsmserver.core.table import DEADLINE, FOREVER, OWES_NOTHING
from fsmserver.runtime import link as link_module
from fsmserver.runtime.handshake import Gate, Handshake
from fsmserver.runtime.link import Link
from fsmserver.runtime.listener import Listener
from fsmserver.runtime.pollers import EpollPoller, PollPoller, SelectPoller
from fsmserver.runtime.ports import ERROR, READABLE
from fsmserver.runtime.scheduler import Scheduler
from fsmserver.runtime.timers import NEVER_TICK, Deadlines
from fsmserver.runtime.transport import Transport

Patch: TypeAlias = Callable[[Any], Any]
"""Takes the original of an attribute, gives what stands in for it."""

POLLERS: Final = (SelectPoller, PollPoller, EpollPoller)
CLEAN_UP_S: Final = 0.05


@dataclass(frozen=True)
class Specimen:
    """One fault: its name, where it was met, what goes wrong, and which attributes of which owners are replaced by what."""

    name: str
    reported: str
    about: str
    places: tuple[tuple[Any, str, Patch], ...]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the fault in the server as long as the block lasts."""
        originals = [vars(owner)[name] for owner, name, _ in self.places]
        for (owner, name, patch), original in zip(self.places, originals, strict=True):
            setattr(owner, name, patch(original))
        try:
            yield
        finally:
            for (owner, name, _), original in zip(self.places, originals, strict=True):
                setattr(owner, name, original)


CATALOGUE: Final[dict[str, Specimen]] = {}


def specimen(name: str, reported: str, about: str, owner: Any, attribute: str, *, short_way: bool = True) -> Callable[[Patch], Patch]:
    """Put a patch into the catalogue. A tuple of owners means the same attribute of each."""

    def enter(patch: Patch) -> Patch:
        owners = owner if isinstance(owner, tuple) else (owner,)
        places = [(each, attribute, patch) for each in owners]
        if not short_way:
            places.append((Link, "choose_way", lambda _: _stay_off_the_short_way))
        CATALOGUE[name] = Specimen(name, reported, about, tuple(places))
        return patch

    return enter


def _stay_off_the_short_way(_: Link) -> None:
    """Leave the connection's place in the loop's list empty: its methods serve it."""


# What a closed connection leaves behind.


@specimen(
    "output registration left behind",
    "the tutorial; waitress 0.9's 100 % CPU",
    "When the last byte is sent, the socket stays in the set that is watched for writing, and every wait returns at once.",
    Link,
    "_adapt",
)
def _(original: Any) -> Any:
    def adapt(self: Link) -> None:
        if not self.registered & Interest.WRITE.value or self.fsm.wants_write:
            original(self)

    return adapt


@specimen(
    "input registration left behind",
    "the tutorial; python/cpython#75114",
    "A closed connection is not taken out of the set that is watched for reading.",
    Scheduler,
    "retire",
)
def _(original: Any) -> Any:
    def retire(self: Scheduler, link: Link) -> None:
        was_read = link.fd in self.poller.inputs
        original(self, link)
        if was_read:
            self.poller.inputs.add(link.fd)

    return retire


@specimen(
    "queue left behind",
    "the tutorial's message_queues; aio-libs/aiohttp#1367",
    "A closed connection's queue stays in `queues` for ever, and with it everything that it holds.",
    Scheduler,
    "retire",
)
def _(original: Any) -> Any:
    def retire(self: Scheduler, link: Link) -> None:
        original(self, link)
        self.links[link.fd] = link

    return retire


@specimen(
    "timer left armed",
    "giampaolo/pyftpdlib's idlers",
    "A connection's deadline is still armed after its end, keeps it in memory and fires on a corpse.",
    Deadlines,
    "disarm",
)
def _(original: Any) -> Any:
    def disarm(self: Deadlines, dated: Any) -> None:
        if not dated.fsm.closed:
            original(self, dated)

    return disarm


# Descriptors.


@specimen(
    "buried twice",
    "MagicStack/uvloop#645",
    "A connection that fails while it is being closed is put on the list of closes a second time.",
    Link,
    "follow",
)
def _(original: Any) -> Any:
    def follow(self: Link) -> None:
        was_writing = self.fsm.closed and bool(self.registered & Interest.WRITE.value) and self.registered > 0
        original(self)
        if was_writing:
            self.scheduler._closing.append(self)

    return follow


@specimen(
    "descriptor closed a second time, by its number",
    "MagicStack/uvloop#645, nodejs/node#32391",
    "A clean-up that runs a little later closes the number of a closed connection again: it is somebody else's by then.",
    Link,
    "bury",
)
def _(original: Any) -> Any:
    def bury(self: Link) -> None:
        sock: Any = self.sock
        kernel, fd = sock.kernel, self.fd
        original(self)

        def clean_up() -> None:
            stranger = kernel.open.get(fd)
            if stranger is not None:
                stranger.close()

        self.scheduler.call_later(CLEAN_UP_S, clean_up)

    return bury


@specimen(
    "closes performed at once",
    "python/cpython#75114, creytiv/re#266",
    "A connection is closed in the middle of a round, so that a number can be used again while old reports for it wait to be handled.",
    Scheduler,
    "retire",
)
def _(original: Any) -> Any:
    def retire(self: Scheduler, link: Link) -> None:
        original(self, link)
        self._closing.pop()
        link.bury()
        self._count_closed(link)

    return retire


@specimen(
    "factory failure leaks the descriptor",
    "benoitc/gunicorn's and eventlet's accept loops",
    "If building the protocol raises, the accepted socket is dropped without being closed.",
    Scheduler,
    "admit",
)
def _(original: Any) -> Any:
    def admit(self: Scheduler, sock: Any, peername: Any, factory: Callable[[], object], *prepared: bool) -> Link | None:
        if self._handshake is not None:
            return original(self, sock, peername, factory, *prepared)  # type: ignore[no-any-return]
        try:
            protocol = factory()
        except Exception:
            return None
        return original(self, sock, peername, lambda: protocol, *prepared)  # type: ignore[no-any-return]

    return admit


@specimen(
    "refused connection not closed",
    "ninenines/ranch#36",
    "Over the connection limit the newcomer is accepted and forgotten, but not closed.",
    Listener,
    "_turn_away",
)
def _(original: Any) -> Any:
    def turn_away(self: Listener, sock: Any) -> None:
        pass

    return turn_away


@specimen(
    "set-up failure leaks the descriptor",
    "CVE-2024-49769",
    "A peer that resets before it is accepted makes setsockopt fail, and the accepted socket stays open.",
    Scheduler,
    "prepare",
)
def _(original: Any) -> Any:
    def prepare(self: Scheduler, sock: Any, peername: Any) -> None:
        try:
            original(self, sock, peername)
        except OSError:
            sock.detach()  # nobody closes it any more
            raise

    return prepare


# Reading.


@specimen(
    "no hold at EOF",
    "Pylons/waitress#418",
    "After the peer's FIN the socket goes on being watched for reading, and is readable for ever.",
    ConnectionFSM,
    "eof",
)
def _(original: Any) -> Any:
    def eof(self: ConnectionFSM, now_s: float = 0.0, half_open: bool = False) -> None:
        original(self, now_s, half_open)
        if not self.closed:
            self._holds &= ~Hold.EOF

    return eof


@specimen(
    "EINTR taken for the end",
    "PEP 475",
    "A recv that a signal interrupts is treated like one that gave no bytes.",
    Link,
    "not_received",
)
def _(original: Any) -> Any:
    def not_received(self: Link, error: OSError) -> None:
        if error.errno == errno.EINTR:
            self.end_of_stream()
        else:
            original(self, error)

    return not_received


@specimen(
    "reads until EAGAIN",
    "tornadoweb/tornado#2110, dabeaz/curio#106",
    "A connection is read until nothing is left, so one firehose starves all others.",
    Link,
    "readable",
    short_way=False,
)
def _(original: Any) -> Any:
    def readable(self: Link) -> None:
        for _ in range(100):
            before_bytes = self.fsm.received_bytes
            original(self)
            if self.fsm.received_bytes == before_bytes or self.fsm.closed:
                break

    return readable


@specimen(
    "serves only the first",
    "tornadoweb/tornado#2110",
    "Of all that is ready only the first is served in a round; beside a busy connection the others wait for ever.",
    Scheduler,
    "_groups",
)
def _(original: Any) -> Any:
    def groups(self: Scheduler, events: Sequence[tuple[int, int]]) -> Sequence[Sequence[tuple[int, int]]]:
        return original(self, sorted(events)[:1])  # type: ignore[no-any-return]

    return groups


@specimen(
    "data delivered after close",
    "CVE-2024-49768, CVE-2023-46137",
    "What the peer still sends after the application has closed is handed to the application.",
    ConnectionFSM,
    "receive",
    short_way=False,
)
def _(original: Any) -> Any:
    def receive(self: ConnectionFSM, data: Any, now_s: float = 0.0) -> bool:
        original(self, data, now_s)
        return not self.closed

    return receive


@specimen(
    "a reset overtakes data",
    "twisted/twisted#2809, twisted/twisted#7932",
    "On an error the connection is given up at once, though bytes that came before it wait to be read.",
    Link,
    "ready",
)
def _(original: Any) -> Any:
    def ready(self: Link, readiness: int) -> None:
        original(self, readiness & ~READABLE if readiness & ERROR else readiness)

    return ready


@specimen(
    "urgent data closes",
    "the tutorial",
    "The exceptional set is taken for a set of errors: one urgent byte closes the connection.",
    Link,
    "_exceptional",
)
def _(original: Any) -> Any:
    def exceptional(self: Link) -> None:
        self.scheduler.counts.urgent += 1
        self.fsm.exceptional()
        self.touch()

    return exceptional


@specimen(
    "urgent data spins",
    "select(2); many loops that watch the exceptional set and ignore it",
    "An urgent byte is not consumed, and is reported in every round until ordinary bytes follow.",
    Link,
    "_exceptional",
)
def _(original: Any) -> Any:
    def exceptional(self: Link) -> None:
        if self.scheduler.exceptional == "close":
            original(self)

    return exceptional


@specimen(
    "RST while paused unseen",
    "twisted/twisted#11168",
    "While reading is held nobody looks at errors: a connection whose peer has reset stays until a deadline.",
    Link,
    "ready",
)
def _(original: Any) -> Any:
    def ready(self: Link, readiness: int) -> None:
        if self.fsm.interest:
            original(self, readiness)
        else:
            self.scheduler.poller.mute(self.fd)

    return ready


@specimen(
    "HUP spin",
    "twisted/twisted#11168",
    "A hang-up that cannot be acted on yet is reported in every round, and the loop turns without end.",
    Link,
    "ready",
)
def _(original: Any) -> Any:
    def ready(self: Link, readiness: int) -> None:
        if readiness & ERROR or self.fsm.interest:
            original(self, readiness)

    return ready


@specimen(
    "handshake data lost",
    "python/cpython#142352",
    "Bytes that came in one segment with the end of the handshake are dropped.",
    Gate,
    "data_received",
)
def _(original: Any) -> Any:
    def data_received(self: Gate, data: bytes) -> None:
        handshake = self._handshake
        self._handshake = Forgetful(handshake)
        original(self, data)
        self._handshake = handshake

    return data_received


class Forgetful:
    """A handshake that says nothing of what came behind it."""

    def __init__(self, handshake: Handshake) -> None:
        self.handshake = handshake

    def feed(self, data: bytes, /) -> bytes | None:
        return None if self.handshake.feed(data) is None else b""


# Writing.


@specimen(
    "partial send forgotten",
    "the tutorial",
    "What a partial send did not take is thrown away.",
    ConnectionFSM,
    "sent",
)
def _(original: Any) -> Any:
    def sent(self: ConnectionFSM, count_bytes: int, now_s: float = 0.0) -> bool:
        return original(self, self.outbox.size_bytes if count_bytes else 0, now_s)  # type: ignore[no-any-return]

    return sent


@specimen(
    "partial send sent again",
    "python-asyncore's and many hand-written loops",
    "After a partial send the whole chunk is offered again, from its beginning.",
    ConnectionFSM,
    "sent",
)
def _(original: Any) -> Any:
    def sent(self: ConnectionFSM, count_bytes: int, now_s: float = 0.0) -> bool:
        return original(self, count_bytes if count_bytes == self.outbox.size_bytes else 0, now_s)  # type: ignore[no-any-return]

    return sent


@specimen(
    "EAGAIN taken for loss",
    "select(2), BUGS",
    "A send that would block ends the connection.",
    Link,
    "not_sent",
)
def _(original: Any) -> Any:
    return Link.lose


@specimen(
    "backpressure never applied",
    "aio-libs/aiohttp#1367",
    "A peer that does not read is read from for ever, and its replies fill the memory.",
    ConnectionFSM,
    "_press",
)
def _(original: Any) -> Any:
    return lambda self: False


@specimen(
    "backpressure never released",
    "aio-libs/aiohttp's and Kludex/uvicorn's flow control",
    "Once the queue was full, the connection is never read again.",
    ConnectionFSM,
    "_ease",
)
def _(original: Any) -> Any:
    return lambda self: False


@specimen(
    "resume_writing not called",
    "python/cpython#74116",
    "A protocol that was told to pause is not told to go on when its queue has come down.",
    Scheduler,
    "_resume",
)
def _(original: Any) -> Any:
    def resume(self: Scheduler) -> None:
        del self.eased[1:]  # only the first of them is told
        self.eased[:] = [link for link in self.eased if link.fsm.outbox.size_bytes]
        original(self)

    return resume


@specimen(
    "no hard cap",
    "CVE-2024-12254",
    "A protocol that is deaf to pause_writing can fill the memory.",
    ConnectionFSM,
    "_enqueue",
)
def _(original: Any) -> Any:
    def enqueue(self: ConnectionFSM, data: bytes, size_bytes: int, now_s: float) -> bool:
        try:
            return original(self, data, size_bytes, now_s)  # type: ignore[no-any-return]
        except OutboxOverflow:
            self.outbox.append(data)
            self.fire(Event.ENQUEUE)
            return False

    return enqueue


@specimen(
    "wrong byte counts",
    "access logs of many servers",
    "Bytes that are read after our FIN and thrown away are counted twice.",
    ConnectionFSM,
    "_linger",
)
def _(original: Any) -> Any:
    def linger(self: ConnectionFSM, count_bytes: int) -> bool:
        self.received_bytes += count_bytes
        return original(self, count_bytes)  # type: ignore[no-any-return]

    return linger


@specimen(
    "messages overtake each other",
    "hand-written queues of many servers",
    "Of several messages that wait, the last one is sent before the others.",
    ConnectionFSM,
    "_enqueue",
)
def _(original: Any) -> Any:
    def enqueue(self: ConnectionFSM, data: bytes, size_bytes: int, now_s: float) -> bool:
        pressed: bool = original(self, data, size_bytes, now_s)
        if size_bytes and len(self.outbox.rest) > 1:
            self.outbox.rest.reverse()
        return pressed

    return enqueue


# The loop's short way.


@specimen(
    "the short way goes past a queue",
    "fast paths for writing in hand-written loops",
    "A reply is sent at once although earlier ones still wait, and takes their place.",
    Link,
    "choose_way",
)
def _(original: Any) -> Any:
    def choose_way(self: Link) -> None:
        ways = self.scheduler.ways
        before = ways[self.fd]
        original(self)
        if before[0] is self and not self.fsm.closing:
            ways[self.fd] = before

    return choose_way


@specimen(
    "the short way forgets what was not sent",
    "the tutorial; hjr3/mob#22",
    "Where the loop sends by itself, what a partial send did not take is thrown away.",
    Link,
    "short_write",
)
def _(original: Any) -> Any:
    def short_write(self: Link, outcome: int | OSError) -> None:
        original(self, outcome if isinstance(outcome, OSError) else self.fsm.outbox.size_bytes)

    return short_write


# Closing.


@specimen(
    "replies dropped at EOF",
    "twisted/twisted#3037, twisted/twisted#5662",
    "When the peer half-closes, replies that are not sent yet are thrown away.",
    ConnectionFSM,
    "eof",
)
def _(original: Any) -> Any:
    def eof(self: ConnectionFSM, now_s: float = 0.0, half_open: bool = False) -> None:
        if self.outbox.size_bytes:
            self.reset()
        else:
            original(self, now_s, half_open)

    return eof


@specimen(
    "FIN before the queue is empty",
    "aio-libs/aiohttp#927",
    "A graceful close shuts the socket down for writing while replies still wait.",
    ConnectionFSM,
    "wants_fin",
)
def _(original: Any) -> Any:
    return property(lambda self: self.outbox.sealed and not self._fin_sent)


@specimen(
    "close without lingering",
    "nginx's lingering_close; aio-libs/aiohttp#927",
    "The socket is closed as soon as the last byte is sent: input that was not read resets the connection, and the reply is lost.",
    connection_module,
    "OWES_NOTHING",
)
def _(original: Any) -> Any:
    reading = tuple(bool(bits & Hold.FINISHING) for bits in range(len(original[State.READING])))
    return {**OWES_NOTHING, State.READING: reading}


@specimen(
    "lingering without bound",
    "nginx's lingering_timeout",
    "After our FIN everything that the peer sends is read and thrown away, however much it is.",
    ConnectionFSM,
    "_linger",
)
def _(original: Any) -> Any:
    def linger(self: ConnectionFSM, count_bytes: int) -> bool:
        self.lingered_bytes += count_bytes
        return False

    return linger


@specimen(
    "half-closed for ever",
    "CLOSE_WAIT piling up: many servers",
    "A connection that is kept open after the peer's FIN has no deadline.",
    connection_module,
    "DEADLINE",
)
def _(original: Any) -> Any:
    reading = tuple(FOREVER if limit == "half_closed_s" else limit for limit in original[State.READING])
    return {**DEADLINE, State.READING: reading}


@specimen(
    "close inside a callback brings the connection back",
    "Pylons/waitress's and asyncore's maintenance loops",
    "After a callback the socket is watched for reading again, whatever the callback has decided.",
    Link,
    "settle",
)
def _(original: Any) -> Any:
    def settle(self: Link) -> None:
        original(self)
        if self.fsm.closed and self.fsm.outbox.taken_bytes:
            self.scheduler._sources[self.fd] = self
            with suppress(OSError):
                self.scheduler.poller.add(self.fd, Interest.READ)

    return settle


@specimen(
    "connection_lost twice",
    "twisted/twisted#5210",
    "A connection that the application aborts hears of its end once from the abort and once from the loop.",
    Link,
    "bury",
)
def _(original: Any) -> Any:
    def bury(self: Link) -> None:
        reason = self.fsm.close_reason
        if reason is not None and reason.event is Event.ABORT:
            self.call_protocol("connection_lost", reason.error)
        original(self)

    return bury


@specimen(
    "connection_lost on the caller's stack",
    "twisted/twisted#5210",
    "abort() calls connection_lost before it returns, in the middle of the protocol's own callback.",
    Transport,
    "abort",
)
def _(original: Any) -> Any:
    def abort(self: Transport) -> None:
        link = self._link
        if link.fsm.closed:
            return
        original(self)
        protocol = link.protocol
        link.call_protocol("connection_lost", None)
        link.protocol = Deaf(protocol)

    return abort


class Deaf:
    """A protocol that has heard of its end."""

    def __init__(self, protocol: object) -> None:
        self.protocol = protocol


@specimen(
    "write after close raises",
    "python/cpython#75828",
    "A write after the close, or after the connection was lost, raises into whoever writes.",
    Transport,
    "_refuse",
)
def _(original: Any) -> Any:
    def refuse(self: Transport, error: Exception) -> None:
        original(self, error)
        if self.fsm.closing and not isinstance(error, OutboxOverflow):
            raise error

    return refuse


@specimen(
    "shutdown and close raise into the loop",
    "python/cpython's asyncore; libuv/libuv#482",
    "ENOTCONN out of shutdown, because the peer was faster, ends the loop.",
    link_module,
    "suppress",
)
def _(original: Any) -> Any:
    return lambda *_: nullcontext()


@specimen(
    "a protocol's exception ends the loop",
    "eventlet, gevent and asyncore before their error handlers",
    "What a protocol raises is not caught.",
    Link,
    "blame",
)
def _(original: Any) -> Any:
    def blame(self: Link, error: BaseException) -> None:
        if isinstance(error, OutboxOverflow):  # which the transport blames it for
            original(self, error)
        else:
            raise error

    return blame


# Time.


@specimen(
    "deadline never armed",
    "CVE-2007-6750",
    "A connection that sends nothing after it was accepted is never looked at again.",
    Deadlines,
    "arm",
)
def _(original: Any) -> Any:
    def arm(self: Deadlines, dated: Any, when_s: float) -> None:
        if dated.fsm.received_bytes or dated.armed_tick != NEVER_TICK:
            original(self, dated, when_s)

    return arm


@specimen(
    "deadline not armed again",
    "lazy timers in many servers",
    "A deadline that comes due early, because bytes have moved it, is not armed again.",
    Link,
    "expire_if_due",
)
def _(original: Any) -> Any:
    def expire_if_due(self: Link) -> None:
        if self.fsm.due()[1] <= self.scheduler.now_s:
            original(self)

    return expire_if_due


@specimen(
    "a nearer deadline does not replace a farther one",
    "lazy timers in many servers",
    "A connection that goes from a long limit to a short one keeps the date of the long one.",
    Deadlines,
    "arm",
)
def _(original: Any) -> Any:
    def arm(self: Deadlines, dated: Any, when_s: float) -> None:
        if dated.armed_tick == NEVER_TICK:
            original(self, dated, when_s)

    return arm


@specimen(
    "judged by the timer, not by the last activity",
    "Kludex/uvicorn's keep-alive timers",
    "A connection is expired when its timer fires, though bytes have come since it was set.",
    Link,
    "expire_if_due",
)
def _(original: Any) -> Any:
    def expire_if_due(self: Link) -> None:
        self.fsm.expire(self.fsm.due()[0])
        self.touch()

    return expire_if_due


# Accepting.


@specimen(
    "accept error kills the listener",
    "python/cpython#127529, giampaolo/pyftpdlib#105",
    "A connection that was reset before it was accepted makes accept fail, and the listener is closed for good.",
    Listener,
    "_goes_on_after",
)
def _(original: Any) -> Any:
    def goes_on_after(self: Listener, error: OSError) -> bool:
        if error.errno == errno.ECONNABORTED:
            self.close()
            return False
        return original(self, error)  # type: ignore[no-any-return]

    return goes_on_after


@specimen(
    "EMFILE spin",
    "python/cpython#151615, ninenines/ranch#36",
    "Out of descriptors, the listener stays watched and readable, and the loop turns without end.",
    Listener,
    "_goes_on_after",
)
def _(original: Any) -> Any:
    def goes_on_after(self: Listener, error: OSError) -> bool:
        if reasons.classify_accept(error.errno) is ErrnoClass.EXHAUSTED:
            return False
        return original(self, error)  # type: ignore[no-any-return]

    return goes_on_after


@specimen(
    "exhausted never relieved",
    "ninenines/ranch#36",
    "After running out of descriptors the listener waits for a connection to close; where there is none, it waits for ever.",
    Listener,
    "fire",
)
def _(original: Any) -> Any:
    def fire(self: Listener, event: ListenerEvent) -> None:
        if event is not ListenerEvent.RELIEVE or self.state is not ListenerState.EXHAUSTED or self.scheduler.links:
            original(self, event)

    return fire


@specimen(
    "full for ever",
    "pgjones/hypercorn's and waitress's connection limits",
    "Once the connection limit was reached, closing connections does not make the listener accept again.",
    Listener,
    "relieve",
)
def _(original: Any) -> Any:
    def relieve(self: Listener) -> None:
        if self.state is not ListenerState.FULL:
            original(self)

    return relieve


@specimen(
    "over the connection limit",
    "Pylons/waitress's connection_limit",
    "A listener that should refuse newcomers while it is full takes them in.",
    Listener,
    "_turn_away",
)
def _(original: Any) -> Any:
    def turn_away(self: Listener, sock: Any) -> None:
        self.scheduler.admit(sock, sock.getpeername(), self.protocol_factory)

    return turn_away


@specimen(
    "accepts without bound",
    "accept storms: nginx's multi_accept",
    "Everybody in the backlog is accepted in one round, while those already in wait.",
    Listener,
    "accept",
)
def _(original: Any) -> Any:
    def accept(self: Listener) -> None:
        before: int | None = None
        while self.interest and before != self.scheduler.counts.accepted:
            before = self.scheduler.counts.accepted
            original(self)

    return accept
