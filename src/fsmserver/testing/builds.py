"""What refuses the compiled build, and how: tools that replace methods of the package, or read all that is in its objects.

A compiled class lets its methods be replaced, and nobody compiled hears of it: such a tool would see less than there is, and say
that all is well.
"""

from fsmserver.core.compiling import is_compiled


class TakesPureBuild(RuntimeError):
    """A tool cannot work on the compiled build."""


def must_be_pure(tool: str) -> None:
    """Refuse the compiled build in the name of a tool.

    Raises:
        TakesPureBuild: this is the compiled one.

    """
    if is_compiled():
        raise TakesPureBuild(
            f"{tool} takes the pure build of fsmserver, and this is the compiled one: install it without FSMSERVER_COMPILE"
        )
