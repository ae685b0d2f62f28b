"""`lit-nmt doctor`: what it says of a machine as it is, and of one that lacks things."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from lit_nmt import cli, doctor
from lit_nmt.benchmark import timing
from lit_nmt.data.corpora import load_corpus_config

ROOT = Path(__file__).parents[1]


def told(capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["doctor"]) == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def quick_products(monkeypatch: pytest.MonkeyPatch) -> None:
    real = timing.fastest_product
    monkeypatch.setattr(timing, "fastest_product", lambda device: real(device, sizes=[64], seconds=0.01))


def test_every_corpus_that_ships_has_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("LIT_NMT_CORPORA", raising=False)
    monkeypatch.setattr(doctor, "is_prepared", lambda name, digest: False)
    text = told(capsys)
    for path in Path("experiments/corpora").glob("*.yaml"):
        assert f"\n  {path.stem:<18} " in text
    for name in ("synthetic", "recall"):
        assert f"\n  {name:<18} embedded, nothing to fetch" in text
    assert "lit-nmt fetch multi30k" in text
    assert "LIT_NMT_CORPORA is not set" in text
    assert "GFLOP/s" in text


def test_text_that_is_here_and_corpora_that_are_prepared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIT_NMT_CORPORA", raising=False)
    shutil.copytree(ROOT / "experiments/corpora", "experiments/corpora")
    for name in ("iwslt14-de-en", "europarl-en-fr"):
        assert f"  {name:<18} its text is not here: " in told(capsys)
    splits = {"train", "valid", "test"}
    Path("text/iwslt14-de-en").mkdir(parents=True)
    for name in splits:
        for language in ("de", "en"):
            Path(f"text/iwslt14-de-en/{name}.{language}").touch()
    monkeypatch.setenv("LIT_NMT_CORPORA", "text")
    Path("data/europarl-en-fr").mkdir(parents=True)
    manifest = Path("data/europarl-en-fr/manifest.json")
    manifest.write_text('{"digest": "of another configuration"}', encoding="utf-8")
    assert "europarl-en-fr     its text is not here" in told(capsys)
    manifest.write_text(json.dumps({"digest": load_corpus_config("europarl-en-fr").digest()}), encoding="utf-8")
    text = told(capsys)
    assert "iwslt14-de-en      its text is here" in text
    known = load_corpus_config("europarl-v7-en-fr")
    assert f"europarl-v7-en-fr  to be fetched (train): lit-nmt fetch {known.name}" in text
    Path("data/downloads/mtdata").mkdir(parents=True)
    for identifier in known.splits["train"].identifiers:
        for language in ("en", "fr"):
            Path(f"data/downloads/mtdata/{identifier}.{language}").touch()
    assert "europarl-v7-en-fr  its text is here" in told(capsys)
    assert "europarl-en-fr     prepared, data/europarl-en-fr" in text


@pytest.mark.parametrize(("bfloat16", "advice"), [(3.0, "bf16-mixed pays here"), (1.1, "32-true, the default")])
def test_the_precision_is_chosen_by_measurement(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, bfloat16: float, advice: str
) -> None:
    speeds = {"float32": 1e11, "bfloat16": bfloat16 * 1e11}
    products = [timing.Product(speed, 64, precision) for precision, speed in speeds.items()]
    monkeypatch.setattr(timing, "fastest_product", lambda device: products)
    assert advice in told(capsys)


def test_a_full_disk_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40 - 2**29, 2**29))
    assert "0.5 GiB free" in told(capsys)
    assert "delete those of studies done" in told(capsys)
