"""Which code runs, told without running it."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

from lit_nmt import code
from lit_nmt.studies import read_model

MODELS = sorted(path.stem for path in (ROOT / "experiments/models").glob("*.yaml") if "-paper" not in path.stem)


@pytest.mark.parametrize("model", MODELS)
def test_a_class_takes_what_its_file_says(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    class_path = read_model(model)["model"]["class_path"]
    module, _, name = class_path.rpartition(".")
    kinds = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    named = {key for key, parameter in kinds.items() if parameter.kind is not inspect.Parameter.VAR_KEYWORD}
    found = code.arguments(class_path)
    assert found is not None
    assert named <= found
    assert {"label_smoothing", "learning_rate"} <= found
    assert code.class_file(class_path) == Path(f"{module.replace('.', '/')}.py")


def test_what_a_file_does_not_tell_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "theirs.py").write_text(
        "from elsewhere import Base\n"
        "class Own:\n    def __init__(self, dim, *, depth=1): ...\n"
        "class Deeper(Own):\n    def __init__(self, width, **others): ...\n"
        "class Unknown(Base):\n    def __init__(self, **others): ...\n"
    )
    (tmp_path / "broken.py").write_text("class Own(:\n")
    assert code.arguments("theirs.Own") == {"dim", "depth"}
    assert code.arguments("theirs.Deeper") == {"width", "dim", "depth"}
    for unknown in ("theirs.Unknown", "theirs.Nothing", "broken.Own", "nowhere.at.All", "Own"):
        assert code.arguments(unknown) is None
    assert code.class_digest("nowhere.Own") == ""


def test_it_is_told_without_torch() -> None:
    ask = "import sys; from lit_nmt import code; print(len(code.arguments(sys.argv[1])), 'torch' in sys.modules)"
    command = [sys.executable, "-c", ask, "lit_nmt.models.transformer.Transformer"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert told[1] == "False"


def test_a_file_that_git_does_not_know_counts_as_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        name = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", *name, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    monkeypatch.setattr(code, "_ROOT", tmp_path)
    assert code.commit() == ""
    (tmp_path / "lit_nmt").mkdir()
    (tmp_path / "lit_nmt/a.py").write_text("1\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "--short=12", "HEAD").strip()
    assert code.commit() == commit
    (tmp_path / "notes.txt").write_text("what no result depends on\n")
    assert code.commit() == commit
    (tmp_path / "lit_nmt/b.py").write_text("2\n")
    assert code.commit() == f"{commit}+"
