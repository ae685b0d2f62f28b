"""Processes end with their leader."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from lit_nmt import leader

FOLLOWER = "from lit_nmt.leader import follow; follow(); print('here', flush=True); input()"


def start(name: str) -> subprocess.Popen[str]:
    """A shell that leads no one, and in it a process that follows `name`."""
    command = ["bash", "-c", f'{leader.LEADER}="{name}" "$0" -c "$1"; true', sys.executable, FOLLOWER]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_process_ends_with_its_leader_whatever_shells_are_between() -> None:
    first = subprocess.Popen(["sleep", "600"])
    with first, start(f"{first.pid}@{os.uname().nodename}") as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "here\n"
        (follower,) = psutil.Process(shell.pid).children()
        first.kill()
        psutil.wait_procs([follower], timeout=20)
        assert not follower.is_running()
        shell.wait(20)


def test_a_process_whose_leader_has_ended_does_not_begin() -> None:
    with subprocess.Popen(["true"]) as first:
        first.wait()
    with start(f"{first.pid}@{os.uname().nodename}") as shell:
        assert shell.wait(60) == 0  # else it waits for a line


@pytest.mark.parametrize("name", ["", "1@another-machine"])
def test_without_a_leader_here_nothing_happens(name: str) -> None:
    with start(name) as shell:
        assert shell.stdout is not None
        assert shell.stdin is not None
        assert shell.stdout.readline() == "here\n"
        time.sleep(0.2)
        shell.stdin.write("\n")
        shell.stdin.close()
        assert shell.wait(20) == 0


def test_a_process_may_lead_itself() -> None:
    before = threading.enumerate()
    leader.follow(leader.this_process())
    assert threading.enumerate() == before, "nobody waits for its own end"
