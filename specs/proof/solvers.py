"""Two solvers that have nothing in common but their Python face: what one of them gets wrong, the other one shows."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from specs.proof.model import Number, Truth

SOLVERS: Final = {"z3": "z3", "cvc5": "cvc5.pythonic"}
"""Each solver's name and its module; the second has the first one's names on purpose."""


class Symbols:
    """The connectives for a solver's terms. What is known while a formula is built is left out of it."""

    def __init__(self, name: str) -> None:
        """Use the solver `name`, a key of `SOLVERS`."""
        self.name = name
        self.smt: Any = importlib.import_module(SOLVERS[name])

    def all_of(self, *truths: Truth) -> Truth:
        """Say that each holds."""
        if any(truth is False for truth in truths):
            return False
        open_ones = [truth for truth in truths if truth is not True]
        return self.smt.And(*open_ones) if len(open_ones) > 1 else open_ones[0] if open_ones else True

    def any_of(self, *truths: Truth) -> Truth:
        """Say that one holds."""
        if any(truth is True for truth in truths):
            return True
        open_ones = [truth for truth in truths if truth is not False]
        return self.smt.Or(*open_ones) if len(open_ones) > 1 else open_ones[0] if open_ones else False

    def negate(self, truth: Truth) -> Truth:
        """Say that it does not hold."""
        return not truth if isinstance(truth, bool) else self.smt.Not(truth)

    def choose(self, condition: Truth, yes: Any, no: Any) -> Any:  # noqa: ANN401 - truths or numbers
        """Give `yes` where the condition holds, else `no`."""
        if isinstance(condition, bool):
            return yes if condition else no
        return self.smt.If(condition, yes, no)

    def truth(self, name: str) -> Truth:
        """Give an unknown truth."""
        return self.smt.Bool(name)

    def number(self, name: str) -> Number:
        """Give an unknown whole number."""
        return self.smt.Int(name)

    def example(self, formula: Truth, terms: Mapping[str, Any]) -> "Answer":
        """Look for values with which `formula` holds, and give those of `terms` there."""
        solver = self.smt.SimpleSolver()
        solver.add(formula)
        answer = solver.check()
        if answer == self.smt.sat:
            found = solver.model()
            return Answer("sat", {name: self._value(found, term) for name, term in terms.items()})
        return Answer(str(answer), {})

    def _value(self, found: Any, term: Any) -> int | bool:  # noqa: ANN401 - the solver's own
        if isinstance(term, bool | int):
            return term
        value = found.eval(term, model_completion=True)
        return bool(self.smt.is_true(value)) if self.smt.is_bool(value) else int(value.as_long())


@dataclass(frozen=True)
class Answer:
    """What a solver said: `sat`, `unsat` or `unknown`; and with `sat`, the values."""

    word: str
    values: Mapping[str, int | bool]
