"""Running a server from the command line: finding the protocol, saying what happens, and the exit code."""

import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import fields
from typing import Any, Final, TextIO

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.limits import Limits
from fsmserver.core.states import Event, State
from fsmserver.runtime.binding import Endpoint, parse_endpoint
from fsmserver.runtime.link import Link, address_words
from fsmserver.runtime.ports import EXCEPTIONAL, READABLE, WRITABLE
from fsmserver.runtime.scheduler import Round
from fsmserver.runtime.server import Server
from fsmserver.runtime.trace import Trace, Watcher

CALLBACKS: Final = ("connection_made", "data_received", "buffer_updated", "eof_received", "connection_lost")
SHOWN: Final = ("rounds", "transitions")
CHOICES: Final = {"exceptional": ("discard", "inline", "close"), "when_full": ("wait", "refuse", None)}


def run_server(
    protocol: str,
    listen: Sequence[str],
    limits: Limits,
    *,
    trace: str | None = None,
    show: Sequence[str] = (),
    quiet: bool = False,
    options: dict[str, Any] | None = None,
) -> int:
    """Serve until stopped; give the exit code: 0 after a drained stop, 1 if it could not serve or was aborted.

    Raises:
        ValueError: an argument is wrong; the sentence says which.

    """
    options = options or {}
    for name, choices in CHOICES.items():
        if options.get(name) not in (*choices, None):
            raise ValueError(f"{options[name]!r} is not a choice of --{name.replace('_', '-')}: {', '.join(filter(None, choices))}")
    if unknown := [each for each in show if each not in SHOWN]:
        raise ValueError(f"{unknown[0]!r} cannot be shown; there are {' and '.join(SHOWN)}")
    factory = find_protocol(protocol)
    endpoints: list[Endpoint] = [parse_endpoint(each) for each in listen]
    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with ExitStack() as stack:
        watchers: list[Watcher] = []
        if trace is not None:
            watchers.append(Trace(stack.enter_context(open_trace(trace))))
        if "transitions" in show:
            watchers.append(show_transition)
        server = Server(
            factory, *endpoints, limits=limits, watcher=all_of(watchers), on_round=show_round if "rounds" in show else None, **options
        )
        stack.callback(server.close)
        try:
            server.start()
        except OSError as error:
            sys.stderr.write(f"fsmserver: {error}\n")
            return 1
        announce(server)
        return 0 if server.run(handle_signals=True) else 1


def find_protocol(name: str) -> Callable[[], object]:
    """Find the class called `module:Class`; the current folder is searched first.

    Raises:
        ValueError: there is no such module or class, or it is not a protocol; the sentence says which.

    """
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        raise ValueError(f"{name!r} does not name a protocol: write module:Class")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"the module {module_name!r} cannot be imported: {error}") from error
    except Exception as error:  # whatever a module raises when it is imported, the user wants to read it as a sentence
        raise ValueError(f"the module {module_name!r} cannot be imported: {type(error).__name__}: {error}") from error
    for part in class_name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"the module {module_name!r} has no {class_name!r}")
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"{name!r} is not a class or a function that makes protocols")  # noqa: TRY004 - the argument is wrong
    if isinstance(found, type) and not any(hasattr(found, callback) for callback in CALLBACKS):
        raise ValueError(f"{name!r} is not a protocol: it has none of the methods {', '.join(CALLBACKS)}")
    return found  # type: ignore[no-any-return] # it is callable; calling it without arguments is tried below


def open_trace(path: str) -> TextIO:
    """Open the trace for writing.

    Raises:
        ValueError: that is not possible; the sentence says why.

    """
    try:
        return open(path, "w", encoding="utf-8")  # noqa: PTH123 - the caller closes it
    except OSError as error:
        raise ValueError(f"the trace cannot be written to {path!r}: {error.strerror}") from error


def all_of(watchers: Sequence[Watcher]) -> Watcher | None:
    """Make one watcher of several; none of none, so that nothing is paid."""
    if len(watchers) < 2:
        return watchers[0] if watchers else None

    def watch(link: Link, fsm: ConnectionFSM, origin: State, event: Event) -> None:
        for watcher in watchers:
            watcher(link, fsm, origin, event)

    return watch


def announce(server: Server) -> None:
    """Print where it listens (the real port), which poller, and the limits."""
    where = " and ".join(address_words(address) for address in server.addresses)
    limits = ", ".join(f"{each.name} {getattr(server.limits, each.name)}" for each in fields(Limits) if each.name != "connections")
    say(f"listening on {where}")
    say(f"poller {server.scheduler.poller.name}, at most {server.scheduler.most_connections} connections")
    say(f"limits: {limits}")


def show_round(seen: Round) -> None:
    """Print a round as the select tutorials do."""
    queues = ", ".join(f"{fd}: {size_bytes} B" for fd, size_bytes in seen.queues.items())
    say(f"round {seen.number}: inputs {list(seen.inputs)}, outputs {list(seen.outputs)}, queues {{{queues}}}")
    for word, bit in (("readable", READABLE), ("writable", WRITABLE), ("exceptional", EXCEPTIONAL)):
        say(f"  {word}: {[fd for fd, readiness in seen.ready if readiness & bit]}")


def show_transition(link: Link, fsm: ConnectionFSM, origin: State, event: Event) -> None:
    """Print a transition."""
    holds = f", holding {' and '.join(fsm.holds.words)}" if fsm.holds else ""
    say(f"{link.name}: {origin} --{event}--> {fsm.state}{holds}")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
