"""Kill -9, Ctrl-C, a second copy: a study goes on by itself, ends as if nothing had happened, leaves nobody behind.

`--kills 20` kills it so often (6 by default), and `--kill-seed 2` at other moments.
"""

from __future__ import annotations

import csv
import json
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from checkout import Checkout, Started

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]

MOMENTS = ("prepare", "fit", "checkpoint", "translate", "score|bench", "report")
"""The stage in which a kill comes; "checkpoint": as soon as some weights are written, which is before all are."""


def in_order(rows: list[dict[str, str]], *left_out: str) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key not in left_out} for row in rows]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def outcome(folder: Path, runs: Iterable[Path]) -> dict[str, Any]:
    """All that a study ends in, but for measured times: weights, translations, scores and curves, to the last bit."""
    found: dict[str, Any] = {}
    for pattern in ("data/*/*.npy", "data/*/*.txt", "data/*/subwords.model", *(f"{run}/**/*.jsonl" for run in runs)):
        found |= {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob(pattern)}
    for path in (folder / run for run in runs):
        weights = torch.load(path / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
        found[path.parent.name] = {name: weight.numpy().tobytes() for name, weight in weights.items()}
        curves = table(path / "metrics.csv")
        found[f"{path.parent.name} curves"] = in_order(curves, "train_seconds", "tokens_per_second")
        record = json.loads((path / "fit.json").read_text(encoding="utf-8"))
        found[f"{path.parent.name} record"] = [record[key] for key in ("status", "target_tokens", "scored_weights")]
    results = folder / "reports/tiny/results"
    found["sentences"] = (results / "sentences.parquet").read_bytes()
    found["scores"] = table(results / "scores.csv")
    found["curves"] = in_order(table(results / "curves.csv"), "train_seconds")
    return found


def written(folder: Path) -> set[tuple[str, int]]:
    """The checkpoints there are, and when each was written."""
    return {(str(path), path.stat().st_mtime_ns) for path in folder.glob("runs/*/*/seed1/checkpoints/weights/*.ckpt")}


def kill(started: Started, whom: str, random_numbers: random.Random) -> str:
    """Kill -9 of the leader, of one of its children, or of all; what was killed."""
    if whom == "group":
        started.signal_group(signal.SIGKILL)
        return "all"
    if whom == "leader":
        started.leader.kill()
        return "run_all.sh"
    # Not what only prints
    children = [process for process in started.alive() if re.search("snakemake|lit.nmt", " ".join(process.cmdline()))]
    child = random_numbers.choice(children)
    said = next(name for name in ("bash", "snakemake", "lit-nmt", "lit_nmt") if name in " ".join(child.cmdline()))
    child.kill()
    return said


def killed_once(checkout: Checkout, moment: str, whom: str, longest: float, random_numbers: random.Random) -> str:
    """Starts `tiny`, kills it in some stage, waits until nothing of it runs; what was killed and when, or ""."""
    before = written(checkout.folder)
    delay = random_numbers.uniform(0, 0.1 if moment == "checkpoint" else longest)
    stages = [stage for name in MOMENTS[MOMENTS.index(moment) :] for stage in name.split("|")]
    with checkout.started("./run_all.sh", "tiny") as started:
        if moment == "checkpoint":
            started.wait_until(lambda: written(checkout.folder) != before)
        else:
            started.wait_until(lambda: any(f"  {stage} " in started.said for stage in stages))
        try:
            started.leader.wait(delay)
        except subprocess.TimeoutExpired:
            said = kill(started, whom, random_numbers)
        else:
            assert started.leader.returncode == 0, started.said
            return ""
        # Where one child was killed, the others bring to its end what they can
        started.leader.wait(600 if whom == "child" else 10)
        started.assert_all_end()
        last = [line[10:] for line in started.said.splitlines() if line[2:3] == ":"][-1:]
    return f"{said}, {delay:.2f} s after {moment}; the last that was said: {' '.join(last)}"


@pytest.mark.timeout(0)
def test_a_study_killed_again_and_again_ends_as_one_that_was_not(
    tiny_study: Checkout, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    kills = request.config.getoption("--kills")
    random_numbers = random.Random(request.config.getoption("--kill-seed"))
    record = json.loads(next(tiny_study.folder.glob("runs/synthetic-tiny/*/seed1/fit.json")).read_text())
    longest = (datetime.fromisoformat(record["finished"]) - datetime.fromisoformat(record["started"])).total_seconds()
    # Whom: each as often as the others, in any order
    whom = ["leader", "child", "group"] * (kills // 3 + 1)
    random_numbers.shuffle(whom)
    checkout = Checkout.make(tmp_path / "checkout 1")
    for number in range(kills):
        moment = MOMENTS[number * len(MOMENTS) // kills]
        while not (told := killed_once(checkout, moment, whom[number], longest, random_numbers)):
            # It came to its end before the moment did: once more, and sooner
            assert_as_if_nothing_had_happened(checkout, tiny_study)
            checkout = Checkout.make(tmp_path / f"checkout {number + 2} of {longest:.3f}")
            longest *= 0.7
        with capsys.disabled():
            print(f"\nkill {number + 1} of {kills}: {told}", end="", flush=True)
    done = checkout.run("./run_all.sh", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_as_if_nothing_had_happened(checkout, tiny_study)


def assert_as_if_nothing_had_happened(checkout: Checkout, reference: Checkout) -> None:
    """The same outcome to the last bit, and seconds of training that add up over all calls."""
    folders = sorted(checkout.folder.glob("runs/synthetic-tiny/*/seed1"))
    runs = [folder.relative_to(checkout.folder) for folder in folders]  # other tests leave more runs in the reference
    assert outcome(checkout.folder, runs) == outcome(reference.folder, runs)
    for folder in folders:
        seconds = [float(row["train_seconds"]) for row in table(folder / "metrics.csv")]
        assert seconds == sorted(seconds)
        total = json.loads((folder / "fit.json").read_text(encoding="utf-8"))["train_seconds"]
        assert total == pytest.approx(seconds[-1], abs=0.1)


@pytest.mark.timeout(1800)
def test_a_second_copy_leaves_and_ctrl_c_ends_the_first_with_all_that_it_started(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path / "a checkout")
    with checkout.started("./run_all.sh", "tiny") as started:
        assert started.wait_until(lambda: started.said.count("  fit ") == 2), started.said
        second = checkout.run("./run_all.sh", "tiny")
        assert second.returncode == 2
        assert "another ./run_all.sh is at work" in second.stderr
        assert second.stderr.count("\n") == 1
        assert checkout.run("./run_all.sh", "--dry-run", "tiny").returncode == 0
        assert started.leader.poll() is None
        pressed = time.monotonic()
        started.signal_group(signal.SIGINT)
        assert started.leader.wait(120) == 130, started.said
        took = time.monotonic() - pressed
        started.assert_all_end(0)
        assert took < 60, "seconds are promised, and a busy machine takes some times as long"
        assert started.said.splitlines()[-1] == "run_all.sh: stopped, not done; ./run_all.sh tiny goes on from here"
        assert not re.findall("Traceback|Error|Exception", started.said)
