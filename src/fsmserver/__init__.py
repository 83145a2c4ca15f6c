"""A TCP server core in which every connection is an explicit, executed, checked state machine."""

from typing import TYPE_CHECKING, Any

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.errors import (
    DeadlinePassed,
    FsmServerError,
    HandshakeFailed,
    IllegalTransition,
    LimitError,
    LingerOverrun,
    OutboxOverflow,
    OutboxSealed,
    UrgentData,
)
from fsmserver.core.limits import Limits
from fsmserver.core.reasons import CloseReason, Who
from fsmserver.core.states import Event, Hold, Interest, State

if TYPE_CHECKING:
    from fsmserver.runtime.server import Server as Server
    from fsmserver.runtime.server import serve as serve

__version__ = "0.1.0"

__all__ = [
    "CloseReason", "ConnectionFSM", "DeadlinePassed", "Event", "FsmServerError", "HandshakeFailed", "Hold", "IllegalTransition", "Interest",
    "LimitError", "Limits", "LingerOverrun", "OutboxOverflow", "OutboxSealed", "Server", "State", "UrgentData", "Who", "serve",
]  # fmt: skip


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as PEP 562 has it
    """Load the runtime when it is first asked for: who embeds the machine alone does not pay for sockets and threads."""
    if name in ("Server", "serve"):
        from fsmserver.runtime import server  # noqa: PLC0415 - that is the point

        return getattr(server, name)
    raise AttributeError(f"module 'fsmserver' has no attribute {name!r}")
