"""This machine's GPUs, and a lease of some of them that lasts as long as the command it is for.

`python -m lit_nmt.devices COUNT COMMAND...` waits for so many free GPUs, shows the command those alone, by
CUDA_VISIBLE_DEVICES, and becomes it. Each GPU has a lock file of the whole machine; the command inherits the open
files, so that its end, however it comes, frees its GPUs.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lit_nmt.errors import UserError
from lit_nmt.leader import follow

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""What names the GPUs that a process sees."""

_NONE = ("", "-1", "NoDevFiles")
"""Names after which CUDA sees no more GPUs."""

_SECONDS = 0.5
"""Between two looks at which GPUs are free."""


@cache
def gpus() -> list[str]:
    """The GPUs that this process may use, by their UUIDs; none where nvidia-smi finds none.

    By what CUDA_VISIBLE_DEVICES says where it is set, whose numbers mean different GPUs to different processes.
    """
    try:
        asked = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        here = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        here = []
    if VISIBLE not in os.environ:
        return here
    names = [name.strip() for name in os.environ[VISIBLE].split(",")]
    names = names[: next((i for i, name in enumerate(names) if name in _NONE), None)]
    return [here[int(name)] if name.isdigit() and int(name) < len(here) else name for name in names]


def lease(count: int) -> list[str]:
    """Waits until `count` GPUs are free and takes them, for as long as this process, or what it becomes, lives.

    All at once or none, so that two which wait for several do not wait for each other.

    Raises:
        UserError: this process sees fewer GPUs.
    """
    known = gpus()
    if count > len(known):
        raise UserError(
            f"trainer.devices: {count} GPUs are asked for, this machine shows {len(known)}; "
            f"lower it in the study, set trainer.accelerator to cpu, or use another machine"
        )
    while True:
        held: dict[str, int] = {}
        for name in known:
            if len(held) < count and (lock := _lock(name)) is not None:
                held[name] = lock
        if len(held) == count:
            for lock in held.values():
                os.set_inheritable(lock, True)
            return list(held)
        for lock in held.values():
            os.close(lock)
        time.sleep(_SECONDS)


def _lock(name: str) -> int | None:
    """The open and locked file of a GPU; None while another process has it."""
    path = Path(tempfile.gettempdir()) / f"lit-nmt-gpu-{name.replace('/', '-')}.lock"
    if not path.exists():  # a file of another user's in a shared folder may be opened, not created
        path.touch()
        path.chmod(0o644)  # whatever the user's mask
    try:
        lock = os.open(path, os.O_RDONLY)
    except PermissionError:
        raise UserError(f"{path}: another user's, and not readable; ask for `chmod a+r` on it") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def main(arguments: Sequence[str]) -> int:
    """Becomes a command with as many GPUs of its own as asked for; on a machine that has none, the command alone.

    Without a command, prints how many there are.
    """
    if not arguments:
        print(len(gpus()))
        return 0
    follow()
    count, *command = arguments
    try:
        if count == "0" or gpus():
            os.environ[VISIBLE] = ",".join(lease(int(count)))
    except UserError as error:
        print(f"lit-nmt: {error}", file=sys.stderr)
        return 2
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
