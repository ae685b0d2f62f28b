"""Runs the measuring protocol: which windows are timed in which order, and what a row of the table is made
of."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch

from lit_nmt.benchmark.bar import Bar
from lit_nmt.benchmark.machine import FreshProcesses
from lit_nmt.benchmark.overhead import outside_share
from lit_nmt.benchmark.settings import SINGLE, Settings
from lit_nmt.benchmark.timing import (
    Product,
    alternate,
    fastest_product,
    time_product,
    time_window,
)
from lit_nmt.benchmark.unfinished import Unfinished
from lit_nmt.benchmark.workloads import (
    Rig,
    Subject,
    Workload,
    batches_of_corpus,
    batches_of_length,
    by_size,
    padding_share,
)
from lit_nmt.code import class_digest, commit
from lit_nmt.data.batching import Batch
from lit_nmt.data.corpora import DATA
from lit_nmt.data.prepared import PreparedCorpus
from lit_nmt.errors import UserError
from lit_nmt.fit import TRAINER_DEFAULTS, machine, peak_memory_bytes

WARMUP_CALLS = 2
"""Calls before the first that counts."""

DECODED_BATCHES = 4
"""Batches of a corpus, from short to long, that a window of decoding goes through."""

Row = dict[str, Any]


def with_device(settings: Settings) -> Settings:
    """The settings with "auto" decided.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if settings.device == "cuda" and not has_gpu:
        raise UserError("device: found cuda, but torch sees no GPU; expected cpu")
    return replace(settings, device="cuda" if settings.device != "cpu" and has_gpu else "cpu")


def subjects_of(fragments: dict[str, dict[str, Any]], settings: Settings, vocabulary_size: int) -> list[Subject]:
    """The models to measure, with each number of threads and in each precision.

    Args:
        fragments: LightningCLI fragments with `model` and, maybe, `trainer` and `threads`, by the models' names.
        settings: what to measure.
        vocabulary_size: joint subwords of all models.
    """
    subjects = []
    for name, fragment in fragments.items():
        trainer = fragment.get("trainer") or {}
        clip = trainer.get("gradient_clip_val", TRAINER_DEFAULTS["gradient_clip_val"])
        precisions = settings.precisions or [str(trainer.get("precision") or "32-true")]
        for threads, precision in product(settings.threads or [fragment.get("threads", 1)], precisions):
            model = fragment["model"]
            subjects.append(Subject(name, model, vocabulary_size, clip, precision, settings.device, threads))
    return subjects


def read_unfinished(
    path: Path, subjects: Sequence[Subject], settings: Settings, corpus: PreparedCorpus | None
) -> Unfinished:
    """What an earlier call has measured of the same, with the same code on the same machine, and did not finish.

    Args:
        path: where it is kept.
        subjects: as in `measure`.
        settings: as in `measure`.
        corpus: as in `measure`.
    """
    asked = {
        "subjects": [[vars(subject), class_digest(subject.model["class_path"])] for subject in subjects],
        "settings": asdict(settings),
        "corpus": corpus.manifest["digest"] if corpus else None,
        "code": commit(),
        "machine": machine(torch.device(settings.device)),
    }
    return Unfinished(path, asked)


@dataclass
class Trial:
    """A workload and what was measured of it.

    Attributes:
        workload: what was timed.
        peak_memory_bytes: of a process that did nothing else; None where not measured.
        seconds_a_token: after warm-up, roughly.
        seconds: of each window.
        outside_share: of the loop around a training step; None where not measured.
    """

    workload: Workload
    peak_memory_bytes: int | None
    seconds_a_token: float
    seconds: list[float] = field(default_factory=list)
    outside_share: float | None = None

    def estimate(self, steps: int) -> float:
        """Seconds of a window, roughly."""
        return self.seconds_a_token * tokens_in(self.workload.window(steps))


def tokens_in(batches: Sequence[Batch]) -> int:
    """Target tokens, EOS counted, padding not."""
    return sum(int(batch.target_lengths.sum()) for batch in batches)


def measure(
    subjects: Sequence[Subject],
    settings: Settings,
    corpus: PreparedCorpus | None,
    fresh: FreshProcesses | None,
    unfinished: Unfinished | None = None,
) -> tuple[list[Row], dict[str, Any]]:
    """Measures everything that the settings ask for.

    Args:
        subjects: the models.
        settings: what to measure.
        corpus: on whose own lengths to measure, too.
        fresh: where to measure peak memory; None: not measured.
        unfinished: what an earlier call has measured that did not come to its end; gets what is measured now.

    Returns:
        The rows of throughput.csv, and what else is to be known about the measurement.
    """
    device = torch.device(settings.device)
    threads, products_precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    hardware, code = machine(device), commit()
    skipped: list[str] = []
    unfinished = unfinished or Unfinished()
    try:
        groups = warm_up(subjects, settings, corpus, fresh, skipped, unfinished)
        products = {}
        for count in dict.fromkeys(subject.threads for subject in subjects):
            torch.set_num_threads(count)
            earlier = [Product(**product) for product in unfinished.get("products", count) or []]
            products[count] = _fastest_first([*earlier, *fastest_product(device)])
            unfinished.keep({("products", count): [vars(product) for product in products[count]]})
        steps = affordable_steps([trial for group in groups for trial in group], settings)
        time_windows(groups, steps, settings, unfinished)
        if corpus and settings.loop_steps:
            for trial in (trial for group in groups for trial in group):
                if trial.workload.phase == "train" and trial.workload.source_length is None:
                    subject = trial.workload.subject
                    subject.set_up()
                    share = partial(outside_share, subject, corpus, settings.target_tokens, settings.loop_steps)
                    trial.outside_share = unfinished.once(share, "outside share", *trial.workload.key)
        # the device may have been slower at first, or later: the yardstick is its best
        for count, known in products.items():
            torch.set_num_threads(count)
            products[count] = _fastest_first([*known, time_product(device, known[0].size, known[0].precision)])
        rows = [
            row(trial, steps, settings, products[trial.workload.subject.threads][0], hardware["device"])
            for group in groups
            for trial in group
        ]
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(products_precision)
        torch.set_flush_denormal(False)
    environment = {
        **hardware,
        "commit": code,
        "threads": list(products),
        "steps_in_a_window": steps,
        "fastest_product": {_counted(count): vars(known[0]) for count, known in products.items()},
        "products": [{"threads": count, **vars(each)} for count, known in products.items() for each in known],
        "peak_memory": "allocated on the device" if device.type == "cuda" else "resident, of a process of its own",
        "skipped": skipped,
    }
    return rows, environment


def warm_up(
    subjects: Sequence[Subject],
    settings: Settings,
    corpus: PreparedCorpus | None,
    fresh: FreshProcesses | None,
    skipped: list[str],
    unfinished: Unfinished,
) -> list[list[Trial]]:
    """Measures peak memory, builds every workload and runs it a few times.

    Args:
        subjects: as in `measure`.
        settings: as in `measure`.
        corpus: as in `measure`.
        fresh: as in `measure`.
        skipped: gets a line for each workload that its model cannot do, as a sentence too long for it.
        unfinished: as in `measure`; what was timed in windows already needs no warm-up.

    Returns:
        The models' trials which are to be timed in alternation: for each phase and length, but of single sentences
        for each phase, since their time is compared between lengths.
    """
    rigs = [Rig(subject, max(settings.lengths, default=16)) for subject in subjects]
    places = [
        (phase, length)
        for phase, length in product(settings.phases, [*settings.lengths, *([None] if corpus else [])])
        if length or not phase.endswith(SINGLE)
    ]
    groups: dict[tuple[str, int | None], list[Trial]] = {}
    with Bar("warm-up", len(places) * len(rigs)) as bar:
        for phase, length in places:
            batches = batches_for(phase, length, settings, corpus, subjects[0].vocabulary_size)
            group = groups.setdefault((phase, None if phase.endswith(SINGLE) else length), [])
            for rig in rigs:
                try:
                    memory = None
                    if fresh and not phase.endswith(SINGLE):  # whose batches take the least
                        # it hardly depends on the threads, and takes a process
                        kind = (rig.subject.name, rig.subject.precision, phase, length)
                        memory = unfinished.once(
                            partial(fresh.call, peak_memory_of, rig.subject, phase, length, settings),
                            "peak memory", *kind,
                        )  # fmt: skip
                    workload = rig.workload(phase, length, batches)
                    group.append(_warmed_up(workload, memory, settings.windows, unfinished))
                except (RuntimeError, ValueError, IndexError, MemoryError) as error:
                    at = f"{length} subwords" if length else "the corpus"
                    skipped.append(f"{rig.subject.name}, {phase}, {at}: {error}")
                    print(f"lit-nmt: not measured: {skipped[-1]}", file=sys.stderr)
                bar.update()
    return list(groups.values())


def _counted(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"


def _fastest_first(products: Iterable[Product]) -> list[Product]:
    return sorted(products, key=lambda product: -product.flops_per_second)


def _warmed_up(workload: Workload, memory: int | None, windows: int, unfinished: Unfinished) -> Trial:
    device, batch = torch.device(workload.subject.device), workload.batches[0]
    seconds, estimate = (unfinished.get(what, *workload.key) for what in ("seconds", "seconds a token"))
    if estimate is None or len(seconds or []) < windows:
        workload.subject.set_up()
        calls = [time_window([partial(workload.call, batch)], device) for _ in range(WARMUP_CALLS)]
        # the first call's estimate stays, so that all windows have the same steps
        estimate = unfinished.once(lambda: calls[-1] / tokens_in([batch]), "seconds a token", *workload.key)
    return Trial(workload, memory, estimate, seconds or [])


def batches_for(
    phase: str, length: int | None, settings: Settings, corpus: PreparedCorpus | None, vocabulary_size: int
) -> list[Batch]:
    """The batches that a window goes through: of one length, or with `None` of a corpus's own lengths."""
    if length is not None:
        target_tokens = length if phase.endswith(SINGLE) else settings.target_tokens
        return batches_of_length(length, target_tokens, vocabulary_size)
    assert corpus is not None
    count = settings.steps if phase == "train" else DECODED_BATCHES
    return batches_of_corpus(corpus, phase, settings.target_tokens, count)


def peak_memory_of(subject: Subject, phase: str, length: int | None, settings: Settings) -> int:
    """The peak memory in bytes of this process after it has worked on the largest batches; to be called in a
    fresh one.

    Raises:
        RuntimeError: the model cannot do it.
    """
    subject.set_up()
    corpus = PreparedCorpus.open(DATA / settings.corpus) if settings.corpus else None
    batches = by_size(batches_for(phase, length, settings, corpus, subject.vocabulary_size))
    workload = Rig(subject).workload(phase, length, batches)
    for number in range(WARMUP_CALLS + 1):
        workload.call(workload.batches[number % len(workload.batches)])
    return peak_memory_bytes(torch.device(subject.device))


def affordable_steps(trials: Sequence[Trial], settings: Settings) -> int:
    """Steps in a window, the same for all, with which all windows together take no more than `max_seconds`.

    At least one: a window on a corpus's own lengths takes what all of its batches take.
    """
    limit = math.inf if settings.max_seconds is None else settings.max_seconds
    affordable = lambda steps: settings.windows * sum(trial.estimate(steps) for trial in trials) <= limit
    return next((steps for steps in range(settings.steps, 1, -1) if affordable(steps)), 1)


def time_windows(groups: Sequence[Sequence[Trial]], steps: int, settings: Settings, unfinished: Unfinished) -> None:
    """Times all windows that no earlier call has timed, those of a group in alternation."""
    device = torch.device(settings.device)
    windows_left = lambda trial: settings.windows - len(trial.seconds)
    total = sum(windows_left(trial) * trial.estimate(steps) for group in groups for trial in group)
    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"
    with Bar("timing", total, bar_format=form) as bar:
        for group in groups:
            windows = [_window(trial.workload, steps) for trial in group]
            rounds = max(map(windows_left, group), default=0)
            for index, seconds in alternate(windows, rounds, device):
                trial = group[index]
                trial.seconds.append(seconds)
                bar.set_description(f"{trial.workload.subject.name}, {trial.workload.phase}", refresh=False)
                bar.update(trial.estimate(steps))
                if len(set(map(windows_left, group))) == 1:  # a round is whole
                    unfinished.keep({("seconds", *trial.workload.key): trial.seconds for trial in group})


def _window(workload: Workload, steps: int) -> list[Callable[[], object]]:
    batches = workload.window(steps)
    return [workload.subject.set_up, *(partial(workload.call, batch) for batch in batches)]


def row(trial: Trial, steps: int, settings: Settings, fastest: Product, device: str) -> Row:
    """A row of throughput.csv.

    Args:
        trial: with its windows timed.
        steps: in a window.
        settings: as in `measure`.
        fastest: matrix product with as many threads.
        device: its name.
    """
    workload, seconds = trial.workload, median(trial.seconds)
    batches = workload.window(steps)
    tokens = tokens_in(batches)
    sentences = sum(len(batch.source) for batch in batches)
    flops = workload.flops(batches)
    return {
        "model": workload.subject.name,
        "phase": workload.phase,
        "corpus": settings.corpus,
        "source_length": workload.source_length,
        "tokens_per_second": f"{tokens / seconds:.1f}",
        "low": f"{tokens / max(trial.seconds):.1f}",
        "high": f"{tokens / min(trial.seconds):.1f}",
        "windows": len(trial.seconds),
        "sentences_per_second": f"{sentences / seconds:.2f}",
        "peak_memory_bytes": trial.peak_memory_bytes,
        "flops_per_token": round(flops / tokens),
        "utilisation": f"{flops / seconds / fastest.flops_per_second:.4g}",
        "padding_share": f"{padding_share(batches, workload.phase):.4f}",
        "outside_share": trial.outside_share if trial.outside_share is None else f"{trial.outside_share:.4f}",
        "parameters": sum(parameter.numel() for parameter in workload.model.parameters()),
        "device": device,
        "threads": workload.subject.threads,
        "precision": workload.subject.precision,
    }
