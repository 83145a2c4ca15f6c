"""The command line: `serve`, `connect`, `diagram` and what checks and searches."""

import sys

from fsmserver.cli.failures import INTERRUPTED, WRONG_ARGUMENT
from fsmserver.cli.options import read
from fsmserver.cli.streams import fill_standard_streams


def main() -> None:
    """Run the command line, and say in one sentence what is wrong with it."""
    fill_standard_streams()
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        # Typer's own usage errors have these two, under whatever name its version keeps them.
        if not hasattr(error, "format_message"):
            raise
        sys.stderr.write(f"fsmserver: {error.format_message()}\n")
        sys.exit(getattr(error, "exit_code", WRONG_ARGUMENT))
    sys.exit(code)


def run(words: list[str]) -> int:
    """Carry out what the words say, without Typer where they are plain; give the exit code."""
    # Each command loads what it needs only: listening comes sooner.
    asked = read(words)
    if asked is not None:
        from fsmserver.cli.serving import serve  # noqa: PLC0415 - only who serves pays for the runtime

        return serve(asked)
    from fsmserver.cli.app import run_app  # noqa: PLC0415 - it loads Typer, which is most of a start

    return run_app()
