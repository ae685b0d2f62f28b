from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from filelock import Timeout
from torch.utils.data import DataLoader

from lit_nmt.benchmark import bar, measuring, timing, workloads
from lit_nmt.benchmark.bench import bench
from lit_nmt.benchmark.flops import example_batch
from lit_nmt.benchmark.machine import FreshProcesses, cores_busy_with_others, machine_to_itself
from lit_nmt.benchmark.overhead import PairedWindows, outside_share
from lit_nmt.benchmark.settings import THROUGHPUT, Settings
from lit_nmt.benchmark.timing import alternate, fastest_product, time_window
from lit_nmt.benchmark.workloads import (
    Decoding,
    Rig,
    Subject,
    TrainingStep,
    batches_of_corpus,
    batches_of_length,
    forced_lengths,
    padding_share,
)
from lit_nmt.data import batching
from lit_nmt.data.batching import collate
from lit_nmt.data.prepared import EncodedSplit, PreparedCorpus, Ragged
from lit_nmt.data.subwords import EOS
from lit_nmt.decoding import parse_decoding
from lit_nmt.errors import UserError
from lit_nmt.studies import load_study

CPU = torch.device("cpu")
TINY = {
    "seq2seq": {
        "class_path": "lit_nmt.models.seq2seq.Seq2Seq",
        "init_args": {"dim": 8, "hidden_dim": 8, "dropout": 0.0, "warmup_steps": 1},
    },
    "transformer": {
        "class_path": "lit_nmt.models.transformer.Transformer",
        "init_args": {
            "dim": 8, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "feed_forward_dim": 8, "dropout": 0.0,
            "warmup_steps": 1,
        },
    },
}  # fmt: skip


def subject(name: str = "seq2seq", **changes: object) -> Subject:
    return replace(Subject(name, TINY[name], vocabulary_size=40), **changes)


def test_gradients_are_clipped_as_fit_clips_them() -> None:
    trainers: dict[str, dict[str, object]] = {
        "unsaid": {},
        "empty": {"trainer": {}},
        "five": {"trainer": {"gradient_clip_val": 5}},
        "off": {"trainer": {"gradient_clip_val": None}},
    }
    fragments = {name: {"model": TINY["seq2seq"], **trainer} for name, trainer in trainers.items()}
    subjects = measuring.subjects_of(fragments, Settings(device="cpu"), 40)
    found = {subject.name: subject.gradient_clip_val for subject in subjects}
    assert found == {"unsaid": 1.0, "empty": 1.0, "five": 5, "off": None}


class InMemory(PreparedCorpus):
    """A corpus of random subwords; sentences of 1 to 11, EOS not counted."""

    def __init__(self) -> None:
        super().__init__(Path("data/in-memory"), {"name": "in-memory", "vocabulary_size": 40, "splits": {}})

    def split(self, name: str) -> EncodedSplit:
        random = np.random.default_rng(len(name))
        sides = []
        for _ in range(2):
            offsets = np.concatenate(([0], np.cumsum(random.integers(1, 12, 200))))
            sides.append(Ragged(random.integers(4, 40, offsets[-1]), offsets))
        return EncodedSplit(name, *sides, source_words=np.ones(200, np.int32))


def test_windows_are_timed_forwards_and_backwards_in_turn() -> None:
    log: list[str] = []
    windows = [[partial(log.append, name)] * 2 for name in "ABC"]
    indices = [index for index, seconds in alternate(windows, 3, CPU) if seconds > 0]
    assert indices == [0, 1, 2, 2, 1, 0, 0, 1, 2]
    assert "".join(log) == "AABBCC" + "CCBBAA" + "AABBCC"


def test_a_window_synchronises_once_after_all_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    monkeypatch.setattr(timing, "synchronise", lambda device: log.append("synchronise"))
    time_window([partial(log.append, "call")] * 3, CPU)
    assert log == ["synchronise", "call", "call", "call", "synchronise"]


def test_a_window_takes_as_long_as_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def take(seconds: float) -> None:
        clock[0] += seconds

    assert time_window([partial(take, 0.5), partial(take, 2.0)], CPU) == 2.5


def test_the_fastest_product_comes_first_and_hopeless_precisions_end_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speeds = {("float32", 8): 10.0, ("float32", 16): 12.0, ("bfloat16", 8): 1.0, ("bfloat16", 16): 1.0}
    monkeypatch.setattr(
        timing,
        "time_product",
        lambda device, size, kind, seconds: timing.Product(speeds[kind, size], size, kind),
    )
    products = fastest_product(CPU, [16, 8])
    assert [(p.precision, p.size) for p in products] == [("float32", 16), ("float32", 8), ("bfloat16", 8)]


def test_a_product_is_as_fast_as_its_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []

    def half_a_second_each(calls: list[object], device: torch.device) -> float:
        counts.append(len(calls))
        return 0.5 * len(calls)

    monkeypatch.setattr(timing, "time_window", half_a_second_each)
    product = timing.time_product(CPU, 128, "float32", seconds=3.0)
    assert product.flops_per_second == 2 * 128**3 / 0.5
    assert counts == [1, 1, 2, 2, 2]


def test_one_benchmark_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with machine_to_itself(tmp_path):
        with pytest.raises(Timeout), machine_to_itself(tmp_path, timeout=0.1):
            pass
        assert "another benchmark" in capsys.readouterr().err
    with machine_to_itself(tmp_path, timeout=0):
        pass
    assert capsys.readouterr().err == ""


def test_cores_busy_with_others_is_a_number_of_cores() -> None:
    assert 0 <= cores_busy_with_others(0.05) <= (os.cpu_count() or 1) * 1.5


def test_fresh_processes_share_nothing_and_tell_of_their_death() -> None:
    # the modules are those of every other use: they are imported once for a whole test run
    with FreshProcesses("lit_nmt.benchmark.measuring") as fresh:
        assert len({fresh.call(os.getpid), fresh.call(os.getpid), os.getpid()}) == 3
        with pytest.raises(BrokenExecutor):
            fresh.call(os._exit, 1)
        with pytest.raises(ZeroDivisionError):
            fresh.call(divmod, 1, 0)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("decoding", ["greedy", "beam5"])
def test_every_hypothesis_is_as_long_as_its_source(name: str, decoding: str) -> None:
    model = subject(name).build()
    batch = collate(InMemory().split("validation"), np.arange(20))
    assert len(set(batch.source_lengths.tolist())) > 5
    found = Decoding(subject(name), model, parse_decoding(decoding))(batch)
    assert found == batch.source_lengths.tolist()


def test_forcing_a_length_takes_as_many_steps_as_the_length_and_leaves_no_trace() -> None:
    model = subject().build()
    batch = example_batch(3, 7, 7, 40)
    state = model.encode(batch.source, batch.source_lengths)
    before = model.step(batch.previous[:, 0], state).logits
    with forced_lengths(model):
        forced = model.encode(batch.source, batch.source_lengths)
        for position in range(7):
            logits, forced, _ = model.step(batch.previous[:, position], forced)
            probabilities = logits.softmax(-1)[:, EOS]
            assert torch.equal(probabilities, torch.full((3,), float(position == 6)))
    after = model.step(batch.previous[:, 0], state).logits
    assert torch.equal(before, after)
    assert "encode" not in vars(model)


@pytest.mark.parametrize("name", TINY)
def test_a_bare_step_changes_weights_as_a_step_of_lightning_does(name: str) -> None:
    bare, looped = subject(name).build(), subject(name).build()
    batch = collate(InMemory().split("train"), np.arange(12))
    TrainingStep(subject(name), bare)(batch)
    trainer = pl.Trainer(
        max_steps=1, gradient_clip_val=1.0, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(looped, DataLoader([batch], batch_size=None))
    untouched = subject(name).build().state_dict()
    for key, weight in looped.state_dict().items():
        assert torch.allclose(bare.state_dict()[key], weight, atol=1e-7), key
    assert any(not torch.equal(untouched[key], weight) for key, weight in bare.state_dict().items())


def test_precision_reaches_the_products_of_training_and_decoding() -> None:
    batch = example_batch(2, 5, 5, 40)
    for precision, kind in [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)]:
        rig = Rig(subject("transformer", precision=precision))
        for phase in ("train", "decode-greedy"):
            kinds = []
            workload = rig.workload(phase, 5, [batch])
            module = workload.model.encoder[0].feed_forward[0]
            handle = module.register_forward_hook(lambda *seen, kinds=kinds: kinds.append(seen[2].dtype))
            workload.call(batch)
            handle.remove()
            assert set(kinds) == {kind}


def test_a_window_has_at_least_the_steps_asked_for() -> None:
    rig = Rig(subject())
    batches = [example_batch(2, length, length, 40) for length in (5, 9)]
    assert [len(b.source[0]) for b in rig.workload("train", None, batches).window(5)] == [5, 9, 5, 9, 5]
    # a step of decoding is one position
    assert [len(b.source[0]) for b in rig.workload("decode-greedy", 5, batches).window(15)] == [5, 9, 5]
    # on a corpus, decoding goes through all its lengths
    assert [len(b.source[0]) for b in rig.workload("decode-greedy", None, batches).window(1)] == [5, 9]


def test_fixed_lengths_keep_the_budget_of_target_tokens() -> None:
    for length in (2, 10, 64, 200):
        (batch,) = batches_of_length(length, 128, 40)
        assert batch.global_tokens <= max(128, length)
        assert batch.global_tokens > 128 - length
        assert padding_share([batch], "train") == 0


def test_batches_of_a_corpus_have_its_lengths_and_are_the_same_at_every_call() -> None:
    corpus = InMemory()
    train = batches_of_corpus(corpus, "train", 64, 1000)
    split = corpus.split("train")
    assert sorted(np.concatenate([b.indices.numpy() for b in train])) == list(range(200))
    assert sum(measuring.tokens_in([b]) for b in train) == len(split.target.tokens) + 200
    decode = batches_of_corpus(corpus, "decode-greedy", 64, 3)
    assert len(decode) == 3
    longest = [int(batch.source_lengths.max()) for batch in decode]
    assert longest == sorted(longest)
    assert longest[0] <= 6 < 9 <= longest[-1]  # of 2 to 12
    again = batches_of_corpus(corpus, "decode-beam5", 64, 3)
    for batch, other in zip(decode, again, strict=True):
        assert torch.equal(batch.source, other.source)
        assert torch.equal(batch.target_lengths, batch.source_lengths)
        assert batch.source.numel() <= 64


def test_padding_share_is_the_share_of_padding() -> None:
    batches = batches_of_corpus(InMemory(), "train", 64, 10)
    padding = sum(int((b.source == 0).sum() + (b.target == 0).sum()) for b in batches)
    assert padding_share(batches, "train") == pytest.approx(
        padding / sum(b.source.numel() + b.target.numel() for b in batches)
    )
    source_padding = sum(int((b.source == 0).sum()) for b in batches)
    assert padding_share(batches, "decode-greedy") == pytest.approx(
        source_padding / sum(b.source.numel() for b in batches)
    )


def test_flops_of_padded_batches_are_those_of_their_sentences() -> None:
    rig = Rig(subject("transformer"))
    sentences = [example_batch(1, 4, 6, 40), example_batch(1, 9, 3, 40)]
    alone = sum(rig.workload("train", None, [s]).flops([s]) for s in sentences)
    together = batches_of_corpus(InMemory(), "train", 64, 1)[0]
    together = replace(
        together, source_lengths=torch.tensor([4, 9]), target_lengths=torch.tensor([6, 3])
    )  # whatever the padded shape
    assert rig.workload("train", None, [together]).flops([together]) == pytest.approx(alone)


def trial(seconds_a_token: float) -> measuring.Trial:
    workload = Rig(subject()).workload("train", 5, [example_batch(2, 5, 5, 40)])
    return measuring.Trial(workload, None, seconds_a_token)


def test_steps_shrink_in_proportion_to_the_seconds_allowed() -> None:
    trials = [trial(0.001), trial(0.003)]  # 10 tokens a step: 0.04 s for both
    settings = Settings(windows=5, steps=20, lengths=[5])  # 4 s
    assert measuring.affordable_steps(trials, settings) == 20
    assert measuring.affordable_steps(trials, replace(settings, max_seconds=2.0)) == 10
    assert measuring.affordable_steps(trials, replace(settings, max_seconds=100.0)) == 20
    assert measuring.affordable_steps(trials, replace(settings, max_seconds=0.001)) == 1


def test_a_row_tells_tokens_per_second_of_the_median_window() -> None:
    measured = trial(0.0)
    measured.workload.subject = replace(measured.workload.subject, threads=2)
    measured.seconds = [0.5, 0.1, 0.2]
    row = measuring.row(measured, 4, Settings(), timing.Product(1e6, 8, "float32"), device="here")
    assert list(row) == THROUGHPUT
    assert (row["tokens_per_second"], row["low"], row["high"]) == ("200.0", "80.0", "400.0")
    assert (row["sentences_per_second"], row["windows"], row["threads"]) == ("40.00", 3, 2)
    flops_per_second = row["flops_per_token"] * 200.0
    assert float(row["utilisation"]) == pytest.approx(flops_per_second / 1e6, rel=0.01)


def test_without_a_terminal_a_line_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 40))
    monkeypatch.setattr(bar, "time", SimpleNamespace(monotonic=lambda: next(clock), strftime=lambda form: "10:00:00"))
    with bar.Bar("timing", 20) as shown:
        for _ in range(20):
            shown.update()
    lines = [line.split("  ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    # a second update of 40 s, the first tenth, has had its minute
    assert lines[0] == "timing     10 %, about 12 min left"
    assert [line.split()[1] for line in lines] == [str(tenth) for tenth in range(10, 100, 10)]


def test_subnormal_numbers_count_as_zero_while_it_measures_and_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    smallest = torch.full((3,), 1e-40)
    products = []
    made = lambda device: (products.append(smallest * 1), [timing.Product(1e9, 8, "float32")])[1]
    monkeypatch.setattr(measuring, "fastest_product", made)
    settings = Settings(lengths=[4], phases=["train"], target_tokens=12, windows=1, steps=1, device="cpu")
    measuring.measure([subject()], settings, None, None)
    assert not products[0].any()
    assert (smallest * 1).all()


def test_what_a_model_cannot_do_is_told_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measuring, "fastest_product", lambda device: [timing.Product(1e9, 8, "float32")])
    make = Rig.workload

    def refuse(self: Rig, phase: str, length: int | None, batches: list[batching.Batch]) -> workloads.Workload:
        if self.subject.name == "seq2seq" and length == 6:
            raise RuntimeError("too long for me")
        return make(self, phase, length, batches)

    monkeypatch.setattr(Rig, "workload", refuse)
    settings = Settings(lengths=[4, 6], phases=["train"], target_tokens=12, windows=1, steps=1, device="cpu")
    rows, environment = measuring.measure([subject(), subject("transformer")], settings, None, None)
    assert [(row["model"], row["source_length"]) for row in rows] == [
        ("seq2seq", 4), ("transformer", 4), ("transformer", 6),
    ]  # fmt: skip
    assert environment["skipped"] == ["seq2seq, train, 6 subwords: too long for me"]
    assert "too long for me" in capsys.readouterr().err


@pytest.mark.parametrize("phase", ["train-single", "decode-greedy-single"])
def test_single_sentences_of_each_length_and_none_of_a_corpus(phase: str) -> None:
    settings = Settings(lengths=[4, 6], phases=[phase], target_tokens=99, windows=1, steps=2, device="cpu")
    rows, environment = measuring.measure([subject()], settings, InMemory(), None)
    assert [(row["phase"], row["source_length"], row["padding_share"]) for row in rows] == [
        (phase, 4, "0.0000"), (phase, 6, "0.0000"),
    ]  # fmt: skip
    for row in rows:
        assert float(row["tokens_per_second"]) == pytest.approx(
            row["source_length"] * float(row["sentences_per_second"]), rel=0.01
        )
    assert environment["skipped"] == []


def test_lengths_that_a_model_cuts_are_not_measured_of_it() -> None:
    bounded = {
        "dim": 8,
        "hidden_dim": 8,
        "position_dim": 2,
        "longest_source": 9,
        "longest_target": 5,
        "warmup_steps": 1,
    }
    model = {"class_path": "lit_nmt.models.feed_forward.FeedForward", "init_args": bounded}
    phases = ["train", "decode-beam2"]
    settings = Settings(lengths=[6, 7], phases=phases, target_tokens=14, windows=1, steps=1, device="cpu")
    subjects = [subject(), Subject("feed-forward", model, vocabulary_size=40)]
    rows, environment = measuring.measure(subjects, settings, InMemory(), None)
    measured = [(row["phase"], row["source_length"]) for row in rows if row["model"] == "feed-forward"]
    assert measured == [(phase, length) for phase in phases for length in (6, None)]
    assert len(rows) == len(measured) + 2 * 3
    told = "7 subwords: it reads and says no more than 5"
    assert environment["skipped"] == [f"feed-forward, {phase}, {told}" for phase in phases]


def test_time_outside_the_model_is_the_loops_less_the_bare_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    warm = False

    def bare(batch: batching.Batch) -> None:
        clock[0] += 3.0 if warm else 50.0

    windows = PairedWindows(bare, steps=2)
    model = torch.nn.Module()
    model.device = CPU
    windows.on_train_start(None, model)
    batch = example_batch(1, 3, 3, 40)
    for number in range(6):
        clock[0] += 4.0
        windows.on_train_batch_end(None, model, None, batch, number)
        warm = number >= 1
    assert windows.loop_seconds == [8.0, 8.0, 8.0]
    assert windows.outside_share == pytest.approx(1 - 3 / 4)


def test_the_loop_of_a_real_training_is_measured_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    assert -5 < outside_share(subject(), InMemory(), 32, 3) < 1
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def write_models(folder: Path) -> list[str]:
    paths = []
    for name, model in TINY.items():
        path = folder / f"{name}.yaml"
        path.write_text(json.dumps({"model": model}), encoding="utf-8")
        paths.append(str(path))
    return paths


def test_each_number_of_threads_is_measured_against_the_product_of_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {1: 1e9, 2: 4e9}
    made = lambda device: [timing.Product(speeds[torch.get_num_threads()], 8, "float32")]
    monkeypatch.setattr(measuring, "fastest_product", made)
    monkeypatch.setattr(measuring, "time_product", lambda device, size, precision: made(device)[0])
    used = []
    call = workloads.TrainingStep.__call__
    monkeypatch.setattr(
        workloads.TrainingStep,
        "__call__",
        lambda self, batch: (used.append(torch.get_num_threads()), call(self, batch))[1],
    )
    before = torch.get_num_threads()
    settings = Settings(lengths=[4], phases=["train"], target_tokens=12, windows=2, steps=1, threads=[1, 2])
    subjects = measuring.subjects_of({"seq2seq": {"model": TINY["seq2seq"]}}, replace(settings, device="cpu"), 40)
    rows, environment = measuring.measure(subjects, replace(settings, device="cpu"), None, None)
    assert torch.get_num_threads() == before
    assert [row["threads"] for row in rows] == [1, 2]
    assert used == [1, 1, 2, 2, 1, 2, 2, 1]  # warm-up, then windows there and back
    assert environment["fastest_product"] == {
        "1 thread": {"flops_per_second": 1e9, "size": 8, "precision": "float32"},
        "2 threads": {"flops_per_second": 4e9, "size": 8, "precision": "float32"},
    }
    for row in rows:
        flops = row["flops_per_token"] * float(row["tokens_per_second"])
        assert float(row["utilisation"]) == pytest.approx(flops / speeds[row["threads"]], rel=0.01)


def test_bench_writes_the_table_and_its_circumstances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lit_nmt.benchmark.bench.machine_to_itself", lambda: machine_to_itself(tmp_path))
    bench(
        write_models(tmp_path), lengths=[4], target_tokens=16, windows=2, steps=2, threads=[1], device="cpu",
        phases=["train", "decode-beam2"], vocabulary_size=50,
    )  # fmt: skip
    folder = tmp_path / "runs" / "bench" / "models"
    with open(folder / "throughput.csv", newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert reader.fieldnames == THROUGHPUT
    assert {(row["model"], row["phase"]) for row in rows} == {
        (model, phase) for model in TINY for phase in ("train", "decode-beam2")
    }
    for row in rows:
        assert 0 < float(row["low"]) <= float(row["tokens_per_second"]) <= float(row["high"])
        assert 0 < float(row["utilisation"]) < 1
        assert int(row["peak_memory_bytes"]) > 50_000_000
        assert (row["corpus"], row["outside_share"], row["threads"], row["windows"]) == ("", "", "1", "2")
        assert row["precision"] == "32-true"
    with open(folder / "operations.csv", newline="", encoding="utf-8") as file:
        counted = list(csv.DictReader(file))
    assert {row["model"] for row in counted} == set(TINY)
    chains = {
        (row["model"], row["length"]): int(row["operations"])
        for row in counted
        if row["quantity"] == "sequential-training"
    }
    assert chains["seq2seq", "4"] < chains["seq2seq", "16"]
    assert chains["transformer", "4"] == chains["transformer", "16"]
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    assert environment["fastest_product"]["1 thread"]["flops_per_second"] > 1e8
    assert environment["versions"]["torch"] == torch.__version__
    assert environment["settings"]["steps"] == 2
    assert not (folder / "unfinished.json").exists()


@pytest.mark.parametrize(
    ("phase", "killed_in", "goes_on_with"),
    [
        ("train", [4, 4, 6], [6, 6, 6, 6]),  # warm-up and windows of what was not timed
        ("train-single", [4, 6, 6], [4, 4, 6, 6, 4, 6]),  # lengths in alternation: warm-up, and the second round
    ],
)
def test_a_benchmark_that_is_killed_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, killed_in: list[int], goes_on_with: list[int]
) -> None:
    path = tmp_path / "unfinished.json"
    settings = Settings(lengths=[4, 6], phases=[phase], target_tokens=12, windows=2, steps=1, device="cpu")
    lengths: list[int] = []
    call = workloads.TrainingStep.__call__
    monkeypatch.setattr(
        workloads.TrainingStep,
        "__call__",
        lambda self, batch: (lengths.append(int(batch.source_lengths[0])), call(self, batch))[1],
    )
    warm_up = [4, 4, 6, 6]

    def measure(settings: Settings = settings) -> list[measuring.Row]:
        lengths.clear()
        before = measuring.read_unfinished(path, [subject()], settings, None)
        return measuring.measure([subject()], settings, None, None, before)[0]

    def killed(windows: list, rounds: int, device: torch.device) -> Iterator[tuple[int, float]]:
        for index, seconds in alternate(windows, rounds, device):
            if lengths == warm_up + killed_in:
                raise KeyboardInterrupt
            yield index, seconds

    with monkeypatch.context() as patched:
        patched.setattr(measuring, "alternate", killed)
        with pytest.raises(KeyboardInterrupt):
            measure()
    kept = json.loads(path.read_text(encoding="utf-8"))["values"]
    windows = next(value for name, value in kept.items() if name.startswith("seconds,"))
    (row, _) = measure()
    assert lengths == goes_on_with
    tokens = 4 if phase == "train-single" else 12
    low, high = float(row["low"]), float(row["high"])
    assert windows
    assert all(pytest.approx(tokens / window, rel=0.01) in (low, high) for window in windows)
    assert float(row["tokens_per_second"]) == pytest.approx(
        tokens / np.median([tokens / low, tokens / high]), rel=0.01
    )
    measure(replace(settings, windows=1))
    assert lengths == [*warm_up, 4, 6]  # another question is answered anew


def test_a_study_says_what_is_measured_and_options_overrule_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def note(folder: Path, fragments: dict[str, dict], settings: Settings, vocabulary_size: int) -> None:
        asked[folder.name] = (fragments, settings)

    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setattr("lit_nmt.benchmark.bench._measure_into", note)
    bench(["tiny"])
    study = load_study("tiny")
    fragments, settings = asked["tiny"]
    assert list(fragments) == list(study.models)
    assert all(fragment["model"]["class_path"] for fragment in fragments.values())
    assert settings.corpus in study.corpora
    for key, value in vars(study.bench).items():
        assert key in ("models", "corpus") or getattr(settings, key) == value
    bench(["tiny"], steps=7, peak_memory=not study.bench.peak_memory)
    assert asked["tiny"][1] == replace(settings, steps=7, peak_memory=not settings.peak_memory)
    with pytest.raises(UserError, match="measured alone"):
        bench(["tiny", "transformer"])
    with pytest.raises(UserError, match="two models of one name"):
        bench(["transformer", "experiments/models/transformer.yaml"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phases": ["training"]}, "phases: found 'training'"),
        ({"phases": ["decode-beam0"]}, "phases: found 'decode-beam0'"),
        ({"windows": 0}, "windows: found 0"),
        ({"lengths": [1]}, "lengths: found 1"),
        ({"precisions": ["16-mixed"]}, "precisions: found '16-mixed'"),
        ({"device": "tpu"}, "device: found 'tpu'"),
        ({"corpus": "nowhere"}, "lit-nmt prepare nowhere"),
    ],
)
def test_mistakes_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        bench(write_models(tmp_path), **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()
