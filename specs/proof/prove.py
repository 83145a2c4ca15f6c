"""Ask both solvers each question, and say a counterexample as people would."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from specs.proof.model import HOLDS, STATES, Point
from specs.proof.obligations import Obligation, Question, Reasoning
from specs.proof.solvers import SOLVERS, Answer, Symbols
from specs.proof.tables import Tables


@dataclass(frozen=True)
class Outcome:
    """What the solvers said of one obligation: by name, `proved`, `refuted` or `unknown`; and why not, in words."""

    obligation: Obligation
    answers: Mapping[str, str]
    counterexample: str

    @property
    def proved(self) -> bool:
        """Whether both solvers say so."""
        return set(self.answers.values()) == {"proved"}


def prove(tables: Tables, chosen: Iterable[Obligation]) -> Iterator[Outcome]:
    """Ask both solvers about each of `chosen`, with what `tables` says."""
    models = [Reasoning(Symbols(name), tables) for name in SOLVERS]
    for obligation in chosen:
        answers, counterexample = {}, ""
        for model in models:
            question = obligation.ask(model)
            answer = _ask(model.symbols, question)
            answers[model.symbols.name] = _verdict(answer, possible=obligation.possible)
            if answer.values and not obligation.possible:
                counterexample = counterexample or _words(question, answer.values)
        yield Outcome(obligation, answers, counterexample or ("" if set(answers.values()) == {"proved"} else "there is no such moment"))


def _ask(symbols: Symbols, question: Question) -> Answer:
    terms = {f"before.{name}": term for name, term in _terms(question.before)}
    if question.after is not None:
        terms |= {f"after.{name}": term for name, term in _terms(question.after)}
    terms |= {f"told.{name}": term for name, term in question.told.items()}
    return symbols.example(symbols.all_of(question.assumed, symbols.negate(question.claimed)), terms)


def _terms(point: Point) -> Iterator[tuple[str, Any]]:
    return ((each.name, getattr(point, each.name)) for each in fields(Point))


def _verdict(answer: Answer, *, possible: bool) -> str:
    if answer.word not in ("sat", "unsat"):
        return "unknown"
    return "proved" if (answer.word == "sat") is possible else "refuted"


def _words(question: Question, values: Mapping[str, int | bool]) -> str:
    told = [f"{name} {value}" for name, value in _part(values, "told").items()]
    sentence = f"before: {_moment(_part(values, 'before'))}"
    if told:
        sentence += f"; {', '.join(told)}"
    if question.after is not None:
        sentence += f"; after: {_moment(_part(values, 'after'))}"
    return sentence


def _part(values: Mapping[str, int | bool], part: str) -> dict[str, Any]:
    return {name.removeprefix(f"{part}."): value for name, value in values.items() if name.startswith(f"{part}.")}


def _moment(at: Mapping[str, Any]) -> str:
    """Say a point: `queued with 3 bytes in the outbox, of which the kernel was offered none, holding eof`."""
    state = STATES[at["state"]] if 0 <= at["state"] < len(STATES) else f"state {at['state']}"
    parts = [f"{state} with {at['outbox']} bytes in the outbox"]
    if at["outbox"]:
        parts.append(f"of which the kernel was offered {'some' if at['offered'] else 'none'}")
    held = [name for _, name in HOLDS if at[name]]
    if held:
        parts.append(f"holding {' and '.join(held)}")
    if not at["alive"]:
        parts.append("the socket closed")
    elif not at["opened"]:
        parts.append("not seen by the application yet")
    if at["sealed"] and at["alive"]:
        parts.append("its stream ended")
    if at["discarded"]:
        parts.append(f"{at['discarded']} bytes discarded")
    if at["graceful"]:
        parts.append("ended gracefully")
    if at["broken"]:
        parts.append("and an illegal event was raised inside")
    return ", ".join(parts)
