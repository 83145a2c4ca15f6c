"""The module that the models are built on says what the code's tables say."""

from pathlib import Path

import pytest

from specs import generate


def test_the_generated_module_is_not_stale() -> None:
    assert generate.is_fresh(generate.PATH), "run python -m specs.generate"


def test_a_module_that_says_something_else_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "Table.tla"
    monkeypatch.setattr(generate, "PATH", path)
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    path.write_text(path.read_text(encoding="ascii").replace('drain |-> "reading"', 'drain |-> "queued"'), encoding="ascii")
    assert not generate.is_fresh(path)
    assert generate.main(["--check"]) == 1
    assert "stale" in capsys.readouterr().err


def test_a_module_that_is_not_there_is_stale(tmp_path: Path) -> None:
    assert not generate.is_fresh(tmp_path / "Table.tla")


def test_the_module_names_each_state_event_and_limit_of_the_table() -> None:
    text = generate.module()
    assert 'States == {"accepted", "reading", "queued", "writing", "closed"}' in text
    assert "finish |->" in text
    assert 'Limits == {"for ever", "half_closed_s", "handshake_s", "idle_s", "linger_s", "stall_s"}' in text
