"""Sphinx: the diagram and the limits are written from the code at each build, so that they cannot drift."""

from pathlib import Path

from fsmserver.cli.diagram import markdown
from fsmserver.core.limits import Limits

project = "fsmserver"
author = "The fsmserver developers"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
exclude_patterns = ["generated", "_build"]

generated = Path(__file__).parent / "generated"
generated.mkdir(exist_ok=True)
(generated / "diagram.md").write_text(markdown() + "\n", encoding="utf-8")
rows = [f"| `{name}` | {each.default} | {each.about} |" for name, each in Limits.declared.items()]
(generated / "limits.md").write_text("\n".join(["| limit | default | what it bounds |", "|---|---|---|", *rows]) + "\n", encoding="utf-8")
