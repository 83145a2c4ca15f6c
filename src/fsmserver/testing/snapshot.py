"""Mementos of a whole simulated world: taken in a tenth of a millisecond, put back into the very same objects in a third of that.

An exhaustive search tries many operations from one state. Making that state anew each time, by replaying the operations that led to
it, would cost a hundred times what one operation costs; `copy.deepcopy` of everything costs half of that. So the objects stay,
and what is in them is put back: a memento is the list of all objects that can change, each with what it held.

    snapshots = Snapshots(world)
    before = snapshots.take()
    world.apply(("round",))
    snapshots.restore(before)      # as if nothing had been done

*What is found.* Everything that can be reached from the root through attributes (`__slots__` and `__dict__`), containers,
tuples and the objects of bound methods.

*What is taken for unchangeable* and is not looked into: numbers, strings, bytes, frozen sets, enums, classes, functions (a closure is not
looked into: whatever it changes must be reachable in another way), modules, loggers, exceptions and frozen dataclasses.

*What is refused*, with a TypeError: an object of any other built-in kind (a generator, a lock, a random.Random), since what is in
it could neither be read nor put back.

Identity is kept: after `restore`, whoever held a reference to an object of the world still holds it.
"""

from __future__ import annotations

import enum
import gc
import logging
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import eq, is_
from typing import Any, Final, NamedTuple, TypeAlias

Pairs: TypeAlias = list[tuple[Any, Any]]

ATOMS: Final = (
    type(None), bool, int, float, complex, str, bytes, frozenset, range, type, types.FunctionType, types.ModuleType, types.CodeType,
    logging.Logger, BaseException, enum.Enum, type(NotImplemented), type(...), property, staticmethod, classmethod,
)  # fmt: skip

FEWER_COLLECTIONS: Final = (200_000, 20, 50)
"""A search makes millions of objects that live until their state has been explored; looking for cycles among them all is slow."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """How objects of a class are treated.

    `save` gives what one holds, `same` tells whether two of these are the same to the last object, `parts` gives what to
    look into, `restore` puts many back. `restore` is None for what cannot change itself and is only looked into.
    """

    save: Callable[[Any], Any]
    same: Callable[[Any, Any], bool]
    parts: Callable[[Any], Iterable[Any]]
    restore: Callable[[Pairs], None] | None


class Memento(NamedTuple):
    """What everything held. To be given to `restore`, not to be looked into."""

    groups: list[tuple[Kind, Pairs]]
    known: dict[int, object]
    """Every object that was found, by its id: kept, so that no other gets the same id."""


class Snapshots:
    """Takes and restores mementos of everything that can be reached from `root`.

    What is in `untouched` (and what can be reached through it alone) is left as it is: counters that only grow, logs, coverage.
    """

    def __init__(self, root: object, untouched: Iterable[object] = ()) -> None:
        """Look at nothing yet."""
        self._root = root
        self._untouched = {id(each): each for each in untouched}

    def take(self, like: Memento | None = None) -> Memento:
        """Give what everything holds now. With `like`, what has not changed since is shared with that memento, which is quicker.

        Raises:
            TypeError: something can be reached that can neither be read nor taken for unchangeable.

        """
        return (None if like is None else self._take_changes(like)) or self._take_all()

    def _take_all(self) -> Memento:
        known = self._untouched.copy()
        known[id(self._root)] = self._root
        todo = [self._root]
        groups: dict[Kind, Pairs] = {}
        while todo:
            each = todo.pop()
            kind = KINDS.get(type(each)) or _kind_of(type(each))
            saved = kind.save(each)
            if kind.restore is not None:
                pairs = groups.get(kind)
                if pairs is None:
                    pairs = groups[kind] = []
                pairs.append((each, saved))
            for part in kind.parts(saved):
                if type(part) not in KNOWN_ATOMS and id(part) not in known and not _is_atom(type(part)):
                    known[id(part)] = part
                    todo.append(part)
        return Memento(list(groups.items()), known)

    def _take_changes(self, like: Memento) -> Memento | None:
        """Give None if there is an object that was not there before: then all has to be walked through."""
        known = like.known
        groups = []
        for kind, pairs in like.groups:
            save, same, parts = kind.save, kind.same, kind.parts
            fresh, changed = [], False
            for pair in pairs:
                each, before = pair
                saved = save(each)
                if same(saved, before):
                    fresh.append(pair)
                    continue
                for part in parts(saved):
                    if type(part) not in KNOWN_ATOMS and id(part) not in known and not _is_atom(type(part)):
                        return None
                fresh.append((each, saved))
                changed = True
            groups.append((kind, fresh if changed else pairs))
        return Memento(groups, known)

    @staticmethod
    def restore(memento: Memento) -> None:
        """Put everything back."""
        for kind, pairs in memento.groups:
            kind.restore(pairs)  # type: ignore[misc] # what is only looked into is in no group


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Let the garbage collector run less often while many mementos are kept."""
    before = gc.get_threshold()
    gc.set_threshold(*FEWER_COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


KINDS: Final[dict[type, Kind]] = {}
KNOWN_ATOMS: Final[set[type]] = set()
KNOWN_OTHERS: Final[set[type]] = set()


def _is_atom(cls: type) -> bool:
    """Tell whether objects of this class are taken for unchangeable; remembered, so that it is asked once."""
    if cls in KNOWN_OTHERS:
        return False
    frozen = getattr(cls, "__dataclass_params__", None)
    is_atom = issubclass(cls, ATOMS) or (frozen is not None and frozen.frozen)
    (KNOWN_ATOMS if is_atom else KNOWN_OTHERS).add(cls)
    return is_atom


def _itself(saved: Any) -> Any:
    return saved


def _nothing(_: Any) -> tuple[()]:
    return ()


# Most containers are empty, and stay empty: asking costs less than clearing.


def _restore_lists(pairs: Pairs) -> None:
    for each, saved in pairs:
        if each or saved:
            each[:] = saved


def _restore_deques(pairs: Pairs) -> None:
    for each, saved in pairs:
        if each or saved:
            each.clear()
            each.extend(saved)


def _restore_mappings(pairs: Pairs) -> None:
    for each, saved in pairs:
        if each or saved:
            each.clear()
            each.update(saved)


def _same_items(saved: Any, before: Any) -> bool:
    return len(saved) == len(before) and all(map(is_, saved, before))


def _same_mappings(saved: dict[Any, Any], before: dict[Any, Any]) -> bool:
    return len(saved) == len(before) and all(map(is_, saved, before)) and all(map(is_, saved.values(), before.values()))


def _items(saved: dict[Any, Any]) -> Iterator[Any]:
    yield from saved
    yield from saved.values()


MAPPING: Final = Kind(dict, _same_mappings, _items, _restore_mappings)
CONTAINERS: Final[dict[type, Kind]] = {
    list: Kind(list, _same_items, _itself, _restore_lists),
    bytearray: Kind(bytes, eq, _nothing, _restore_lists),
    deque: Kind(list, _same_items, _itself, _restore_deques),
    set: Kind(set, _same_items, _itself, _restore_mappings),
    dict: MAPPING,
    Counter: MAPPING,
    OrderedDict: MAPPING,
    defaultdict: MAPPING,
}
ONLY_LOOKED_INTO: Final[dict[type, Callable[[Any], Iterable[Any]]]] = {
    tuple: _itself,
    types.MethodType: lambda method: (method.__self__,),
    types.BuiltinMethodType: lambda method: (method.__self__,),
    types.MethodWrapperType: lambda method: (method.__self__,),
    partial: lambda call: (call.func, call.args, call.keywords),
    memoryview: lambda view: (view.obj,),
}


def _kind_of(cls: type) -> Kind:
    """Find out how objects of a class are treated, once."""
    kind = CONTAINERS.get(cls)
    if kind is None:
        for base, parts in ONLY_LOOKED_INTO.items():
            if issubclass(cls, base):
                kind = Kind(_itself, is_, parts, None)
                break
        else:
            kind = _kind_of_instances(cls)
    KINDS[cls] = kind
    return kind


def _kind_of_instances(cls: type) -> Kind:
    for base in cls.__mro__[:-1]:
        if "__slots__" not in base.__dict__ and not base.__dictoffset__:  # no class statement has made it
            raise TypeError(
                f"what is in a {base.__module__}.{base.__qualname__} can neither be read nor put back: keep it out of the world"
            )
    names = slot_names(cls)
    has_dict = bool(cls.__dictoffset__)
    if names and has_dict:
        return _slots_and_dict(names)
    return _slots(names) if names else ATTRIBUTES


def slot_names(cls: type) -> tuple[str, ...]:
    """Give the names of all slots of a class, its bases' first, as `getattr` wants them."""
    names: list[str] = []
    for base in reversed(cls.__mro__):
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__"):
                mangled = name.startswith("__") and not name.endswith("__")
                names.append(f"_{base.__name__.lstrip('_')}{name}" if mangled else name)
    return tuple(names)


def _restore_attributes(pairs: Pairs) -> None:
    for each, saved in pairs:
        attributes = each.__dict__
        attributes.update(saved)
        if len(attributes) != len(saved):
            attributes.clear()
            attributes.update(saved)


ATTRIBUTES: Final = Kind(lambda each: each.__dict__.copy(), _same_mappings, dict.values, _restore_attributes)

UNSET: Final = enum.Enum("Unset", "UNSET").UNSET  # type: ignore[attr-defined] # an atom that prints itself


class _Some(tuple[Any, ...]):
    """What an object holds some of whose slots are not set."""

    __slots__ = ()


def _slots(names: tuple[str, ...]) -> Kind:
    """Make the functions that read and write these slots: written out, as `dataclasses` does it, since a loop takes five times as long."""
    read = ", ".join(f"each.{name}" for name in names)
    source = f"def save(each):\n try: return ({read},)\n except AttributeError: return save_some(each)\n"
    source += f"def restore(pairs):\n for each, saved in pairs:\n  ({read},) = saved\n  if type(saved) is not tuple: unset(each, saved)\n"

    def save_some(each: Any) -> _Some:
        return _Some(getattr(each, name, UNSET) for name in names)

    def unset(each: Any, saved: _Some) -> None:
        for name, value in zip(names, saved, strict=True):
            if value is UNSET:
                delattr(each, name)

    namespace: dict[str, Any] = {"save_some": save_some, "unset": unset}
    exec(source, namespace)  # noqa: S102 - of names that are in the class already
    return Kind(namespace["save"], _same_items, _itself, namespace["restore"])


def _slots_and_dict(names: tuple[str, ...]) -> Kind:
    slots = _slots(names)

    def save(each: Any) -> tuple[Any, dict[str, Any]]:
        return slots.save(each), each.__dict__.copy()

    def same(saved: Any, before: Any) -> bool:
        return _same_items(saved[0], before[0]) and _same_mappings(saved[1], before[1])

    def parts(saved: tuple[Any, dict[str, Any]]) -> Iterator[Any]:
        yield from saved[0]
        yield from saved[1].values()

    def restore(pairs: Pairs) -> None:
        slots.restore([(each, saved[0]) for each, saved in pairs])  # type: ignore[misc] # slots can change
        _restore_attributes([(each, saved[1]) for each, saved in pairs])

    return Kind(save, same, parts, restore)
