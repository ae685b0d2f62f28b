"""Processes end with the one that leads them, however it ends: none lives on to write where its successor writes.

`./run_all.sh` leads Snakemake, Snakemake leads what its rules call, and a training the processes that it starts beside
itself. Each finds its leader in the environment, so shells in between need to know nothing.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time

LEADER = "LIT_NMT_LEADER"


def this_process() -> str:
    """This process as a leader: its number and its machine, since a child may be started on another one."""
    return f"{os.getpid()}@{os.uname().nodename}"


def follow(leader: str | None = None) -> None:
    """Lets this process end, as by kill -9, as soon as its leader has ended.

    Args:
        leader: as `this_process` of the leader gave it; by default from the environment. Nothing happens where there
            is none, or where it runs on another machine.
    """
    number, _, machine = (leader or os.environ.get(LEADER, "")).partition("@")
    if machine == os.uname().nodename and number != str(os.getpid()):
        threading.Thread(target=_end_with, args=(int(number),), daemon=True).start()


def _end_with(process: int) -> None:
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        pass  # it has ended already
    except (AttributeError, OSError):  # not on Linux
        while _is_there(process):
            time.sleep(0.5)
    else:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll()
    os.kill(os.getpid(), signal.SIGKILL)


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
