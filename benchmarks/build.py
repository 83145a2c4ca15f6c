"""Compile what the suite has in C, into a folder that goes with it."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAGS = {"shim": ["-shared", "-fPIC", "-ldl"], "load": ["-lm"]}


@contextmanager
def built(*names: str) -> Iterator[dict[str, str]]:
    """Compile `NAME.c` of each name; gives the path of each, until the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: str(Path(folder) / (f"{name}.so" if name == "shim" else name)) for name in names}
        for name, path in paths.items():
            subprocess.run(["cc", "-O2", "-Wall", "-o", path, str(HERE / f"{name}.c"), *FLAGS.get(name, [])], check=True)
        yield paths
