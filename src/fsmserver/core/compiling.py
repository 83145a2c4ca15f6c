"""What the compiler has to be told, for those who have this package compiled (see `docs/performance.md`); Python ignores it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as compiled
else:

    def compiled(**_attributes: bool) -> Any:  # noqa: ANN401 - whatever class it stands before
        """Say how a class is to be compiled: `allow_interpreted_subclasses=True` where Python's classes may derive from it."""
        return lambda cls: cls


def is_compiled() -> bool:
    """Tell whether this package is the compiled build: whether the machine's module is an extension."""
    from importlib.machinery import EXTENSION_SUFFIXES  # noqa: PLC0415 - who only serves does not ask

    from fsmserver.core import connection  # noqa: PLC0415 - that module imports this one

    return str(connection.__file__).endswith(tuple(EXTENSION_SUFFIXES))


__all__ = ["compiled", "is_compiled"]
