"""What the compiler has to be told, for those who have this package compiled (see `docs/performance.md`); Python ignores it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as compiled
else:

    def compiled(**_attributes: bool) -> Any:  # noqa: ANN401 - whatever class it stands before
        """Say how a class is to be compiled: `allow_interpreted_subclasses=True` where Python's classes may derive from it."""
        return lambda cls: cls


__all__ = ["compiled"]
