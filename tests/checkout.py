"""A checkout apart from the tested one, in which studies can be carried out."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
_MARK = "LIT_NMT_TEST"


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

    @property
    def environment(self) -> dict[str, str]:
        """The variables for what runs there."""
        path = f"{self.folder / '.venv/bin'}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}

    def run(self, *command: str, cwd: Path | None = None, network: bool = False) -> subprocess.CompletedProcess[str]:
        """Runs a command there, with the network cut if not told else; gives what it printed and its exit status."""
        return subprocess.run(
            [*([] if network else without_network()), *command],
            cwd=cwd or self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )

    @contextmanager
    def started(self, *command: str) -> Iterator[Started]:
        """Starts a command there, with the network cut, as leader of a process group; in the end, all are killed."""
        number = time.monotonic_ns()
        log = self.folder / f".started-{number}.log"
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                [*without_network(), *command],
                cwd=self.folder,
                env={**self.environment, _MARK: str(number)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # what is started in the background of a script ignores Ctrl-C
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        started = Started(process, log, str(number))
        try:
            yield started
        finally:
            for left in started.alive():
                left.kill()
            process.wait()


@dataclass(frozen=True)
class Started:
    """A command that runs, and all that it has started.

    Attributes:
        leader: The command itself.
        log: What all of them print.
        mark: By which all of them are known, whoever their parents are.
    """

    leader: subprocess.Popen[bytes]
    log: Path
    mark: str

    @property
    def said(self) -> str:
        """What was printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def alive(self) -> list[psutil.Process]:
        """Every process of it that runs, the oldest first."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                continue
        return sorted(found, key=lambda process: (process.create_time(), process.pid))

    def wait_until(self, condition: Callable[[], bool], seconds: float = 600) -> bool:
        """Waits until a condition holds or the leader has ended; tells whether it holds."""
        until = time.monotonic() + seconds
        while not condition():
            if self.leader.poll() is not None:
                return condition()
            assert time.monotonic() < until, self.said
            time.sleep(0.01)
        return True

    def assert_all_end(self, seconds: float = 20) -> None:
        """All of it must end by itself within so many seconds."""
        until = time.monotonic() + seconds
        while left := self.alive():
            assert time.monotonic() < until, [(process.pid, process.cmdline()) for process in left]
            time.sleep(0.1)

    def signal_group(self, number: signal.Signals) -> None:
        """Sends a signal to all of it, as a terminal does for Ctrl-C."""
        os.killpg(self.leader.pid, number)
