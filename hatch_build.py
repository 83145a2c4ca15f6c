"""Compile the modules that every message and connection comes by, where the environment has FSMSERVER_COMPILE=1.

mypyc makes extensions of the very same sources, beside which the sources stay: they are what tracebacks and readers see. All is
done in a folder that goes again, so that a work tree never runs anything compiled without knowing (the plugin hatch-mypyc builds
in place). Without the variable the wheel is pure Python, for any interpreter and any system.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SWITCH = "FSMSERVER_COMPILE"
FLAGS = {"CFLAGS": "-fno-semantic-interposition", "LDFLAGS": "-Wl,-Bsymbolic-functions"}
"""The compiled functions call one another without the detour that lets somebody else's stand in for them."""

PROGRAM = """
import sys
from mypyc.build import mypycify
from setuptools import setup

modules, sys.argv[1:] = sys.argv[1:], ["build_ext", "--inplace"]
words = ["--ignore-missing-imports", *modules]  # what building takes is installed here, and nothing that running takes
setup(name="fsmserver", packages=[], ext_modules=mypycify(words, opt_level="3", debug_level="0", group_name="fsmserver"))
"""


class CompilingHook(BuildHookInterface[Any]):
    """What hatchling asks before it makes a wheel."""

    @property
    def wanted(self) -> bool:
        """Whether this wheel is to be compiled; an editable install never is, since its sources change."""
        return os.environ.get(SWITCH, "0") not in ("", "0")

    def dependencies(self) -> list[str]:
        """Name what building takes, the extra `compile`: nothing if nothing is compiled."""
        return self.metadata.core.optional_dependencies["compile"] if self.wanted else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the wheel contain what came of it."""
        if not self.wanted or version == "editable":
            return
        self._folder = tempfile.mkdtemp()
        source = Path(self.root, "src")
        build = Path(self._folder, "src")
        shutil.copytree(source, build, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        program = [sys.executable, "-c", PROGRAM, *self.config["modules"]]
        flags = {name: f"{os.environ.get(name, '')} {words}" for name, words in FLAGS.items()} if sys.platform == "linux" else {}
        environment = os.environ | flags
        done = subprocess.run(program, cwd=build, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - all ours
        if done.returncode:
            self.finalize(version, build_data, "")
            what = f"{SWITCH} is set and compiling failed: it takes a C compiler and Python's headers"
            raise SystemExit(f"{done.stdout}{done.stderr}\n{what}")  # the sentence last, where people look first
        for path in build.rglob("*.so"):
            if "build" not in path.relative_to(build).parts[:1]:
                build_data["force_include"][str(path)] = str(path.relative_to(build))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's signature
        """Throw the folder away."""
        if hasattr(self, "_folder"):
            shutil.rmtree(self._folder, ignore_errors=True)
