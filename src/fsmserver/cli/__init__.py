"""The command line: `serve`, `connect`, `diagram`."""

from fsmserver.cli.app import main

__all__ = ["main"]
