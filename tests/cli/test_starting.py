"""What is not loaded costs nothing: neither who imports the package pays for it, nor a server before it listens.

Nothing is timed here; `python -m benchmarks` says what it comes to.
"""

import subprocess
import sys

import pytest

DEAR = {
    "ast", "asyncio", "click", "dataclasses", "inspect", "json", "logging", "pydantic", "rich", "socket", "tokenize", "transitions",
    "typer",
}  # fmt: skip
"""Modules that take a millisecond or more to load, with what they load."""

SERVING_NEEDS = {"logging", "socket", "tokenize"}
PATIENCE_S = 20

# What the interpreter itself has loaded (a tool that measures coverage may be there) is not counted.
BEFORE = "import sys; before = set(sys.modules)\n"
AFTER = "print('loaded', *set(sys.modules) - before)"

# As `python -m fsmserver`, on any free port; the server says what is loaded, and stops, when it has said where it listens.
SERVED = f"""
import runpy
from fsmserver.cli import serving
from fsmserver.runtime.binding import Tcp

def make(factory, *endpoints, server=serving.Server, **options):
    return server(factory, *(endpoints or (Tcp("127.0.0.1", 0),)), **options)

def announce(server, announced=serving.announce):
    announced(server)
    {AFTER}
    server.stop()

serving.Server, serving.announce = make, announce
sys.argv[1:] = WORDS
runpy.run_module("fsmserver", run_name="__main__")
"""


def loaded(code: str) -> set[str]:
    """Run code in a fresh interpreter; give the modules that it says it has loaded."""
    done = subprocess.run([sys.executable, "-c", BEFORE + code], capture_output=True, timeout=PATIENCE_S, check=True, text=True)
    return set(next(line for line in done.stdout.splitlines() if line.startswith("loaded ")).split()[1:])


def test_who_imports_the_package_loads_nothing_dear() -> None:
    found = loaded(f"import fsmserver\n{AFTER}")
    assert "fsmserver.core.connection" in found
    assert not found & DEAR
    assert not any(name.startswith("fsmserver.runtime") for name in found)


def test_who_asks_for_a_server_loads_no_more_than_it_needs() -> None:
    found = loaded(f"import fsmserver; fsmserver.Server\n{AFTER}")
    assert "fsmserver.runtime.server" in found
    assert found & DEAR <= SERVING_NEEDS


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("words", [[], ["serve", "--listen", "tcp://127.0.0.1:0", "--quiet", "--idle-s", "20"]])
def test_a_server_listens_before_anything_dear_is_loaded(words: list[str]) -> None:
    found = loaded(SERVED.replace("WORDS", repr(words)))
    assert "fsmserver.cli.echo" in found
    assert found & DEAR <= SERVING_NEEDS


@pytest.mark.slow
@pytest.mark.network
def test_what_is_not_plain_is_served_with_typer() -> None:
    assert "typer" in loaded(SERVED.replace("WORDS", repr(["serve", "--listen=tcp://127.0.0.1:0"])))
