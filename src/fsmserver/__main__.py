"""`python -m fsmserver`."""

from fsmserver.cli import main

main()
