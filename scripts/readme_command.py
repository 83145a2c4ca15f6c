"""Print one of the README's two set-up commands (`start` or `test`), so that what is checked is what is written."""

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def commands(text: str) -> dict[str, str]:
    """Find the two commands: the first two blocks marked `sh`."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return dict(zip(("start", "test"), (block.strip() for block in blocks), strict=False))


if __name__ == "__main__":
    sys.stdout.write(commands(README.read_text(encoding="utf-8"))[sys.argv[1]] + "\n")
