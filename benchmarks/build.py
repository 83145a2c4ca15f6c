"""Compile what the suite has in C, and this package, into a folder that goes with it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.servers import FROM_PACKAGE, PACKAGE

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FLAGS = {"shim": ["-shared", "-fPIC", "-ldl"], "load": ["-lm"]}


@contextmanager
def built(*names: str, servers: Iterable[str] = ()) -> Iterator[dict[str, str]]:
    """Compile `NAME.c` of each name, and this package if one of the servers imports it; gives the path of each for a block's time."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: str(Path(folder) / (f"{name}.so" if name == "shim" else name)) for name in names}
        for name, path in paths.items():
            subprocess.run(["cc", "-O2", "-Wall", "-o", path, str(HERE / f"{name}.c"), *FLAGS.get(name, [])], check=True)
        if FROM_PACKAGE.intersection(servers):
            paths[PACKAGE] = str(Path(folder) / PACKAGE)
            build_package(paths[PACKAGE])
        yield paths


def build_package(folder: str) -> None:
    """Install this package, compiled, into a folder; nothing is left elsewhere. It takes most of a minute."""
    print("compiling fsmserver", file=sys.stderr, flush=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    install += ["--no-build-isolation", "--target", folder, str(ROOT)]
    subprocess.run(install, check=True, env=os.environ | {"FSMSERVER_COMPILE": "1"})
