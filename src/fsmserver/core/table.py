"""THE table: every state of a connection, every event, and what follows.

**The states.** A connection is `accepted` when the kernel gave us its socket and the application has not seen it;
`reading` when it is open and nothing is to be sent; `queued` when the outbox holds bytes of which the kernel has
been offered none since it was empty; `writing` when the kernel was offered the outbox and has not taken all of it;
`closed` at the end, once, for ever. Reading and writing do not exclude each other: `queued` and `writing` go on
receiving unless a hold says otherwise.

**The grid.** A cell names the state that follows; `None` means that the event cannot happen there, and saying that
it did is an error of the caller (`IllegalTransition`, which changes nothing). `finish` leads to `closed` from
`reading` alone, so a graceful close with unsent bytes cannot be written down. Every other arrow into `closed` may
lose bytes, and its close reason counts them. `closed` has no column: no arrow leads out of it.

**Holds** are the reasons not to read. They are facts beside the state, and three pure functions turn the two into
everything else: `interest` (what the poller watches), `owes_nothing` (whether the connection is over) and `deadline`
(which limit runs). They are total: there is an answer for each state and each set of holds.

*Half open and lingering.* `eof` alone is a connection that the application keeps half open after the peer's last
byte. `finishing` alone, with the outbox empty, is a lingering close: we have said FIN, and read and discard until
the peer does, because closing a socket with unread input makes the kernel send a reset that can overtake the last
reply. Only when both directions have ended, `eof` and `finishing` together, is nothing owed any more.
"""

from typing import Final

from fsmserver.core.declaration import Table
from fsmserver.core.states import Event, Hold, Interest, State

ACCEPTED, READING, QUEUED, WRITING, CLOSED = State
________: Final = None

# fmt: off
CONNECTION: Final = Table(
    State,
    Event,
    initial=ACCEPTED,
    columns=(                      ACCEPTED,  READING,   QUEUED,    WRITING),
    grid={
        Event.OPEN:               (READING,   ________,  ________,  ________),
        Event.RECEIVE:            (ACCEPTED,  READING,   QUEUED,    WRITING),
        Event.ENQUEUE:            (________,  QUEUED,    QUEUED,    WRITING),
        Event.FLUSH:              (________,  ________,  WRITING,   WRITING),
        Event.DRAIN:              (________,  ________,  ________,  READING),
        Event.EOF:                (CLOSED,    READING,   QUEUED,    WRITING),
        Event.FINISH:             (________,  CLOSED,    ________,  ________),
        Event.RESET:              (CLOSED,    CLOSED,    CLOSED,    CLOSED),
        Event.EXCEPTIONAL:        (CLOSED,    CLOSED,    CLOSED,    CLOSED),
        Event.EXPIRE:             (CLOSED,    CLOSED,    CLOSED,    CLOSED),
        Event.ABORT:              (CLOSED,    CLOSED,    CLOSED,    CLOSED),
    },
)
# fmt: on

SENDING: Final = frozenset((QUEUED, WRITING))
"""The states in which the outbox holds bytes; in all others it is empty."""

FOREVER: Final = "for ever"
"""The name of the deadline that never comes."""

DEADLINES: Final = (
    # state,   with these holds,                  the limit that runs
    (ACCEPTED, Hold(0), "handshake_s"),
    (READING, Hold.EOF, "half_closed_s"),
    (READING, Hold.FINISHING, "linger_s"),
    (READING, Hold(0), "idle_s"),
    (QUEUED, Hold(0), "stall_s"),
    (WRITING, Hold(0), "stall_s"),
    (CLOSED, Hold(0), FOREVER),
)
"""Which limit runs where: the first row whose state is the connection's and whose holds are all in force."""

RENEWALS: Final = {
    # limit:   what starts it anew while it runs
    "idle_s": frozenset(("received", "taken")),
    "stall_s": frozenset(("taken",)),
}
"""A deadline runs from the moment its limit began to apply. Only these two are moved on by bytes, and a peer that sends
but never reads does not move `stall_s`; nothing the peer does moves a handshake or a lingering close."""


def lingers(state: State, holds: Hold) -> bool:
    """Tell whether all is sent and only the peer's FIN is waited for: what it still sends is read and thrown away."""
    return state is READING and bool(holds & Hold.FINISHING) and not holds & Hold.EOF


def interest(state: State, holds: Hold) -> Interest:
    """Derive what the poller watches: writing while the outbox holds bytes, reading unless something is held."""
    wanted = Interest.WRITE if state in SENDING else Interest.NOTHING
    if state is not CLOSED and (not holds or lingers(state, holds)):
        wanted |= Interest.READ
    return wanted


def owes_nothing(state: State, holds: Hold) -> bool:
    """Tell whether `finish` follows at once: all is sent, we have ended our direction and the peer has ended its own."""
    return state is READING and bool(holds & Hold.FINISHING) and bool(holds & Hold.EOF)


def deadline(state: State, holds: Hold) -> str:
    """Name the limit that runs now: a field of `Limits`, or `FOREVER`.

    Raises:
        LookupError: the declaration has a hole; a test asks for every state with every set of holds.

    """
    for where, held, limit in DEADLINES:
        if where is state and holds & held == held:
            return limit
    raise LookupError(f"no deadline is declared for {state} with {holds.words}")


def renews(state: State, holds: Hold, moved: str) -> bool:
    """Tell whether bytes that moved (`received` from the peer or `taken` by the kernel) start the deadline anew."""
    return moved in RENEWALS.get(deadline(state, holds), ())


ALL_HOLDS: Final = tuple(Hold(bits) for bits in range(16))

# The functions as look-ups, by state and then by the bits of the holds: what the machine reads at run time.
INTEREST: Final = {state: tuple(interest(state, holds) for holds in ALL_HOLDS) for state in State}
WANTS_READ: Final = {state: tuple(Interest.READ in wanted for wanted in row) for state, row in INTEREST.items()}
WANTS_WRITE: Final = {state: tuple(Interest.WRITE in wanted for wanted in row) for state, row in INTEREST.items()}
LINGERS: Final = {state: tuple(lingers(state, holds) for holds in ALL_HOLDS) for state in State}
OWES_NOTHING: Final = {state: tuple(owes_nothing(state, holds) for holds in ALL_HOLDS) for state in State}
DEADLINE: Final = {state: tuple(deadline(state, holds) for holds in ALL_HOLDS) for state in State}
RECEIVED_RENEWS: Final = {state: tuple(renews(state, holds, "received") for holds in ALL_HOLDS) for state in State}
