"""Each build of this package is measured under its own name: what runs is what the table says."""

import subprocess
from pathlib import Path

import pytest

from benchmarks import build
from benchmarks.build import built
from benchmarks.servers import COMPILED, COMPILED_TRACED, FLOOR, OURS, PACKAGE, TRACED, command


@pytest.mark.parametrize("name", [COMPILED, COMPILED_TRACED])
def test_a_compiled_server_refuses_to_run_on_sources(name: str, tmp_path: Path) -> None:
    done = subprocess.run(command(name, {PACKAGE: str(tmp_path)}), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.endswith("is pure Python, and the compiled build is to be measured.\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", [OURS, TRACED])
def test_the_pure_servers_refuse_to_run_compiled(name: str, tmp_path: Path) -> None:
    package = tmp_path / "fsmserver"
    (package / "core").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "core" / "compiling.py").write_text("def is_compiled(): return True\n")
    words = [*command(name, {}), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"{package} is the compiled build, and pure Python is to be measured.\n"


def test_the_package_is_compiled_for_those_who_import_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[str] = []
    monkeypatch.setattr(build, "build_package", folders.append)
    with built(servers=[OURS, TRACED, FLOOR]) as paths:
        assert paths == {}
    with built(servers=[OURS, COMPILED]) as paths:
        assert [paths[PACKAGE]] == folders
        assert command(COMPILED, paths)[-2:] == [COMPILED, folders[0]]
        assert command(OURS, paths)[-1] == OURS
