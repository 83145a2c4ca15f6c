"""The listener's table: accept errors need a state to live in, or they become a spin.

A listener is `listening`; `full` while the connection limit is reached; `exhausted` while the system has no
descriptor or memory for one more connection (EMFILE, ENFILE, ENOBUFS, ENOMEM); `draining` when the server stops;
`closed` at the end. `full` and `exhausted` are left by `relieve`, when a connection closes or the back-off ends.

In `full` there are two ways with newcomers. They *wait* in the kernel's backlog until there is room (the default),
or they are *refused*: accepted and closed at once, so that they know. A listener that waits is not watched in `full`.
"""

from typing import Final

from fsmserver.core.declaration import Table
from fsmserver.core.states import Interest, ListenerEvent, ListenerState

LISTENING, FULL, EXHAUSTED, DRAINING, CLOSED = ListenerState
________: Final = None

# fmt: off
LISTENER: Final = Table(
    ListenerState,
    ListenerEvent,
    initial=LISTENING,
    columns=(                      LISTENING, FULL,      EXHAUSTED, DRAINING),
    grid={
        ListenerEvent.FILL:       (FULL,      ________,  FULL,      ________),
        ListenerEvent.EXHAUST:    (EXHAUSTED, EXHAUSTED, ________,  ________),
        ListenerEvent.RELIEVE:    (________,  LISTENING, LISTENING, ________),
        ListenerEvent.DRAIN:      (DRAINING,  DRAINING,  DRAINING,  ________),
        ListenerEvent.CLOSE:      (CLOSED,    CLOSED,    CLOSED,    CLOSED),
    },
)
# fmt: on


def listener_interest(state: ListenerState, *, refuses: bool) -> Interest:
    """Derive whether the poller watches a listener: while listening, and in `full` if newcomers are refused."""
    watched = state is LISTENING or (state is FULL and refuses)
    return Interest.READ if watched else Interest.NOTHING


LISTENER_INTEREST: Final = {
    refuses: {state: listener_interest(state, refuses=refuses) for state in ListenerState} for refuses in (False, True)
}
"""The function as a look-up: by whether newcomers are refused, then by state."""
