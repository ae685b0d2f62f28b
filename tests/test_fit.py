"""Training: exact gradients, exact resumption, one footing for all, failures that are told."""

import csv
import json
import math
import os
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
import yaml
from seen import Seen

from lit_nmt import callbacks, cli, fit
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
        splits = {
            "train": {"pairs": 300},
            "validation": {"pairs": 20, "bins": [[5, 10]]},
            "test": {"pairs": 20, "bins": [[5, 20]]},
        }
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


def test_the_seconds_of_a_training_are_without_those_of_its_checkpoints(workplace, monkeypatch):
    late = [0.0]
    save = callbacks.Checkpoints.on_validation_end

    def slow(self, trainer, pl_module):
        save(self, trainer, pl_module)
        late[0] += 1000  # as if it had taken so long

    monkeypatch.setattr(callbacks.Checkpoints, "on_validation_end", slow)
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(perf_counter=lambda: time.perf_counter() + late[0]))
    folder = run(workplace, "slow-checkpoints")
    assert late[0] >= 3000
    assert json.loads((folder / "fit.json").read_text())["train_seconds"] < 1000


def test_seeds_of_one_configuration_lie_in_one_folder_however_many_threads(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    folders = []
    monkeypatch.setattr(fit, "train", lambda cli, config, folder, *_: folders.append(folder))
    for words in (["--seed_everything", "1"], ["--seed_everything", "2", "--threads", "2"], ["--average", "2"]):
        fit.main(["--config", "config.yaml", *words])
    first, second, other = folders
    assert (first.name, second.name) == ("seed1", "seed2")
    assert first.parent == second.parent != other.parent
    assert first.parent.parent == Path("runs/fit-test")


@pytest.mark.parametrize(("precision", "fused"), [("32-true", True), ("bf16-mixed", True), ("16-mixed", False)])
def test_an_optimiser_that_unscales_gradients_after_they_are_clipped_is_not_used(precision, fused):
    model = Transformer(40, **{**MODEL["init_args"], "schedule": "inverse-square-root"})
    model.trainer = SimpleNamespace(precision=precision)
    assert model.configure_optimizers()["optimizer"].defaults["fused"] == fused


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
        made = fit.FitCLI(
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

        made.trainer.callbacks.append(Keep())
        model = made.model
        start = {name: value.clone() for name, value in model.state_dict().items()}
        made.trainer.fit(model, made.datamodule)
        data = made.datamodule
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
    record = json.loads((whole / "fit.json").read_text())
    assert record["scored_weights"].endswith(f"{bleu:.2f}")
    assert record["best_validation_bleu"] == pytest.approx(bleu, abs=0.001)


def test_a_single_run_can_stop_early_on_validation_bleu(workplace, monkeypatch):
    monkeypatch.setattr(callbacks.CorpusBleu, "compute", lambda self: 1.0)  # never better than at first
    stopping = ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "validation_bleu"]
    patience = ["--trainer.callbacks.mode", "max", "--trainer.callbacks.patience", "1"]
    folder = run(workplace, "early", *stopping, *patience)
    record = json.loads((folder / "fit.json").read_text())
    assert record["stopped_by"] == "early_stopping"
    assert sum(1 for row in curve(folder) if row["validation_bleu"]) == 2
    # killed after its last step, before its record
    (folder / "fit.json").unlink()
    run(workplace, "early", *stopping, *patience)
    again = json.loads((folder / "fit.json").read_text())
    assert [again[key] for key in ("stopped_by", "target_tokens")] == ["early_stopping", record["target_tokens"]]


# Adam would make a step of the rounding in gradients that are 0, as those of the keys' bias are. Batches of one to six
# sentences: for some, two processes are too many, and most cannot be halved.
TOGETHER = ["--model.init_args.dropout", "0", "--model.init_args.optimiser", "sgd", "--data.max_tokens", "200"]
TOGETHER += [
    "--data.target_tokens",
    "30000",
    "--model.init_args.learning_rate",
    "0.5",
    "--trainer.accumulate_grad_batches",
    "2",
]
FIT = ["lit_nmt.cli", "fit", "--config", "config.yaml", "--trainer.callbacks", "seen.Seen"]
TWO = ["--trainer.devices", "2", "--trainer.accelerator", "cpu", "--trainer.default_root_dir"]
STRATEGIES = {"ddp": ["--trainer.strategy", "ddp"], "sharded": ["--trainer.strategy", "fully_shard"]}


def in_processes(workplace: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Calls `python -m` there, with the modules of the tests."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=workplace, env={**os.environ, "PYTHONPATH": path, **variables}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone(workplace) -> Path:
    return run(workplace, "one-process", *TOGETHER, *FIT[-2:])


@pytest.fixture(scope="module", params=STRATEGIES)
def together(workplace, request) -> Path:
    """The same training as `alone`, in two processes."""
    name = f"two-processes-{request.param}"
    done = in_processes(workplace, *FIT, *TOGETHER, *STRATEGIES[request.param], *TWO, name)
    assert done.returncode == 0, done.stderr[-2000:]
    return workplace / name


def test_two_processes_train_as_one(workplace, alone, together):
    """Gradients are those of the global batch, accumulated or not: the same weights within rounding."""
    records = [json.loads((folder / "fit.json").read_text()) for folder in (alone, together)]
    assert records[0]["target_tokens"] == records[1]["target_tokens"]
    assert records[0]["best_validation_loss"] == pytest.approx(records[1]["best_validation_loss"], rel=1e-4)
    for key, value in weights(alone).items():
        torch.testing.assert_close(weights(together)[key], value, rtol=1e-4, atol=1e-5, msg=key)


def test_a_sharded_training_that_is_stopped_ends_in_the_same_weights(workplace):
    short = [*FIT, *STRATEGIES["sharded"], *TWO]
    stopped = in_processes(workplace, *short, "sharded-stopped", SEEN_STOP="14")
    assert stopped.returncode != 0
    assert (workplace / "sharded-stopped/checkpoints/last.ckpt").is_file()
    for name in ("sharded-stopped", "sharded-whole"):
        done = in_processes(workplace, *short, name)
        assert done.returncode == 0, done.stderr[-2000:]
    seen = [
        json.loads((workplace / name / "seen-1.json").read_text()) for name in ("sharded-stopped", "sharded-whole")
    ]
    assert 0 < len(seen[0]["rows"]) < len(seen[1]["rows"])
    for key, value in weights(workplace / "sharded-whole").items():
        assert torch.equal(weights(workplace / "sharded-stopped")[key], value), key


def test_every_sentence_is_seen_once_an_epoch_and_steps_are_the_same_on_each_rank(alone, together):
    (one,) = (json.loads(path.read_text()) for path in alone.glob("seen-*.json"))
    ranks = [json.loads((together / f"seen-{rank}.json").read_text()) for rank in (0, 1)]
    assert {rank["steps"] for rank in ranks} == {one["steps"]}
    assert {len(rank["rows"]) for rank in ranks} == {len(ranks[0]["rows"])}
    batches = [sorted(a + b) for a, b in zip(*(rank["rows"] for rank in ranks), strict=True)]
    assert batches == [sorted(rows) for rows in one["rows"]][-len(batches) :]
    epoch: list[int] = []
    for rows in one["rows"]:
        epoch += rows
        if len(epoch) >= 300:
            break
    assert sorted(epoch) == list(range(300))
    sizes = {len(rows) for rows in one["rows"]}
    assert 1 in sizes, "a batch of fewer sentences than ranks"
    assert sizes & {3, 5}, "a batch of uneven halves"
    held, whole = [rank["parameters_held"] for rank in ranks], one["parameters_held"]
    assert sum(held) == whole if together.name.endswith("sharded") else set(held) == {whole}


def test_validation_of_two_processes_is_that_of_one(workplace, together):
    """With the weights of the last step: what BLEU is computed from to the last n-gram."""
    ranks = [json.loads((together / f"seen-{rank}.json").read_text()) for rank in (0, 1)]
    last = torch.load(together / "checkpoints" / "weights" / f"{ranks[0]['steps']:07d}.ckpt", weights_only=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        made = fit.FitCLI(
            fit.TranslationModule, fit.TranslationData, subclass_mode_model=True, run=False,
            args=["--config", "config.yaml", *TOGETHER], save_config_callback=None, auto_configure_optimizers=False,
            trainer_defaults=fit.TRAINER_DEFAULTS,
        )  # fmt: skip
        seen = Seen()
        made.trainer.callbacks += [callbacks.ValidationBleu(), seen]
        made.model.load_state_dict(last["state_dict"])
        (scores,) = made.trainer.validate(made.model, made.datamodule, verbose=False)
    assert [a + b for a, b in zip(*(rank["counts"] for rank in ranks), strict=True)] == seen.counts
    assert all(any(rank["counts"][20:]) for rank in ranks), "each rank has translated something"
    (row,) = (r for r in curve(together) if r["validation_bleu"] and int(r["step"]) == ranks[0]["steps"])
    assert row["validation_bleu"] == f"{scores['validation_bleu']:.6g}"
    assert float(row["validation_loss"]) == pytest.approx(scores["validation_loss"], rel=1e-5)


def test_two_processes_translate_as_one(workplace, together):
    """Weights of either strategy; every sentence once, in the corpus's order, to the last digit of its score."""
    translate = ["translate", together.name, "--test_sets", "test", "--decodings", "greedy", "beam3"]
    translate += ["--max_tokens", "100"]
    torchrun = ["torch.distributed.run", "--nproc-per-node", "2", "-m"]
    done = in_processes(workplace, *torchrun, "lit_nmt.cli", *translate)
    assert done.returncode == 0, done.stderr[-2000:]
    paths = [together / "translations" / f"test.{decoding}.jsonl" for decoding in ("greedy", "beam3")]
    two = [path.read_bytes() for path in paths]
    assert {json.loads(path.with_suffix(".json").read_text())["processes"] for path in paths} == {2}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        assert cli.main([*translate, "--force"]) == 0
    assert [path.read_bytes() for path in paths] == two
    assert [json.loads(line)["id"] for line in two[0].splitlines()] == list(range(20))


def test_text_is_translated_by_one_process(monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert cli.main(["translate", "somewhere"]) == 2
    assert "torchrun: text is translated by one process" in capsys.readouterr().err


def test_devices_that_are_not_there_are_told(workplace):
    with pytest.raises(UserError, match=r"^this configuration makes no training: .*torch_xla"):
        run(workplace, "on-tpus", "--trainer.accelerator", "tpu")


def test_a_run_that_another_process_trains_is_left_to_it(workplace, whole, monkeypatch, capsys):
    """Within a cluster's job it is waited for: a job of an earlier call may have gone on without that call."""
    hold = "import filelock, sys; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(whole / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UserError, match="another process is training here"):
            run(workplace, "whole")
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        threading.Timer(1, other.kill).start()
        run(workplace, "whole")
    assert "finished before" in capsys.readouterr().out


def test_machines_that_nothing_starts_are_told(workplace, monkeypatch):
    for name in ("MASTER_ADDR", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"trainer.num_nodes: 2 machines are asked for"):
        run(workplace, "alone-of-two", "--trainer.num_nodes", "2")


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
