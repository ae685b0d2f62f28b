"""Two revisions of the code measured in alternation."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest
import yaml
from checkout import ROOT

from lit_nmt.benchmark import against
from lit_nmt.benchmark.bench import bench
from lit_nmt.errors import UserError

MODEL = {
    "model": {
        "class_path": "lit_nmt.models.seq2seq.Seq2Seq",
        "init_args": {"dim": 8, "hidden_dim": 8},
    }
}

needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not in a git checkout")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(MODEL), encoding="utf-8")
    return path


@needs_git
@pytest.mark.slow
def test_both_sides_are_measured_once_a_round(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = subprocess.run(["git", "worktree", "list"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    bench([str(model)], lengths=[4, 6], phases=["train"], target_tokens=16, windows=2, steps=1, against="HEAD")
    told = capsys.readouterr().out
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    table = Path(f"runs/bench/against-{commit.stdout.strip()}.csv")
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [(row["model"], row["source_length"], row["rounds"]) for row in rows] == [
        ("small", "4", "2"),
        ("small", "6", "2"),
    ]
    for row in rows:
        assert 0 < float(row["low"]) <= float(row["ratio"]) <= float(row["high"])
        assert f"{row['ratio']} times {commit.stdout.strip()}" in told
    after = subprocess.run(["git", "worktree", "list"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert after == before, "the other checkout is gone"


def test_the_ratio_is_that_within_a_round(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    """A machine that gets slower all the time, and a change that makes the code twice as fast."""
    key = ("small", "train", "", "4", "32-true", "1", "a processor")
    calls: list[bool] = []

    def measure(folder: Path, code: Path, words: list[str]) -> against.Speeds:
        here = folder.name == "here"
        calls.append(here)
        return (
            {key: (200.0 if here else 100.0) * 0.9 ** len(calls), ("here alone",): 1.0}
            if here
            else {key: 100.0 * 0.9 ** len(calls)}
        )

    monkeypatch.setattr(against, "_measure", measure)

    def git(code: Path, *words: str) -> str:
        if words[:2] == ("worktree", "add"):
            Path(words[3]).mkdir()
        return "0123456789ab"

    monkeypatch.setattr(against, "git", git)
    against.compare("before", [str(model)], {"lengths": [4]}, rounds=4)
    assert calls == [True, False, False, True] * 2
    (row,) = csv.DictReader(Path("runs/bench/against-0123456789ab.csv").read_text(encoding="utf-8").splitlines())
    assert float(row["ratio"]) == pytest.approx((2 / 0.9 + 2 * 0.9) / 2, abs=1e-3)
    assert (float(row["low"]), float(row["high"])) == pytest.approx((2 * 0.9, 2 / 0.9), abs=1e-3)


def test_what_cannot_be_compared_is_told_in_one_line(model: Path) -> None:
    with pytest.raises(UserError, match="no revision 'no-such-revision'"):
        bench([str(model)], against="no-such-revision")


@needs_git
@pytest.mark.slow
def test_a_side_that_fails_says_why(model: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be measured: lit-nmt: .*steps: found 0"):
        bench([str(model)], lengths=[4], steps=0, against="HEAD")
