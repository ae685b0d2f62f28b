"""`lit-nmt new-model`: the two files work at once, in the package and outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lit_nmt import cli
from lit_nmt.conformance import PROMISES

ROOT = Path(__file__).parents[1]


def test_a_new_model_keeps_every_promise_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new-model", "gated-thing2"]) == 0
    assert "next: lit-nmt check-model gated-thing2.yaml" in capsys.readouterr().out
    assert cli.main(["check-model", "gated-thing2.yaml"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Gated thing2 (unpublished): ")
    assert out.count("  kept    ") == len(PROMISES)


def test_in_a_checkout_the_files_stand_where_all_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lit_nmt/models").mkdir(parents=True)
    assert cli.main(["new-model", "gated-thing"]) == 0
    fragment = yaml.safe_load(Path("experiments/models/gated-thing.yaml").read_text(encoding="utf-8"))
    assert fragment["model"]["class_path"] == "lit_nmt.models.gated_thing.GatedThing"
    text = Path("lit_nmt/models/gated_thing.py").read_text(encoding="utf-8")
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", "lit_nmt/models/gated_thing.py", "-"]
        done = subprocess.run(ruff, cwd=ROOT, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "told"), [("Mine", "small letters"), ("a_b", "hyphens"), ("mine", "there already")])
def test_what_cannot_be_written_is_told_and_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("model: {}\n", encoding="utf-8")
    assert cli.main(["new-model", name]) == 2
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
