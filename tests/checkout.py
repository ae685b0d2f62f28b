"""A checkout apart from the tested one, in which studies can be carried out."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@cache
def without_network() -> list[str]:
    """What to put before a command so that it sees no network; nothing where the system does not allow that."""
    for cut in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        try:
            subprocess.run([*cut, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return cut
    return []


@dataclass(frozen=True)
class Checkout:
    """A copy of the scripts and experiments, with the tested installation.

    Attributes:
        folder: Its root; a space in the path must not matter.
    """

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Checkout:
        """Copies what studies need. Nothing is installed: `.venv` is the tested one."""
        folder.mkdir(parents=True)
        shutil.copytree(ROOT / "experiments", folder / "experiments")
        (folder / "tests").mkdir()
        for name in ("run_all.sh", "README.md", "pyproject.toml", "constraints.txt", "tests/run.sh"):
            shutil.copy(ROOT / name, folder / name)
        (folder / "install.sh").write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
        (folder / "install.sh").chmod(0o755)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        return cls(folder)

    def run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command there, with the network cut, and gives what it printed and its exit status."""
        path = f"{self.folder / '.venv/bin'}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [*without_network(), *command],
            cwd=cwd or self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
