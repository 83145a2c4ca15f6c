"""Immutable values whose fields are declared once: what a frozen dataclass can do, they can."""

import copy
import dataclasses
import pickle
import sys
from typing import final

import pytest

from fsmserver.core.values import Value, field


@final
class Box(Value):
    """A value of two fields that may not both be 0."""

    width: int = field("how wide it is", default=2)
    name: str | None = field("what stands on it", default=None)

    def _check(self) -> None:
        if not self.width and self.name is None:
            raise ValueError("nothing of nothing")


def test_fields_are_given_by_name_and_have_defaults() -> None:
    assert (Box().width, Box().name) == (2, None)
    assert (Box(width=3, name="a").width, Box(width=3, name="a").name) == (3, "a")


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Box has no field 'depth'$"):
        Box(depth=3, width=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Box(3)  # type: ignore[call-arg]


def test_a_declaration_has_a_default_and_a_sentence() -> None:
    assert {name: (each.default, each.about) for name, each in Box.declared.items()} == {
        "width": (2, "how wide it is"),
        "name": (None, "what stands on it"),
    }


def test_nothing_can_be_set_or_deleted_or_added() -> None:
    box = Box()
    with pytest.raises(AttributeError, match=r"'width' cannot be set: a Box is immutable; dataclasses\.replace makes another one"):
        box.width = 3  # type: ignore[misc]
    with pytest.raises(AttributeError, match="'name' cannot be deleted: a Box is immutable"):
        del box.name
    with pytest.raises(AttributeError, match="'depth' cannot be set"):
        box.depth = 3
    assert box == Box()
    assert not hasattr(box, "__dict__")


def test_variants_are_made_as_of_a_dataclass_and_are_checked_too() -> None:
    assert dataclasses.replace(Box(name="a"), width=0) == Box(name="a", width=0)
    assert Box(name="a").__replace__(width=0) == Box(name="a", width=0)
    with pytest.raises(ValueError, match="nothing of nothing"):
        dataclasses.replace(Box(), width=0)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="copy.replace came with Python 3.13")
def test_variants_are_made_by_copy_too() -> None:
    assert vars(copy)["replace"](Box(), width=5) == Box(width=5)  # by its name: of older Pythons it is no attribute, say type checkers


def test_the_dataclass_that_it_looks_like_has_the_same_fields() -> None:
    assert [(each.name, each.type, each.default, dict(each.metadata)) for each in dataclasses.fields(Box)] == [
        ("width", int, 2, {"about": "how wide it is"}),
        ("name", str | None, None, {"about": "what stands on it"}),
    ]
    assert dataclasses.asdict(Box(name="a")) == {"width": 2, "name": "a"}
    assert dataclasses.is_dataclass(Box)


def test_values_are_compared_and_hashed_by_what_is_in_them() -> None:
    assert Box(width=3) == Box(width=3) != Box(width=4)
    assert Box() != (2, None)
    assert len({Box(width=3), Box(width=3), Box(width=4)}) == 2


def test_values_are_copied_and_pickled() -> None:
    box = Box(width=3, name="a")
    for other in (pickle.loads(pickle.dumps(box)), copy.copy(box), copy.deepcopy(box)):
        assert other == box
        assert type(other) is Box


def test_a_value_writes_itself_as_it_is_made() -> None:
    assert repr(Box(name="a")) == "Box(width=2, name='a')"
