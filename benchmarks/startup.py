"""How long it takes to be there: the CPU of `import fsmserver` over a bare interpreter's, and the time to listening.

All is measured with the bytecode on disk, as pip leaves it: a first run, which is not counted, puts it into a folder of its own. Without
that, a checkout whose bytecode may not be written (PYTHONDONTWRITEBYTECODE) is compiled anew each time, and that is measured.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from benchmarks.figures import Spread, spread

TURNS = 21
SERVE = ("serve", "--listen", "tcp://127.0.0.1:0")
DEFAULT_PORT = 8008


@contextmanager
def as_installed() -> Iterator[dict[str, str]]:
    """Give an environment in which bytecode is kept."""
    with TemporaryDirectory() as folder:
        rest = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        yield rest | {"PYTHONPYCACHEPREFIX": folder}


def run_cpu_ms(code: str, environment: Mapping[str, str] = os.environ) -> float:
    """Run a line of Python in a fresh interpreter; gives its CPU, in ms."""
    process = subprocess.Popen([sys.executable, "-P", "-c", code], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"this does not run: {code}")
    return (usage.ru_utime + usage.ru_stime) * 1e3


def import_ms(turns: int = TURNS) -> Spread:
    """Measure the import, each time beside a bare interpreter, so that a noisy spell hits both."""
    with as_installed() as environment:
        run_cpu_ms("import fsmserver", environment)
        return spread(run_cpu_ms("import fsmserver", environment) - run_cpu_ms("pass", environment) for _ in range(turns))


def listening_ms(turns: int = TURNS, words: tuple[str, ...] = SERVE) -> Spread:
    """Measure from the start of `python -m fsmserver` with these words to the line that says where it listens."""
    with as_installed() as environment:
        _until_listening_ms(words, environment)
        return spread(_until_listening_ms(words, environment) for _ in range(turns))


def bare_listening_ms(turns: int = TURNS) -> Spread | None:
    """Measure `python -m fsmserver` alone; None if somebody else has its port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError:
            return None
    return listening_ms(turns, ())


def _until_listening_ms(words: tuple[str, ...], environment: Mapping[str, str]) -> float:
    start_s = time.monotonic()
    command = [sys.executable, "-P", "-m", "fsmserver", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        taken_ms = (time.monotonic() - start_s) * 1e3
        process.terminate()
        process.stdout.read()
    if not line.startswith("listening on"):
        raise SystemExit(f"the server does not listen: {line}")
    return taken_ms
