"""A run again, step by step, and as a sequence diagram of peers, kernel and connections."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fsmserver.core.states import Event, State
from fsmserver.testing.operations import NAMELESS, Operation, words
from fsmserver.testing.simulation import Failure, WorldMaker
from fsmserver.testing.world import Config, World

TRANSITION: Final = "transition"
SHOWN_LINES: Final = 400
"""A diagram of more than this is not read by anybody; what is beyond is counted."""


@dataclass(slots=True)
class Step:
    """One operation and what came of it, in order: calls of the server's kernel and transitions of its connections."""

    operation: Operation
    at_s: float
    done: bool = True
    happened: list[str] = field(default_factory=list)
    arrows: list[str] = field(default_factory=list)
    failure: Failure | None = None


def replay(config: Config, operations: Sequence[Operation], make_world: WorldMaker) -> Iterator[Step]:
    """Do the operations one at a time, and then the end of the run; a step that fails is the last one."""
    world = make_world(config)
    log: list[Any] = []
    world.kernel.log = log
    _watch_too(world, log)
    for operation in [*operations, ("finish",)]:
        log.clear()
        step = Step(operation, world.kernel.clock())
        try:
            if operation[0] == "finish":
                world.finish()
            else:
                step.done = world.apply(operation)
        except Exception as error:  # noqa: BLE001 - whatever is raised is what is to be shown
            step.failure = Failure.of(error)
        _describe(world, step, log)
        yield step
        if step.failure is not None:
            return


def _watch_too(world: World, log: list[Any]) -> None:
    """Have transitions noted among the calls; a world that was unwatched stays so, since watching changes its path."""
    watcher = world.scheduler._watcher  # noqa: SLF001 - a watcher is put around it
    if watcher is None:
        return

    def watch(link: Any, fsm: Any, origin: State, event: Event) -> None:
        log.append((world.kernel.now_us, TRANSITION, link.fd, (origin, event, fsm.state)))
        watcher(link, fsm, origin, event)

    world.scheduler._watcher = watch  # noqa: SLF001 - as above


def _describe(world: World, step: Step, log: list[Any]) -> None:
    names = _names(world)
    if step.operation[0] != "finish" and step.operation[0] not in NAMELESS:
        step.arrows.append(f"Peer{step.operation[1]}->>Kernel: {words(step.operation)}")
    else:
        step.arrows.append(f"Note over Kernel: {words(step.operation)}")
    for _, name, fd, outcome in log:
        who = names.get(fd, "Server")
        if name == TRANSITION:
            origin, event, state = outcome
            step.happened.append(f"{who}: {origin} --{event}--> {state}")
            step.arrows.append(f"Note right of {who}: {origin} #45;{event}→ {state}")
        else:
            result = errno.errorcode.get(-outcome, str(outcome)) if outcome < 0 else str(outcome)
            step.happened.append(f"{who}: {name}({fd}) = {result}")
            step.arrows.append(f"{who}->>Kernel: {name}")
            step.arrows.append(f"Kernel-->>{who}: {result}")
    if step.failure is not None:
        step.arrows.append(f"Note over Kernel: {_plain(step.failure.sentence)}")


def _names(world: World) -> dict[int, str]:
    """Name the connections by their peers; by descriptor, the latest owner of each."""
    names = {world.listener.fd: "Listener"}
    for peer in world.peers.values():
        if peer.link is not None:
            names[peer.link.fd] = f"Connection{peer.number}"
    return names


def _plain(text: str) -> str:
    return text.replace(";", ",").replace("#", "no. ").replace("\n", " ")


def mermaid(steps: Sequence[Step]) -> str:
    """Draw the steps as a mermaid sequence diagram of peers, kernel and connections."""
    lines = [f"    {arrow}" for step in steps for arrow in step.arrows]
    left_out = len(lines) - SHOWN_LINES
    if left_out > 0:
        lines = [f"    Note over Kernel: {left_out} lines before are left out", *lines[-SHOWN_LINES:]]
    return "\n".join(["sequenceDiagram", *lines]) + "\n"


def as_test(config: Config, operations: Sequence[Operation], protocol: str, failure: Failure) -> str:
    """Write a test function, ready to paste, that does these operations."""
    module, _, name = protocol.partition(":")
    default = Config()
    changed = {key: value for key, value in config.as_dict().items() if value != getattr(default, key)}
    arguments = ", ".join(f"{key}={value!r}" for key, value in changed.items())
    lines = [
        f"from {module} import {name}" if module else f"# import {name} here",
        "from fsmserver.testing.world import Config, World",
        "",
        "",
        f"def test_{'_'.join(failure.kind.lower().split())}() -> None:",
        f"    world = World({name}, Config({arguments}))",
        *(f"    world.apply({operation!r})" for operation in operations),
        f"    world.finish()  # was: {failure.sentence.splitlines()[0]}",
    ]
    return "\n".join(lines) + "\n"
