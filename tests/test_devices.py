"""GPUs, made up: each command sees its own, no two the same at once, and none is lost when one is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, Checkout


class Machine:
    """A machine with as many GPUs as its `nvidia-smi` lists, and its own folder for temporary files."""

    def __init__(self, folder: Path, *gpus: str) -> None:
        (folder / "bin").mkdir()
        (folder / "locks").mkdir()
        if gpus:
            program = folder / "bin" / "nvidia-smi"
            program.write_text(f"#!/bin/sh\nprintf '%s\\n' {' '.join(gpus)}\n", encoding="utf-8")
            program.chmod(0o755)
        self.environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        path = f"{folder / 'bin'}:/usr/bin:/bin"
        self.environment |= {"PATH": path, "TMPDIR": str(folder / "locks"), "LOG": str(folder / "log")}
        self.log = folder / "log"

    def start(self, count: int, shell: str = "", **environment: str) -> subprocess.Popen[str]:
        """Starts a shell with a lease; it prints what it sees."""
        command = ["sh", "-c", f"echo {'${CUDA_VISIBLE_DEVICES-all}'}; {shell}"]
        return subprocess.Popen(
            [sys.executable, "-m", "lit_nmt.devices", str(count), *command],
            env=self.environment | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def seen(self, count: int, **environment: str) -> str:
        """What a shell with a lease sees."""
        process = self.start(count, **environment)
        printed, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        return printed.strip()


def test_each_command_sees_gpus_of_its_own(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "GPU-a", "GPU-b", "GPU-c")
    shell = 'echo "+ $CUDA_VISIBLE_DEVICES" >> $LOG; sleep 1; echo "- $CUDA_VISIBLE_DEVICES" >> $LOG'
    processes = [machine.start(count, shell) for count in (1, 2, 1, 2, 3, 1)]
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    held: set[str] = set()
    counts = []
    for sign, names in (line.split() for line in machine.log.read_text(encoding="utf-8").splitlines()):
        gpus = set(names.split(","))
        if sign == "+":
            assert not gpus & held
            counts.append(len(gpus))
            held |= gpus
        else:
            held -= gpus
    assert sorted(counts) == [1, 1, 1, 2, 2, 3]


def test_a_killed_command_gives_back_what_it_had(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "GPU-a")
    first = machine.start(1, "exec sleep 60")
    assert first.stdout is not None
    assert first.stdout.readline() == "GPU-a\n"
    second = machine.start(1)
    time.sleep(1)
    assert second.poll() is None
    os.kill(first.pid, signal.SIGKILL)
    assert second.communicate(timeout=60)[0] == "GPU-a\n"
    first.communicate()


def test_what_a_command_may_see(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "GPU-a", "GPU-b")
    assert machine.seen(0) == ""
    assert machine.seen(1, CUDA_VISIBLE_DEVICES="1") == "GPU-b", "the same lock by number and by name"
    assert machine.seen(1, CUDA_VISIBLE_DEVICES="GPU-b,-1,GPU-a") == "GPU-b"
    assert machine.seen(1, CUDA_VISIBLE_DEVICES="") == ""
    assert machine.seen(1, CUDA_VISIBLE_DEVICES="-1") == "-1"
    (tmp_path / "without").mkdir()
    assert Machine(tmp_path / "without").seen(2) == "all"


def test_more_gpus_than_there_are(tmp_path: Path) -> None:
    process = Machine(tmp_path, "GPU-a").start(2)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert printed == ""
    assert told.startswith("lit-nmt: trainer.devices: 2 GPUs are asked for, this machine shows 1; ")
    assert told.count("\n") == 1


@pytest.mark.parametrize("listed", [[], ["GPU-a", "GPU-b"]])
def test_how_many_there_are(tmp_path: Path, listed: list[str]) -> None:
    machine = Machine(tmp_path, *listed)
    counted = subprocess.check_output([sys.executable, "-m", "lit_nmt.devices"], env=machine.environment, text=True)
    assert counted == f"{len(listed)}\n"


@pytest.mark.slow
@pytest.mark.xdist_group("workflow")
@pytest.mark.timeout(18000)
def test_a_study_uses_all_gpus_and_no_run_meets_another(tmp_path: Path) -> None:
    """Three trainings, one of them on both GPUs; cores there are for all three at once."""
    machine = Machine(tmp_path, "GPU-a", "GPU-b")
    checkout = Checkout.make(tmp_path / "checkout")
    study = yaml.safe_load((checkout.folder / "experiments/studies/tiny.yaml").read_text(encoding="utf-8"))
    for key in ("bench", "baseline", "comparisons", "claims"):
        study.pop(key)
    small = {**study["models"]["transformer"], "base": "transformer"}
    study["models"] = {"one": small, "pair": {**small, "fit": {"trainer": {"devices": 2}}}, "other": small}
    study["fit"]["trainer"] = {"callbacks": ["seen.Seen"]}
    (checkout.folder / "gpus.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    profile = checkout.folder / "experiments/profiles/local/config.yaml"
    profile.write_text(profile.read_text(encoding="utf-8").replace("cores: all", "cores: 4"), encoding="utf-8")
    done = checkout.run(
        "env", "-u", "CUDA_VISIBLE_DEVICES", f"TMPDIR={machine.environment['TMPDIR']}",
        f"PATH={tmp_path / 'bin'}:{os.environ['PATH']}", f"PYTHONPATH={ROOT}:{ROOT / 'tests'}",
        "./run_all.sh", "gpus.yaml", network=True,  # by which the two processes of one training meet
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    seen = {}
    for path in checkout.folder.glob("runs/*/*/seed1/seen-*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        seen[path.parts[-3].rsplit("-", 1)[0], path.stem] = content
    assert {key: content["world_size"] for key, content in seen.items()} == {
        ("one", "seen-0"): 1, ("other", "seen-0"): 1, ("pair", "seen-0"): 2, ("pair", "seen-1"): 2,
    }  # fmt: skip
    assert seen["pair", "seen-0"]["gpus"] == seen["pair", "seen-1"]["gpus"] == "GPU-a,GPU-b"
    one, other, pair = (seen[name, "seen-0"] for name in ("one", "other", "pair"))
    assert {one["gpus"], other["gpus"]} == {"GPU-a", "GPU-b"}
    for alone in (one, other):
        assert alone["ended"] < pair["started"] or pair["ended"] < alone["started"]
    assert len(list(checkout.folder.glob("reports/gpus/index.html"))) == 1
