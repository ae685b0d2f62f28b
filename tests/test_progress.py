"""What is seen of a study while it runs."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

from lit_nmt.progress import Progress
from lit_nmt.studies import load_study

COLUMNS = "step,target_tokens,train_seconds,validation_loss,validation_bleu,train_loss\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run of `tiny`, half trained, in a working directory with the shipped experiments."""
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(tmp_path)
    folder = load_study("tiny").runs[0].folder
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(f"{COLUMNS}10,4000,2.0,5.5,1.5,\n", encoding="utf-8")
    return folder


def test_a_run_is_told_of_at_each_tenth_and_the_whole_all_the_time(run: Path) -> None:
    progress = Progress(load_study("tiny"))
    shown, further = progress.look()
    assert re.search(r"training +50% +2,000 tokens/s +validation BLEU +1.5 +2 s left", shown[0])
    assert shown[1].startswith("0 of 2 runs done, about ")
    assert not further
    with (run / "metrics.csv").open("a", encoding="utf-8") as file:
        file.write("12,4700,2.4,,,4.1\n")
    assert progress.look()[1] == []
    with (run / "metrics.csv").open("a", encoding="utf-8") as file:
        file.write("13,4800,2.5,,,4.0\n")
    shown, further = progress.look()
    assert further == shown[:1]
    assert " 60% " in further[0]


SAID = r"Building DAG of jobs...\n\n12:00:00  fit        a run\nTerminating processes on user request\nno\n"


def started(**streams: int) -> subprocess.Popen[bytes]:
    command = f'printf "{SAID}" | "{sys.executable}" -m lit_nmt.progress tiny'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    return subprocess.Popen(["bash", "-c", command], env=environment, **streams)


def test_messages_of_the_workflow_are_shown_and_kept(run: Path) -> None:
    with started(stdout=subprocess.PIPE) as process:
        assert process.communicate()[0] == b"12:00:00  fit        a run\n"
    assert Path("runs/tiny.log").read_text(encoding="utf-8") == "12:00:00  fit        a run\n"


def test_on_a_terminal_the_runs_that_train_stand_below(run: Path) -> None:
    ours, theirs = pty.openpty()
    with started(stdout=theirs):
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # as the end of a terminal is told
                break
    os.close(ours)
    assert shown.index(b"a run") < shown.index(run.name.encode()) < shown.index(b"0 of 2 runs done")
    assert b"2,000 tokens/s validation BLEU 1.5 2 s left" in b" ".join(shown.split())
