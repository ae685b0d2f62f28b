"""Training: exact gradients, exact resumption, one footing for all, failures that are told."""

import csv
import json
import math
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
import yaml

from lit_nmt import callbacks, fit
from lit_nmt.data.batching import collate
from lit_nmt.data.corpora import load_corpus_config
from lit_nmt.data.prepared import PreparedCorpus
from lit_nmt.errors import UserError
from lit_nmt.models.transformer import Transformer

ROOT = Path(__file__).parents[1]
MODEL = {
    "class_path": "lit_nmt.models.transformer.Transformer",
    "init_args": {"dim": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feed_forward_dim": 16}
    | {"learning_rate": 0.01, "warmup_steps": 4, "dropout": 0.2, "schedule": "linear"},
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder with a small corpus and the configuration of a training of 24 steps, validated thrice."""
    folder = tmp_path_factory.mktemp("workplace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        splits = {"train": {"pairs": 300}, "validation": {"pairs": 20}, "test": {"pairs": 20}}
        overrides = {"name": "fit-test", "splits": splits, "subwords": {"vocabulary_size": 400}}
        corpus = load_corpus_config("synthetic", overrides).as_dict()
    config = {
        "seed_everything": 3,
        "data": {"corpus": corpus, "max_tokens": 400, "target_tokens": 7000, "validations": 3},
        "model": MODEL,
        "trainer": {"enable_progress_bar": False, "log_every_n_steps": 4},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def run(workplace: Path, name: str, *args: str) -> Path:
    """Trains in a folder of that name, as the command line does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        fit.main(["--config", "config.yaml", "--trainer.default_root_dir", name, *args])
    return workplace / name


@pytest.fixture(scope="module")
def whole(workplace) -> Path:
    return run(workplace, "whole")


class PowerCutError(Exception):
    pass


def run_until(stop_before: int, error: type[BaseException], workplace: Path, name: str, monkeypatch) -> None:
    """Trains until `error` is raised before a batch."""
    original = callbacks.SeedEachStep.on_train_batch_start

    def stop(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == stop_before:
            raise error
        original(self, trainer, pl_module, batch, batch_idx)

    monkeypatch.setattr(callbacks.SeedEachStep, "on_train_batch_start", stop)
    with pytest.raises(error):
        run(workplace, name)
    monkeypatch.undo()


def weights(run_folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(run_folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]


def curve(run_folder: Path) -> list[dict[str, str]]:
    with open(run_folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in ("train_seconds", "tokens_per_second")} for row in rows]


def test_a_training_leaves_its_record(whole):
    record = json.loads((whole / "fit.json").read_text())
    rows = curve(whole)
    assert record["status"] == "finished"
    assert record["stopped_by"] == "budget"
    assert record["target_tokens"] >= 7000
    validations = [row for row in rows if row["validation_bleu"]]
    assert len(validations) == 3
    assert int(validations[-1]["target_tokens"]) == record["target_tokens"]
    assert float(validations[-1]["validation_loss"]) < math.log(400)
    assert record["best_validation_loss"] == min(float(row["validation_loss"]) for row in validations)
    assert record["parameters"] == sum(w.numel() for w in weights(whole).values())
    assert list((whole / "tensorboard").glob("events*"))


def test_a_training_tells_how_many_sentences_its_model_cuts(workplace, whole, monkeypatch):
    split = PreparedCorpus.open(workplace / "data" / "fit-test").split("train")
    monkeypatch.setattr(Transformer, "longest_source", 20)
    bounded = run(workplace, "bounded", "--data.target_tokens", "500")
    cut = {"sentences": len(split), "sources": int((split.source.lengths > 20).sum()), "targets": 0}
    assert json.loads((bounded / "fit.json").read_text())["cut"] == cut
    assert 0 < cut["sources"] < 300
    assert json.loads((whole / "fit.json").read_text())["cut"] == {}


@pytest.mark.parametrize("stop_before", [1, 5, 13, 19])
def test_a_training_stopped_anywhere_ends_in_the_same_weights(workplace, whole, stop_before, monkeypatch):
    name = f"stopped-{stop_before}"
    run_until(stop_before, PowerCutError, workplace, name, monkeypatch)
    rows = callbacks.Record(workplace / name / "metrics.csv").rows()
    before = max((float(row["train_seconds"]) for row in rows if row["validation_bleu"]), default=0.0)
    clock = SimpleNamespace(perf_counter=lambda: time.perf_counter() + 1e6)  # a later process's counts from elsewhere
    monkeypatch.setattr(callbacks, "time", clock)
    resumed = run(workplace, name)
    monkeypatch.undo()
    seconds = [float(row["train_seconds"]) for row in callbacks.Record(resumed / "metrics.csv").rows()]
    assert before <= seconds[-1] < 1e5
    assert seconds == sorted(seconds)
    assert curve(resumed) == curve(whole)
    for key, value in weights(whole).items():
        assert torch.equal(weights(resumed)[key], value), key
    records = [json.loads((folder / "fit.json").read_text()) for folder in (whole, resumed)]
    assert records[0]["target_tokens"] == records[1]["target_tokens"]
    assert records[0]["scored_weights"] == records[1]["scored_weights"]


@pytest.mark.parametrize("whole_ones", range(6))
def test_a_training_stopped_while_it_writes_a_checkpoint_ends_in_the_same_weights(
    workplace, whole, whole_ones, monkeypatch, capsys
):
    """Weights and what is needed to go on are written at each of three validations, here the last of them by half."""
    name, save, written = f"writing-{whole_ones}", pl.Trainer.save_checkpoint, []

    def stop(self, filepath, weights_only=None, storage_options=None):
        save(self, filepath, weights_only, storage_options)
        if len(written) == whole_ones:
            os.truncate(filepath, Path(filepath).stat().st_size // 2)
            raise PowerCutError
        written.append(filepath)

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", stop)
    with pytest.raises(PowerCutError):
        run(workplace, name)
    monkeypatch.undo()
    resumed = run(workplace, name)
    assert ("last.ckpt: damaged" in capsys.readouterr().err) == (whole_ones % 2 == 1)
    assert curve(resumed) == curve(whole)
    for key, value in weights(whole).items():
        assert torch.equal(weights(resumed)[key], value), key
    kept = [sorted(path.name for path in (folder / "checkpoints/weights").iterdir()) for folder in (whole, resumed)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("damage", [lambda whole: whole[:-1000], lambda whole: b"half", lambda whole: b""])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_is_taken(workplace, whole, damage, monkeypatch, capsys):
    name = f"damaged-{len(damage(bytes(2000)))}"
    run_until(20, PowerCutError, workplace, name, monkeypatch)
    last = workplace / name / "checkpoints/last.ckpt"
    last.write_bytes(damage(last.read_bytes()))
    resumed = run(workplace, name)
    assert "last.ckpt: damaged" in capsys.readouterr().err
    assert curve(resumed) == curve(whole)
    for key, value in weights(whole).items():
        assert torch.equal(weights(resumed)[key], value), key


def test_ctrl_c_stops_a_training_that_then_goes_on(workplace, whole, monkeypatch):
    run_until(10, KeyboardInterrupt, workplace, "interrupted", monkeypatch)
    assert curve(run(workplace, "interrupted")) == curve(whole)


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError()])
def test_memory_that_does_not_suffice_is_told_with_the_setting_to_lower(workplace, monkeypatch, error):
    from lit_nmt.models.translation import TranslationModule

    def fail(self, batch, label_smoothing=0.0):
        raise error

    monkeypatch.setattr(TranslationModule, "losses", fail)
    shape = r"\d+ pairs of \d+ source and \d+ target subwords"
    with pytest.raises(UserError, match=rf"out of memory with a batch of {shape}; lower data.max_tokens \(now 400\)"):
        run(workplace, "too-large")


def test_a_finished_training_is_left_alone(workplace, whole, capsys):
    before = (whole / "fit.json").read_text()
    run(workplace, "whole")
    assert "finished before" in capsys.readouterr().out
    assert (whole / "fit.json").read_text() == before


def test_another_configuration_is_not_mixed_in(workplace, whole):
    (whole / "fit.json").rename(whole / "fit.json.away")
    try:
        with pytest.raises(UserError, match=r"another configuration \(model.init_args.dropout\)"):
            run(workplace, "whole", "--model.init_args.dropout", "0.3")
    finally:
        (whole / "fit.json.away").rename(whole / "fit.json")


def test_a_loss_that_is_not_finite_is_reported(workplace, monkeypatch):
    from lit_nmt.models.translation import TranslationModule

    original = TranslationModule.losses

    def explode(self, batch, label_smoothing=0.0):
        loss, plain = original(self, batch, label_smoothing)
        return (loss * float("nan"), plain) if self.global_step == 9 else (loss, plain)

    monkeypatch.setattr(TranslationModule, "losses", explode)
    folder = run(workplace, "not-finite")
    record = json.loads((folder / "fit.json").read_text())
    assert record["status"] == "failed"
    assert "not finite at batch 10 of the training, batch " in record["stopped_by"]
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert not (folder / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulated_batches_give_the_gradient_of_one_large_batch(workplace, whole, accumulate):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        args = ["--config", "config.yaml", "--model.init_args.dropout", "0", "--trainer.gradient_clip_val", "0"]
        cli = fit.FitCLI(
            fit.TranslationModule, fit.TranslationData, subclass_mode_model=True, run=False, args=args,
            save_config_callback=None, auto_configure_optimizers=False, trainer_defaults=fit.TRAINER_DEFAULTS
            | {"accumulate_grad_batches": accumulate, "max_steps": 1, "limit_val_batches": 0},
        )  # fmt: skip
        seen: dict[str, torch.Tensor] = {}

        class Keep(pl.Callback):
            def on_before_optimizer_step(self, trainer, pl_module, optimizer):
                # the module's own hook comes after the callbacks'
                seen.update({name: p.grad.clone() for name, p in pl_module.named_parameters()})
                seen["scale"] = torch.tensor(accumulate / pl_module._step_tokens)

        cli.trainer.callbacks.append(Keep())
        model = cli.model
        start = {name: value.clone() for name, value in model.state_dict().items()}
        cli.trainer.fit(model, cli.datamodule)
        data = cli.datamodule
        rows = [row for batch in data.plan.epoch(0)[:accumulate] for row in batch]
        batch = collate(data.corpus.split("train"), rows)
    model.load_state_dict(start)
    model.eval()
    loss, _ = model.losses(batch, model.label_smoothing)
    for (name, _parameter), gradient in zip(
        model.named_parameters(),
        torch.autograd.grad(loss / batch.global_tokens, list(model.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(seen[name] * seen["scale"], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_validation_bleu_is_that_of_the_translations(workplace, whole):
    from lit_nmt.data.prepared import PreparedCorpus
    from lit_nmt.decoding import translate_ids
    from lit_nmt.metrics import Scorer, corpus_bleu
    from lit_nmt.models.loading import load_model

    corpus = PreparedCorpus.open(workplace / "data" / "fit-test")
    split = corpus.split("validation")
    found = translate_ids(load_model(whole), [split.source[row] for row in range(len(split))])
    hypotheses = corpus.subwords.decode([best[0].tokens for best in found])
    bleu = corpus_bleu(Scorer(corpus.text("validation")[1]).statistics(hypotheses), "mixed")
    scored = json.loads((whole / "fit.json").read_text())["scored_weights"]
    assert scored.endswith(f"{bleu:.2f}")


def test_a_single_run_can_stop_early_on_validation_bleu(workplace, monkeypatch):
    monkeypatch.setattr(callbacks.CorpusBleu, "compute", lambda self: 1.0)  # never better than at first
    stopping = ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "validation_bleu"]
    patience = ["--trainer.callbacks.mode", "max", "--trainer.callbacks.patience", "1"]
    folder = run(workplace, "early", *stopping, *patience)
    record = json.loads((folder / "fit.json").read_text())
    assert record["stopped_by"] == "early_stopping"
    assert sum(1 for row in curve(folder) if row["validation_bleu"]) == 2


def test_two_processes_train_as_one(workplace):
    """Each sentence once, gradients of the global batch, the same validation: the same weights within rounding."""
    # Adam would make a step of the rounding in gradients that are 0, as those of the keys' bias are
    plain = ["--model.init_args.dropout", "0", "--model.init_args.optimiser", "sgd"]
    plain += ["--model.init_args.learning_rate", "0.5"]
    one = run(workplace, "one-process", *plain)
    two = workplace / "two-processes"
    distributed = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]
    command = [sys.executable, "-m", "lit_nmt.cli", "fit", "--config", "config.yaml", *plain, *distributed]
    done = subprocess.run(
        [*command, "--trainer.default_root_dir", two.name],
        cwd=workplace, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    records = [json.loads((folder / "fit.json").read_text()) for folder in (one, two)]
    assert records[0]["target_tokens"] == records[1]["target_tokens"]
    assert records[0]["best_validation_loss"] == pytest.approx(records[1]["best_validation_loss"], rel=1e-4)
    assert records[0]["best_validation_bleu"] == pytest.approx(records[1]["best_validation_bleu"], rel=1e-4)
    for key, value in weights(one).items():
        torch.testing.assert_close(weights(two)[key], value, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("schedule", ["inverse-square-root", "linear"])
def test_the_learning_rate_rises_to_its_peak_and_falls(schedule):
    from lit_nmt.models.seq2seq import Seq2Seq

    model = Seq2Seq(30, dim=4, hidden_dim=4, warmup_steps=10, schedule=schedule)
    factors = [model.learning_rate_factor(step, 100) for step in range(100)]
    assert max(factors) == pytest.approx(1.0)
    assert factors.index(max(factors)) == 9
    assert factors[4] == pytest.approx(0.5)
    assert all(a > b for a, b in pairwise(factors[9:]))
    if schedule == "linear":
        assert factors[-1] == pytest.approx(1 / 91)
    else:
        assert factors[39] == pytest.approx(0.5)
