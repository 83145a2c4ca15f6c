"""How long it takes to be there: the CPU of `import fsmserver` over a bare interpreter's, and the time to listening."""

import os
import subprocess
import sys
import time

from benchmarks.figures import Spread, spread

TURNS = 21


def run_cpu_ms(code: str) -> float:
    """Run a line of Python in a fresh interpreter; gives its CPU, in ms."""
    process = subprocess.Popen([sys.executable, "-P", "-c", code])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"this does not run: {code}")
    return (usage.ru_utime + usage.ru_stime) * 1e3


def import_ms(turns: int = TURNS) -> Spread:
    """Measure the import, each time beside a bare interpreter, so that a noisy spell hits both."""
    return spread(run_cpu_ms("import fsmserver") - run_cpu_ms("pass") for _ in range(turns))


def listening_ms(turns: int = TURNS) -> Spread:
    """Measure from the start of `python -m fsmserver` to the line that says where it listens."""
    taken = []
    for _ in range(turns):
        start_s = time.monotonic()
        words = [sys.executable, "-P", "-m", "fsmserver", "serve", "--listen", "tcp://127.0.0.1:0"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            taken.append((time.monotonic() - start_s) * 1e3)
            process.terminate()
            process.stdout.read()
        if not line.startswith("listening on"):
            raise SystemExit(f"the server does not listen: {line}")
    return spread(taken)
