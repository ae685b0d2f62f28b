"""The machine to oneself: one benchmark at a time, a look at what else runs, processes without a past."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

from filelock import FileLock, Timeout

from lit_nmt.leader import follow, this_process

BUSY_CORES = 0.25
"""Cores kept busy by others from which on a machine does not count as idle."""

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def machine_to_itself(folder: Path | None = None, timeout: float = -1) -> Iterator[None]:
    """Waits until no other benchmark runs on this machine, and keeps others waiting meanwhile.

    Args:
        folder: of the lock file; by default the machine's folder for temporary files.
        timeout: seconds to wait at most; negative: as long as it takes.

    Raises:
        filelock.Timeout: another benchmark still runs after `timeout` seconds.
    """
    path = (folder or Path(tempfile.gettempdir())) / "lit-nmt-bench.lock"
    lock = FileLock(path, mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("lit-nmt: another benchmark runs on this machine; waiting for it to end", file=sys.stderr)
        lock.acquire(timeout=timeout)
    try:
        yield
    finally:
        lock.release()


def cores_busy_with_others(seconds: float = 0.3) -> float:
    """How many cores other processes keep busy, looked at for some seconds in which this process sleeps.

    Where the system does not tell, the load average of the last minute, which may include this process's own
    past.
    """
    before = _busy_seconds()
    if before is None:
        return os.getloadavg()[0]
    time.sleep(seconds)
    after = _busy_seconds()
    return max(0.0, (after or before) - before) / seconds


def _busy_seconds() -> float | None:
    """Processor seconds spent on anything since the machine started, over all cores; None outside Linux."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system = (int(word) for word in file.readline().split()[1:4])
    except OSError:
        return None
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


class FreshProcesses:
    """Calls functions, each in a process of its own that has imported `modules` and done nothing else.

    The processes are forked from one that has done the importing, so each takes milliseconds. It starts to
    import when the block is entered, beside whatever the caller does.

    Args:
        modules: to import.
    """

    def __init__(self, *modules: str) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(list(modules))

    def __enter__(self) -> FreshProcesses:
        multiprocessing.forkserver.ensure_running()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def call(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """What `function` returns in a fresh process; its exceptions are raised here.

        Raises:
            BrokenExecutor: the process died, as for want of memory.
        """
        with ProcessPoolExecutor(1, self.context, follow, (this_process(),)) as executor:
            return executor.submit(function, *arguments, **named).result()
