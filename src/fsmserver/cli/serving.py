"""Running a server from the command line: finding the protocol, saying what happens, and the exit code."""

from __future__ import annotations

import importlib
import logging
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

from fsmserver.cli.failures import WrongArgument
from fsmserver.cli.streams import say
from fsmserver.core.limits import Limits
from fsmserver.runtime.binding import BindError, Endpoint, parse_endpoint
from fsmserver.runtime.link import Link, address_words
from fsmserver.runtime.ports import EXCEPTIONAL, READABLE, WRITABLE
from fsmserver.runtime.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fsmserver.core.connection import ConnectionFSM
    from fsmserver.core.states import Event, State
    from fsmserver.runtime.scheduler import Round
    from fsmserver.runtime.trace import Watcher

CALLBACKS: Final = ("connection_made", "data_received", "buffer_updated", "eof_received", "connection_lost")
SHOWN: Final = ("rounds", "transitions")
CHOICES: Final = {"exceptional": ("discard", "inline", "close"), "when_full": ("wait", "refuse", None)}


def serve(asked: Mapping[str, Any]) -> int:
    """Serve as the options say, each by its name (`fsmserver.cli.options`); give the exit code.

    Raises:
        WrongArgument: one of them makes no sense; the sentence says which.

    """
    options = {name: asked[name] for name in ("poller", "eager_writes", "exceptional", "when_full")}
    try:
        limits = Limits(**{name: asked[name] for name in Limits.declared})
        return run_server(
            asked["protocol"], asked["listen"] or [], limits,
            trace=asked["trace"], show=asked["show"] or [], quiet=asked["quiet"], options=options,
        )  # fmt: skip
    except ValueError as error:
        raise WrongArgument(str(error)) from error


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
            watchers.append(stack.enter_context(traced(trace)))
        if "transitions" in show:
            watchers.append(show_transition)
        on_round = show_round if "rounds" in show else None
        try:
            server = stack.enter_context(Server(factory, *endpoints, limits=limits, watcher=all_of(watchers), on_round=on_round, **options))
        except BindError as error:
            return refuse(str(error))
        except OSError as error:
            return refuse(f"cannot serve: {error.strerror}")
        return 0 if server.run(handle_signals=True, when_ready=lambda: announce(server)) else 1


def refuse(sentence: str) -> int:
    """Say why there is no server; give the exit code."""
    sys.stderr.write(f"fsmserver: {sentence}\n")
    return 1


def find_protocol(name: str) -> Callable[[], object]:
    """Find the class called `module:Class`; the current folder is searched first.

    Raises:
        ValueError: there is no such module or class, or it is not a protocol; the sentence says which.

    """
    module_name, _, class_name = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *class_name.split("."))):
        raise ValueError(f"{name!r} does not name a protocol: write module:Class")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"the module {module_name!r} cannot be imported: {error}") from error
    except (Exception, SystemExit) as error:  # whatever a module raises when it is imported, the user wants to read it as a sentence
        raise ValueError(f"the module {module_name!r} cannot be imported: {type(error).__name__}: {error}") from error
    for part in class_name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"the module {module_name!r} has no {class_name!r}")
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"{name!r} is not a class or a function that makes protocols")  # noqa: TRY004 - the argument is wrong
    if isinstance(found, type) and not any(hasattr(found, callback) for callback in CALLBACKS):
        raise ValueError(f"{name!r} is not a protocol: it has none of the methods {', '.join(CALLBACKS)}")
    if not can_be_called_without_arguments(found):
        raise ValueError(f"{name!r} needs arguments: name a function without any that makes the protocol")
    return found  # type: ignore[no-any-return] # it is callable


def can_be_called_without_arguments(function: Callable[..., object]) -> bool:
    """Tell whether `function()` is possible, without doing it."""
    if type(function) is type and all(getattr(function, name) is getattr(object, name) for name in ("__new__", "__init__")):
        return True  # as most protocols are; what it takes to look closer would be a tenth of the start
    import inspect  # noqa: PLC0415 - see above

    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    except ValueError:
        return True  # written in C, and does not say
    return True


@contextmanager
def traced(path: str) -> Iterator[Watcher]:
    """Open the trace, and give what writes to it. A trace that fails under way, such as on a full disk, is given up with a line in the log.

    Raises:
        ValueError: it cannot be opened; the sentence says why.

    """
    from fsmserver.runtime.trace import Trace  # noqa: PLC0415 - with json, which serving alone does not need

    file = _UntilItFails(open_trace(path), path)
    try:
        yield Trace(file)
    finally:
        file.close()


class _UntilItFails:
    """A file that takes no more once it has failed, and says so in the log."""

    def __init__(self, file: TextIO, path: str) -> None:
        self._file = file
        self._path = path
        self._failed = False

    def write(self, text: str) -> None:
        if not self._failed:
            try:
                self._file.write(text)
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            if not self._failed:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._failed = True
        logging.getLogger(__name__).error("the trace %s ends here: %s; the server goes on without it", self._path, error.strerror)


def open_trace(path: str) -> TextIO:
    """Open the trace for writing.

    Raises:
        ValueError: that is not possible; the sentence says why.

    """
    try:
        # A line at a time, so that it can be followed, and is whole if the process is killed.
        return open(path, "w", buffering=1, encoding="utf-8")  # noqa: PTH123 - the caller closes it
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
    limits = ", ".join(f"{name} {getattr(server.limits, name)}" for name in Limits.declared if name != "connections")
    say(f"listening on {where}")
    say(f"poller {server.scheduler.poller.name}, at most {server.scheduler.most_connections} connections")
    say(f"limits: {limits}")


def show_round(seen: Round) -> None:
    """Print a round as the select tutorials do. Of what woke the loop only, such as a signal, nothing is shown."""
    queues = ", ".join(f"{fd}: {size_bytes} B" for fd, size_bytes in seen.queues.items())
    say(f"round {seen.number}: inputs {list(seen.inputs)}, outputs {list(seen.outputs)}, queues {{{queues}}}")
    known = {*seen.inputs, *seen.outputs, *seen.queues}
    for word, bit in (("readable", READABLE), ("writable", WRITABLE), ("exceptional", EXCEPTIONAL)):
        say(f"  {word}: {[fd for fd, readiness in seen.ready if readiness & bit and fd in known]}")


def show_transition(link: Link, fsm: ConnectionFSM, origin: State, event: Event) -> None:
    """Print a transition."""
    holds = f", holding {' and '.join(fsm.holds.words)}" if fsm.holds else ""
    say(f"{link.name}: {origin} --{event}--> {fsm.state}{holds}")
