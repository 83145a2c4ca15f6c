"""Mementos: whatever was done to the objects of a world, `restore` brings everything back, into the very same objects."""

import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmserver.testing.snapshot import Snapshots, fewer_collections, slot_names


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...


class Slotted:
    __slots__ = ("__secret", "left", "right")

    def __init__(self, left: Any, right: Any) -> None:
        self.left = left
        self.right = right

    def hide(self, secret: Any) -> None:
        self.__secret = secret

    def show(self) -> Any:
        return self.__secret


class Both(Slotted):
    extra: Any = None


class Color(Enum):
    RED = 1


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass(frozen=True)
class Frozen:
    inside: list[int] = field(default_factory=list)


CONTAINERS: list[tuple[Any, Callable[[Any], object]]] = [
    ([1, 2], lambda each: each.append(3)),
    ([1, 2], lambda each: each.clear()),
    ([], lambda each: each.append(3)),
    ({"a": 1}, lambda each: each.update(b=2)),
    ({"a": 1, "b": 2}, lambda each: each.update(a=each.pop("a"))),
    ({1, 2}, lambda each: each.discard(1)),
    (deque((1, 2)), lambda each: each.rotate()),
    (bytearray(b"ab"), lambda each: each.extend(b"c")),
    (Counter("aab"), lambda each: each.update("b")),
    (OrderedDict(a=1, b=2), lambda each: each.move_to_end("a")),
    (defaultdict(list, {"a": [1]}), lambda each: each["b"].append(1)),
]


@pytest.mark.parametrize(("container", "change"), CONTAINERS)
def test_a_container_gets_back_what_it_held_in_its_order(container: Any, change: Callable[[Any], object]) -> None:
    root = Plain(inside=container)
    before = list(container.items() if isinstance(container, dict) else container)
    snapshots = Snapshots(root)
    memento = snapshots.take()
    change(container)
    assert list(container.items() if isinstance(container, dict) else container) != before
    snapshots.restore(memento)
    assert list(container.items() if isinstance(container, dict) else container) == before
    assert root.inside is container


def test_objects_stay_the_same_objects() -> None:
    inner = Slotted(1, [2])
    root = Plain(inner=inner, held=(inner, Pair(inner.right, None)))
    snapshots = Snapshots(root)
    memento = snapshots.take()
    root.inner = Slotted(3, 4)
    inner.right.append(5)
    inner.left = None
    snapshots.restore(memento)
    assert root.inner is inner
    assert (inner.left, inner.right) == (1, [2])


def test_what_only_a_tuple_or_a_bound_method_leads_to_is_found() -> None:
    hidden, also = [1], Plain(count=1)
    more, most = [1], [1]
    root = Plain(entry=(0, Pair("x", hidden)), method=MethodHolder(also).change, push=more.append, later=partial(print, most))
    snapshots = Snapshots(root)
    memento = snapshots.take()
    hidden.append(2)
    root.method()
    root.push(2)
    most.append(2)
    assert also.count == 2
    snapshots.restore(memento)
    assert (hidden, also.count, more, most) == ([1], 1, [1], [1])


class MethodHolder:
    def __init__(self, target: Plain) -> None:
        self.target = target

    def change(self) -> None:
        self.target.count += 1


def test_attributes_that_came_go_and_those_that_went_come_back() -> None:
    root = Plain(stays=1, goes=2)
    snapshots = Snapshots(root)
    memento = snapshots.take()
    del root.goes
    root.comes = 3
    snapshots.restore(memento)
    assert vars(root) == {"stays": 1, "goes": 2}


def test_slots_of_bases_private_slots_and_slots_without_a_value_are_kept() -> None:
    assert slot_names(Both) == ("_Slotted__secret", "left", "right")
    root = Both(1, [2])
    root.extra = [3]
    snapshots = Snapshots(root)
    unset = snapshots.take()
    root.hide("here")
    root.left, root.extra = 5, None
    hidden = snapshots.take()
    snapshots.restore(unset)
    assert (root.left, root.right, root.extra) == (1, [2], [3])
    assert not hasattr(root, "_Slotted__secret")
    snapshots.restore(hidden)
    assert (root.left, root.show(), root.extra) == (5, "here", None)


def test_one_string_of_slots_is_one_slot() -> None:
    class Single:
        __slots__ = "only"  # noqa: PLC0205 - that it is allowed is what is tested

    assert slot_names(Single) == ("only",)


def test_what_cannot_change_is_not_looked_into() -> None:
    frozen, error = Frozen([1]), ValueError([1])
    root = Plain(frozen=frozen, error=error, color=Color.RED, function=len, cls=Plain, module=threading, text="x", set=frozenset((1,)))
    snapshots = Snapshots(root)
    memento = snapshots.take()
    frozen.inside.append(2)
    snapshots.restore(memento)
    assert frozen.inside == [1, 2]
    assert root.error is error


def test_what_is_left_untouched_keeps_what_was_done_to_it() -> None:
    log: list[int] = []
    root = Plain(log=log, count=0)
    snapshots = Snapshots(root, (log,))
    memento = snapshots.take()
    log.append(1)
    root.count = 1
    snapshots.restore(memento)
    assert (log, root.count) == ([1], 0)


@pytest.mark.parametrize("thing", [threading.Lock(), Random(1), iter([])])
def test_what_can_neither_be_read_nor_put_back_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError, match="can neither be read nor put back"):
        Snapshots(Plain(thing=thing)).take()


def test_a_memento_like_another_shares_what_has_not_changed() -> None:
    still, moving = [1], [2]
    root = Plain(still=still, moving=moving)
    snapshots = Snapshots(root)
    first = snapshots.take()
    moving.append(3)
    second = snapshots.take(like=first)
    pairs = {id(each): (each, saved) for _, group in first.groups for each, saved in group}
    later = {id(each): (each, saved) for _, group in second.groups for each, saved in group}
    assert later[id(still)][1] is pairs[id(still)][1]
    assert later[id(moving)][1] == [2, 3]
    assert second.known is first.known
    for memento, held in ((first, [2]), (second, [2, 3]), (first, [2])):
        snapshots.restore(memento)
        assert moving == held


def test_a_new_object_is_found_though_it_equals_an_old_one() -> None:
    old, new = bytearray(b"same"), bytearray(b"same")
    root = Plain(queue=[old])
    snapshots = Snapshots(root)
    first = snapshots.take()
    root.queue[0] = new
    second = snapshots.take(like=first)
    new += b" no more"
    snapshots.restore(second)
    assert root.queue[0] is new
    assert new == b"same"
    snapshots.restore(first)
    assert root.queue[0] is old


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.integers(0, 5), inner, max_size=3),
        st.builds(Slotted, inner, inner),
        st.builds(lambda left: Plain(left=left), inner),
    ),
    max_leaves=8,
)


def shape(value: Any) -> Any:
    match value:
        case list():
            return (id(value), [shape(each) for each in value])
        case dict():
            return (id(value), [(key, shape(each)) for key, each in value.items()])
        case Slotted():
            return (id(value), shape(value.left), shape(value.right))
        case Plain():
            return (id(value), shape(vars(value)))
    return value


def scramble(value: Any, new: Any) -> None:
    match value:
        case list():
            for each in value:
                scramble(each, new)
            value[1:] = [deepcopy(new)]
        case dict():
            for each in value.values():
                scramble(each, new)
            value[0] = deepcopy(new)
        case Slotted():
            scramble(value.left, new)
            value.left, value.right = value.right, deepcopy(new)
        case Plain():
            scramble(vars(value), new)


@given(first=values, second=values, third=values)
def test_whatever_is_done_everything_comes_back(first: Any, second: Any, third: Any) -> None:
    root = Plain(value=first)
    snapshots = Snapshots(root)
    before, shape_before = snapshots.take(), shape(first)
    scramble(root.value, second)
    between, shape_between = snapshots.take(like=before), shape(root.value)
    scramble(root.value, third)
    root.value = third
    snapshots.restore(before)
    assert shape(root.value) == shape_before
    snapshots.restore(between)
    assert shape(root.value) == shape_between


def test_the_garbage_collector_is_as_it_was_afterwards() -> None:
    import gc

    def thresholds() -> Iterator[tuple[int, ...]]:
        yield gc.get_threshold()
        with fewer_collections():
            yield gc.get_threshold()
        yield gc.get_threshold()

    before, during, after = thresholds()
    assert before == after != during
