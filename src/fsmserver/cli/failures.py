"""What ends a command early, and with which exit code: each says its sentence the way Typer's own errors do."""

from typing import Final

WRONG_ARGUMENT: Final = 2
FAILED: Final = 1
INTERRUPTED: Final = 130


class CommandFailed(Exception):
    """A command cannot be carried out; the sentence says why."""

    exit_code = FAILED

    def format_message(self) -> str:
        """Give the sentence, as the exceptions of the command-line library do."""
        return str(self)


class WrongArgument(CommandFailed):
    """Something on the command line is wrong."""

    exit_code = WRONG_ARGUMENT
