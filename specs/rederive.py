"""Change a name of a module that is loaded, and run again what was derived from it, wherever that is.

Modules look things up when they are imported: a table in one becomes a look-up in another and a constant in a third.
Reloading them would make new classes beside the old. So the source of each module is read, and of its top level only
the assignments are run again whose value rests on a changed name, in their order; a function that rests on one counts
as changed itself (it looks its globals up when it is called, so it needs no new object); what other modules imported
from there by name is handed to them, and they are treated in the same way.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any, Final

PACKAGES: Final = ("fsmserver", "tests", "specs")
"""Whose modules are followed."""


def rederive(module_name: str, changes: Mapping[str, Callable[[Any], Any]]) -> None:
    """Give each name in `changes` the value that its function makes of the present one, and derive anew what follows."""
    changed = {module_name: _run_again(sys.modules[module_name], set(), changes)}
    while changed:
        source, names = changed.popitem()
        for module in _followed():
            imported = _hand_over(source, names, module)
            if imported:
                changed[module.__name__] = _run_again(module, imported, {})


def _followed() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if name.split(".", maxsplit=1)[0] in PACKAGES and getattr(module, "__file__", None):
            yield module


@cache
def _statements(module: ModuleType) -> list[ast.stmt]:
    return ast.parse(inspect.getsource(module)).body


def _hand_over(source: str, names: set[str], module: ModuleType) -> set[str]:
    """Give `module` the new values of what it imported from `source`; give the names it has for them."""
    theirs = vars(sys.modules[source])
    received = set()
    for statement in _statements(module):
        if isinstance(statement, ast.ImportFrom) and statement.module == source:
            for alias in statement.names:
                if alias.name in names:
                    name = alias.asname or alias.name
                    setattr(module, name, theirs[alias.name])
                    received.add(name)
    return received


def _run_again(module: ModuleType, changed: set[str], changes: Mapping[str, Callable[[Any], Any]]) -> set[str]:
    """Run the assignments of `module` that rest on `changed`; make `changes` in their place. Give all names that are new."""
    changed = set(changed)
    for statement in _statements(module):
        names = _bound(statement)
        if names and _used(statement) & changed:
            changed |= names
            if not isinstance(statement, ast.FunctionDef):
                code = compile(ast.Module([statement], []), str(module.__file__), "exec")
                exec(code, vars(module))  # noqa: S102 - the module's own statement, in its own place
        for name in names & changes.keys():
            setattr(module, name, changes[name](getattr(module, name)))
            changed.add(name)
    return changed


@cache
def _bound(statement: ast.stmt) -> set[str]:
    """Name what an assignment or a function definition binds; other statements are left alone."""
    if isinstance(statement, ast.FunctionDef):
        return {statement.name}
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        nodes = (node for target in targets for node in ast.walk(target))
        return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return set()


@cache
def _used(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
