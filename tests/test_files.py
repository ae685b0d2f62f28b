"""Whole files or none, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lit_nmt.files import replacing, write_json, write_text

OLD = "what was there\n" * 1000


def test_what_is_written_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a folder" / "größe.txt"
    write_text(path, OLD)
    write_text(path, "a\r\nb\u2028\n")
    assert path.read_bytes() == "a\r\nb\u2028\n".encode()
    write_json(path, {"größe": [1]})
    assert path.read_text(encoding="utf-8") == '{\n "größe": [\n  1\n ]\n}\n'
    assert [path.name for path in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt(), ValueError()])
def test_an_error_leaves_the_old_file_whole_and_nothing_beside_it(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.txt"
    write_text(path, OLD)

    def write_half() -> None:
        with replacing(path) as beside:
            beside.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_whole_and_says_so(tmp_path: Path) -> None:
    """On a real disk of 64 KiB, where the system lets a process have one."""
    script = """
import sys
from pathlib import Path
from lit_nmt import cli
from lit_nmt.files import write_text

cli._run = lambda arguments: write_text(Path("disk/file.txt"), arguments[0] * 100_000)
Path("disk/file.txt").write_text("old")
print(cli.main(["a"]), Path("disk/file.txt").read_text(), *(path.name for path in Path("disk").iterdir()))
"""
    (tmp_path / "disk").mkdir()
    mount = 'mount -t tmpfs -o size=64k none disk && exec "$0" -c "$1"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, sys.executable, script]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    try:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    except OSError:
        pytest.skip("no unshare on this system")
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"this system lets no process have a disk of its own: {done.stderr}")
    assert done.stdout == "2 old file.txt\n", done.stderr
    assert done.stderr.startswith("lit-nmt: the disk is full")
    assert "what was there is whole" in done.stderr
    assert done.stderr.count("\n") == 1
