"""Which of the two builds this is."""

from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from fsmserver.core import connection
from fsmserver.core.compiling import is_compiled


@pytest.mark.parametrize(
    ("file", "compiled"), [("connection.py", False), *((f"connection{suffix}", True) for suffix in EXTENSION_SUFFIXES)]
)
def test_the_build_is_compiled_if_the_machine_is_an_extension(monkeypatch: pytest.MonkeyPatch, file: str, *, compiled: bool) -> None:
    monkeypatch.setattr(connection, "__file__", f"fsmserver/core/{file}")
    assert is_compiled() is compiled
