"""Immutable values whose fields are declared in one place each: name, type, default and a sentence about it.

They are frozen dataclasses in all but the price. The module `dataclasses` loads `inspect`, `ast` and `tokenize`, and writes and
compiles the methods of each class: together that would add half to what importing this package takes. So the methods stand here,
written once, and type checkers are told that what they see is a dataclass (PEP 681). It is one: `dataclasses.fields` and
`dataclasses.replace` look at `__dataclass_fields__`, which is made when it is asked for, by those who have that module already.
"""

from collections.abc import Mapping
from functools import cache, partial
from typing import Any, ClassVar, dataclass_transform


class Field:
    """One field as it is declared: its default, and the sentence about it."""

    __slots__ = ("about", "default")

    def __init__(self, about: str, default: object) -> None:
        """Keep both."""
        self.about, self.default = about, default


def field(about: str, *, default: object) -> Any:  # noqa: ANN401 - dataclasses.field is typed like this too
    """Declare one field: a sentence about it, and its default."""
    return Field(about, default)


@cache
def as_dataclass(value: "type[Value]") -> type:
    """Make the frozen dataclass with the same fields."""
    import dataclasses  # noqa: PLC0415 - see the module

    rows = [
        (name, value.__annotations__[name], dataclasses.field(default=each.default, metadata={"about": each.about}))
        for name, each in value.declared.items()
    ]
    return dataclasses.make_dataclass(value.__name__, rows, frozen=True, kw_only=True)


class _OfDataclass:
    """An attribute that is looked up in that dataclass."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: "type[Value]") -> Any:  # noqa: ANN401 - as the attribute
        return getattr(as_dataclass(owner), self.name)


class _Slotted(type):
    """Moves the declared fields out of the body of a class: where they stood its slots come to be."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> "_Slotted":
        declared = {key: each for key, each in body.items() if isinstance(each, Field)}
        rest = {key: each for key, each in body.items() if key not in declared}
        return super().__new__(cls, name, bases, {"__slots__": tuple(declared), "declared": declared, **rest})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class Value(metaclass=_Slotted):
    """The base of an immutable value: a subclass lists its fields, each made with `field`; its `_check` may refuse them."""

    __slots__: ClassVar[tuple[str, ...]]
    declared: ClassVar[Mapping[str, Field]]
    """The fields, in the order of their declaration."""

    __dataclass_fields__ = _OfDataclass()
    __dataclass_params__ = _OfDataclass()

    def __init__(self, **values: object) -> None:
        """Take the fields, by name; those left out have their defaults."""
        for name, each in self.declared.items():
            object.__setattr__(self, name, values.pop(name, each.default))
        if values:
            raise TypeError(f"{type(self).__name__} has no field {min(values)!r}")
        self._check()

    def _check(self) -> None:
        """Refuse what makes no sense; called when all fields are there."""

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a value is what it is."""
        raise AttributeError(f"{name!r} cannot be set: a {type(self).__name__} is immutable; dataclasses.replace makes another one")

    def __delattr__(self, name: str) -> None:
        """Refuse, too."""
        raise AttributeError(f"{name!r} cannot be deleted: a {type(self).__name__} is immutable")

    def __replace__(self, **changes: object) -> "Value":
        """Make a variant, for `copy.replace` of Python 3.13."""
        return type(self)(**self._values() | changes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the fields; what is unpickled has been checked."""
        return partial(type(self), **self._values()), ()

    def __eq__(self, other: object) -> bool:
        """Compare field by field."""
        return self._values() == other._values() if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        """Hash what is compared."""
        return hash(tuple(self._values().values()))

    def __repr__(self) -> str:
        """Write it as it would be made."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values().items())})"

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.declared}
