"""Every mutant of a file: one expression of one function changed, as mutmut's operators change it.

The operators are mutmut's. Its runner is not used: it leaves out properties, and its wrappers around every function get in
the way of what is compared by identity, of slots and of what runs at import.
"""

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

UNTOUCHED_CALLS: Final = frozenset(("len", "isinstance"))
"""Without their arguments these raise, which says nothing of the tests."""


@dataclass(frozen=True)
class Mutant:
    """One change. `key` names it for as long as its line stays as it is: the function and what the lines become."""

    file: str
    function: str
    change: str
    lines: tuple[int, int]
    """The first and the last line of the statement that was changed."""
    body: tuple[int, int]
    """The first and the last line of the function's body."""
    alone: str
    """The changed function by itself, within its class."""
    whole: Callable[[], str]
    """Gives the changed file; this takes a tenth of a second."""
    in_signature: bool

    @property
    def key(self) -> str:
        """What explanations call it."""
        return f"{self.function}: {self.change}"


def mutants(root: Path, file: str) -> list[Mutant]:
    """Make all mutants of a file, in the order of its lines."""
    wrapper = MetadataWrapper(cst.parse_module((root / file).read_text()))
    visitor = _Visitor()
    module = wrapper.visit(visitor)
    writer = _Writer(module)
    made: list[Mutant] = []
    seen = Counter[tuple[str, str]]()
    for path, node, changed, lines in visitor.found:
        alone, change = writer.write(path, node, changed)
        function = ".".join(part.name.value for part in path)
        seen[function, change] += 1
        again = "" if seen[function, change] == 1 else f" (#{seen[function, change]})"
        whole = partial(writer.whole, node, changed)
        body = visitor.bodies[path[-1]]
        made.append(Mutant(file, function, change + again, lines, body, alone, whole, lines[0] < body[0]))
    return [mutant for mutant in made if _compiles(mutant)]


def _compiles(mutant: Mutant) -> bool:
    try:
        ast.parse(mutant.alone)
    except SyntaxError:
        return False
    return True


class _Visitor(cst.CSTVisitor):
    """Collects what may be changed: everything in functions but annotations, decorators, docstrings and what assertions say."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[tuple[Any, ...], cst.CSTNode, cst.CSTNode, tuple[int, int]]] = []
        self.bodies: dict[cst.CSTNode, tuple[int, int]] = {}
        self._path: list[Any] = []
        self._unsaid: set[cst.CSTNode] = set()  # what an assertion would say: no test can have it say that
        self._statements: list[cst.CSTNode] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Annotation | cst.Decorator) or node in self._unsaid:
            return False
        if isinstance(node, cst.Assert) and node.msg is not None:
            self._unsaid.add(node.msg)
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value in UNTOUCHED_CALLS:
            return False
        if isinstance(node, cst.ClassDef | cst.FunctionDef) and not self._in_function():
            self._path.append(node)
            if isinstance(node, cst.FunctionDef):
                where = self.get_metadata(PositionProvider, node.body)
                end = self.get_metadata(PositionProvider, node)
                self.bodies[node] = (where.start.line, end.end.line)
        if isinstance(node, cst.BaseSmallStatement | cst.BaseCompoundStatement):
            self._statements.append(node)
        if self._in_function():
            self._change(node)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if self._path and self._path[-1] is original_node:
            self._path.pop()
        if self._statements and self._statements[-1] is original_node:
            self._statements.pop()

    def _in_function(self) -> bool:
        return bool(self._path) and isinstance(self._path[-1], cst.FunctionDef)

    def _change(self, node: cst.CSTNode) -> None:
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                for changed in operator(node):
                    self.found.append((tuple(self._path), node, changed, self._lines(node)))

    def _lines(self, node: cst.CSTNode) -> tuple[int, int]:
        where = self.get_metadata(PositionProvider, node, None)
        statement = self.get_metadata(PositionProvider, self._statements[-1])
        # Operators have no position of their own that can be relied on.
        last = max(where.end.line if where is not None else 0, statement.start.line)
        return statement.start.line, last


class _Writer:
    """Writes changed functions: alone, and in their file."""

    def __init__(self, module: cst.Module) -> None:
        self.module = module
        lines = module.code.splitlines()
        future = [line for line in lines if line.startswith("from __future__")]
        self._head = "".join(f"{line}\n" for line in future)

    def write(self, path: tuple[Any, ...], node: cst.CSTNode, changed: cst.CSTNode) -> tuple[str, str]:
        function = path[-1]
        new = function.deep_replace(node, changed)
        before, after = (self.module.code_for_node(each).splitlines() for each in (function, new))
        inner = new.with_changes(decorators=())
        for part in reversed(path[:-1]):
            inner = part.with_changes(body=part.body.with_changes(body=[inner]), decorators=(), bases=(), keywords=())
        return self._head + cst.Module(body=[inner]).code, _change_words(before, after)

    def whole(self, node: cst.CSTNode, changed: cst.CSTNode) -> str:
        changed_module: Any = self.module.deep_replace(node, changed)
        return str(changed_module.code)


def _change_words(before: list[str], after: list[str]) -> str:
    old: list[str] = []
    new: list[str] = []
    for line in _diff(before, after):
        (old if line[0] == "-" else new).append(line[1:].split("  # ")[0].strip())
    return f"{' '.join(old)} -> {' '.join(new)}"


def _diff(before: list[str], after: list[str]) -> Iterator[str]:
    first = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    last = 0
    while last < min(len(before), len(after)) - first and before[-1 - last] == after[-1 - last]:
        last += 1
    for line in before[first : len(before) - last]:
        yield "-" + line
    for line in after[first : len(after) - last]:
        yield "+" + line
