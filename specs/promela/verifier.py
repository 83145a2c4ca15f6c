"""Build verifiers of the Promela model with Spin and a C compiler, run them, and read what they say.

    with Verifiers() as verifiers:
        outcome = verifiers.run(model)      # a `models.Outcome`, as of TLC

A model is `model.pml` with flags, the bounds: `-DD=2 -DLEAVES`. A verifier is a C program made of it, which takes longer to
compile than to run; so it is built once for each set of flags, and with -DMISTAKES it makes whichever mistake of `mistakes.pml`
it is told to, or none. With a claim (an `ltl` of `properties.pml`) it looks for a cycle that violates it, under weak fairness
of processes; without one, for a violated assertion or a dead end.

Its exit code says nothing, so what it prints is read, and said in the numbers that TLC uses: 0 no error, 11 a dead end, 12 a
violated assertion, 13 a violated claim, 1 a search that was not completed, which counts as nothing.

*Actions.* Each option of a process is an action, and what it does is one step (`FAST` makes it a `d_step`). Spin says which it has
never reached; a model whose bounds switch an action off says so in the manifest.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from specs.models import CannotCheck, Model, Outcome

if TYPE_CHECKING:
    from typing import Self

HERE: Final = Path(__file__).parent
DEEPEST: Final = 4_000_000
"""Steps: a longer path is cut, and a search with a path that was cut is not complete."""
MOST_MEBIBYTES: Final = 7000
TOOLS: Final = ("spin", "gcc")
NO_TOOLS: Final = """\
the Promela model needs Spin and a C compiler, and there is no {}. On Debian and Ubuntu: apt-get install spin gcc libc6-dev.
Elsewhere: `spin` from version 6.5 on and `gcc` on the PATH. Nothing was checked."""

MISTAKE: Final = re.compile(r"^#define (\w+)\s+MADE\((\d+)\)", re.MULTILINE)
VIOLATED: Final = re.compile(r"assertion violated \(+(\w+)")
STATES: Final = re.compile(r"^ *([\d.e+]+) states, stored", re.MULTILINE)  # from 10⁸ on Spin rounds: 1.0716552e+08
STEPS: Final = re.compile(r"^ *([\d.e+]+) transitions", re.MULTILINE)
UNREACHED: Final = re.compile(r'^\t(\S+, state \d+), (".*")$', re.MULTILINE)
TOTALS: Final = re.compile(r"^\t\(\d+ of (\d+) states\)$", re.MULTILINE)
CUT: Final = ("max search depth too small", "Search not completed", "memory bound", "out of memory")


def find_tools() -> None:
    """See that there is all that is needed.

    Raises:
        CannotCheck: there is not.

    """
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise CannotCheck(NO_TOOLS.format(" and no ".join(missing)))


def mistakes() -> dict[str, int]:
    """Give the number of each mistake of `mistakes.pml`."""
    return {name: int(number) for name, number in MISTAKE.findall((HERE / "mistakes.pml").read_text(encoding="ascii"))}


class Verifiers:
    """Those that were built, in a folder of their own. To be used as a context manager."""

    def __init__(self) -> None:
        """Begin with none."""
        self._folder = tempfile.TemporaryDirectory()
        self._built: dict[tuple[str, ...], Path] = {}
        self._lock = Lock()

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete them all."""
        self._folder.cleanup()

    def run(self, model: Model) -> Outcome:
        """Verify a model; its seconds do not count the building.

        Raises:
            CannotCheck: Spin or the compiler is missing, or refuses the model.

        """
        with self._lock:
            key = (*model.flags, model.size, "safety" if not model.claim else "claims")
            if key not in self._built:
                self._built[key] = build(model, Path(self._folder.name) / str(len(self._built)))
        program = self._built[key]
        words = [str(program), f"-m{DEEPEST}", *(["-a", "-f", "-N", model.claim] if model.claim else [])]
        mistake = 0 if model.expected == "sound" else mistakes()[model.name]
        with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            process = subprocess.Popen(  # noqa: S603 - what was just built
                words, cwd=scratch, stdout=said, stderr=subprocess.STDOUT, env=os.environ | {"MISTAKE": str(mistake)}
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            return read(said.read(), usage.ru_utime + usage.ru_stime)


def build(model: Model, folder: Path) -> Path:
    """Make the verifier of a model in a new folder; give its path.

    Raises:
        CannotCheck: Spin or the compiler is missing, or refuses the model.

    """
    find_tools()
    shutil.copytree(HERE, folder / "promela")
    shutil.copytree(HERE.parent / "generated", folder / "generated")
    options = ["-O2" if model.size == "large" else "-O0", f"-DMEMLIM={MOST_MEBIBYTES}", "-DNFAIR=4" if model.claim else "-DSAFETY"]
    for command in (["spin", "-a", *model.flags, "model.pml"], ["gcc", "-w", *options, "-o", "pan", "pan.c"]):
        done = subprocess.run(command, cwd=folder / "promela", capture_output=True, text=True, check=False)  # noqa: S603 - Spin, gcc
        if done.returncode:
            raise CannotCheck(f"{' '.join(command)} failed: {(done.stdout + done.stderr)[-2000:]}")
    return folder / "promela" / "pan"


def read(text: str, seconds: float) -> Outcome:
    """Read what a verifier printed."""
    states, steps = STATES.search(text), STEPS.search(text)
    never = {place: words for place, words in UNREACHED.findall(text) if words != '"-end-"'}  # the options of one `if` are one
    return Outcome(
        exit_code=_exit_code(text),
        text=text,
        seconds=seconds,
        states=0 if states is None else int(float(states[1])),
        generated=0 if steps is None else int(float(steps[1])),
        statements=sum(int(total) for total in TOTALS.findall(text)) - text.count('"-end-"'),
        unreached=tuple(f"{place}, {words}" for place, words in never.items()),
    )


def _exit_code(text: str) -> int:
    if VIOLATED.search(text):
        return 12
    if "pan:1: acceptance cycle" in text:
        return 13
    if "pan:1: invalid end state" in text:
        return 11
    return 0 if "errors: 0" in text and not any(words in text for words in CUT) else 1
