"""What `serve` can be told, declared once: Typer's options and their help are made of this, and so is the plain way past Typer.

To load Typer (with Pydantic and Rich, which it brings) takes longer than all else that a server does before it listens. So a command
line that leaves no room for doubt is read here: no command at all, or `serve` with whole words such as `--idle-s 20`. Whatever
else there is (help, a mistake, an abbreviation, `--idle-s=20`, an odd number) is left to Typer; `read` only ever says the same
as Typer or nothing, and a property test holds it to that.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from fsmserver.core.limits import Limits


class Option(NamedTuple):
    """One option: the type of its value as Typer takes it, the default, and a sentence of help."""

    kind: Any
    default: Any
    about: str


PROTOCOL: Final = Option(str, "fsmserver.cli.echo:Echo", "The protocol class to serve, as module:Class.")

OPTIONS: Final = {
    "listen": Option(list[str] | None, None, "tcp://HOST:PORT, unix://PATH or fd://N; may be given more than once."),
    "poller": Option(str, "auto", "auto, select, poll, epoll or kqueue."),
    "trace": Option(str | None, None, "Write each transition to this file, as a JSON line."),
    "show": Option(list[str] | None, None, "rounds: print each round; transitions: print each transition."),
    "eager_writes": Option(bool, True, "Answer at once, or wait for the writable set as the tutorials do."),
    "exceptional": Option(str, "discard", "What is done about urgent data: discard, inline or close."),
    "when_full": Option(str | None, None, "Newcomers over the limit wait or are refused (wait; under select refuse)."),
    "quiet": Option(bool, False, "No line for each connection."),
}


def _of_limit(name: str) -> Option:
    declared = Limits.declared[name]
    whole = name.endswith("_bytes") or isinstance(declared.default, int) or declared.default is None
    kind = int if whole else float
    return Option(kind if declared.default is not None else kind | None, declared.default, declared.about)


LIMITS: Final = {name: _of_limit(name) for name in Limits.declared}
ALL: Final = {**OPTIONS, **LIMITS}


def spelled(name: str) -> str:
    """Write the name of an option as it is given: `--idle-s`; what is on by default can be switched off by name."""
    word = name.replace("_", "-")
    return f"--{word}/--no-{word}" if ALL[name].default is True else f"--{word}"


NAMED: Final = {spelled(name): name for name, each in ALL.items() if each.kind is not bool}
FLAGS: Final = {
    word: (name, positive)
    for name, each in ALL.items()
    if each.kind is bool
    for word, positive in zip(spelled(name).split("/"), (True, False), strict=False)
}

# What nobody would take for anything else: no sign, no blank, nothing that a shell or Typer might expand.
WORD: Final = re.compile(r"[\w./:\[][\w./:\[\]-]*", re.ASCII)
WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,14}")
DECIMAL: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


def read(words: Sequence[str]) -> dict[str, Any] | None:
    """Give what `serve` was asked for, all defaults filled in, or None: these words are for Typer."""
    if words and words[0] != "serve":
        return None
    given: dict[str, Any] = {}
    value: Any
    rest = iter(words[1:])
    for word in rest:
        if word in FLAGS:
            name, value = FLAGS[word]
        elif word in NAMED:
            name = NAMED[word]
            value = _value(ALL[name].kind, next(rest, ""))
        else:
            name, value = "protocol", _value(str, word)
        many = name in given and isinstance(value, list)
        if value is None or (name in given and not many):
            return None
        given[name] = given[name] + value if many else value
    return {name: each.default for name, each in {"protocol": PROTOCOL, **ALL}.items()} | given


def _value(kind: Any, word: str) -> Any:  # noqa: ANN401 - a type and its value
    if kind in (int, int | None):
        return int(word) if WHOLE.fullmatch(word) else None
    if kind is float:
        return float(word) if DECIMAL.fullmatch(word) else None
    if not WORD.fullmatch(word):
        return None
    return [word] if kind == list[str] | None else word
