"""install.sh: what it calls, and when it calls nothing. Its Python is a stub that keeps a record of its calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

STUB = """#!/bin/sh
echo "$*" >> "$RECORD"
case "$*" in
    *"-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *"pip install"*) exit "${PIP_FAILS:-0}" ;;
    --version) echo Python 3.11.0 ;;
esac
"""


class Machine:
    """A folder with install.sh, on a machine that has one Python, of the stub's kind."""

    def __init__(self, folder: Path, has_python: bool = True) -> None:
        self.folder = folder / "a checkout"
        self.programs = folder / "bin"
        self.record = folder / "record"
        self.folder.mkdir()
        self.programs.mkdir()
        shutil.copy(ROOT / "install.sh", self.folder)
        (self.folder / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
        (self.folder / "constraints.txt").write_text("torch==1\n", encoding="utf-8")
        for program in ("bash", "sh", "cat", "cksum", "mkdir", "cp", "dirname"):
            found = shutil.which(program)
            assert found
            (self.programs / program).symlink_to(found)
        if has_python:
            (self.programs / "python3.12").write_text(STUB, encoding="utf-8")
            (self.programs / "python3.12").chmod(0o755)

    def install(self, *extra: str, **environment: str) -> tuple[int, str, list[str]]:
        """The exit status, what was told on standard error, and the calls of pip."""
        self.record.write_text("", encoding="utf-8")
        done = subprocess.run(
            ["./install.sh", *extra],
            cwd=self.folder,
            env={"PATH": str(self.programs), "RECORD": str(self.record), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        calls = self.record.read_text(encoding="utf-8").splitlines()
        return done.returncode, done.stderr, [call for call in calls if "pip install" in call]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_first_call_installs_with_pinned_versions_and_the_second_does_nothing(machine: Machine) -> None:
    status, _, calls = machine.install()
    assert status == 0
    assert len(calls) == 1
    assert "--editable . --constraint constraints.txt" in calls[0]
    assert machine.install() == (0, "", [])
    assert not machine.record.read_text(encoding="utf-8"), "not even Python is started"


def test_extras_are_installed_once_and_contain_the_plain_installation(machine: Machine) -> None:
    assert "--editable .[slurm]" in machine.install("slurm")[2][0]
    assert machine.install("slurm")[2] == []
    assert machine.install()[2] == []
    assert "--editable .[dev]" in machine.install("dev")[2][0]
    assert machine.install("kubernetes")[2] == [], "dev has them all"


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed_again(machine: Machine, changed: str) -> None:
    machine.install()
    (machine.folder / changed).write_text("torch==2\n", encoding="utf-8")
    assert len(machine.install()[2]) == 1
    assert machine.install()[2] == []


def test_an_installation_that_failed_is_tried_again(machine: Machine) -> None:
    assert machine.install(PIP_FAILS="1")[0] == 1
    assert len(machine.install()[2]) == 1


def test_without_a_python_it_says_what_is_missing(tmp_path: Path) -> None:
    status, told, calls = Machine(tmp_path, has_python=False).install()
    assert status == 2
    assert told.count("\n") == 1
    assert "no Python 3.11 or later" in told
    assert calls == []
