"""The share of a training's time that its model has no part in: data loading, Lightning's loop, logging."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from lit_nmt.benchmark.timing import synchronise, time_window
from lit_nmt.benchmark.workloads import Subject, TrainingStep, quiet_lightning
from lit_nmt.callbacks import Record, SeedEachStep
from lit_nmt.data.batching import Batch
from lit_nmt.data.datamodule import TranslationData
from lit_nmt.data.prepared import PreparedCorpus
from lit_nmt.fit import TRAINER_DEFAULTS

ROUNDS = 5
"""Windows of the loop and of the bare step, after one of each for warming up."""


def outside_share(subject: Subject, corpus: PreparedCorpus, max_tokens: int, steps: int) -> float:
    """The share of the loop's time outside the model, measured in one real training.

    Every `steps` batches the training pauses, and a twin of its model takes the same batches without the
    loop. So both do the same work in the same minutes; the share is the median over five such pairs of
    windows. Noise can make it negative.

    Args:
        subject: the model.
        corpus: what it trains on.
        max_tokens: of a batch.
        steps: in a window.
    """
    bare = TrainingStep(subject, subject.build())
    windows = PairedWindows(bare, steps)
    quiet = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        quiet_lightning(),
        redirect_stdout(quiet),
        redirect_stderr(quiet),
    ):
        trainer = pl.Trainer(
            **{
                **TRAINER_DEFAULTS,
                "accelerator": "gpu" if subject.device == "cuda" else "cpu",
                "devices": 1,
                "precision": subject.precision,
                "gradient_clip_val": subject.gradient_clip_val,
                "max_steps": steps * (ROUNDS + 1),
                "limit_val_batches": 0,
                "logger": TensorBoardLogger(folder, name="", version="tensorboard"),
                "callbacks": [SeedEachStep(1), Record(Path(folder) / "metrics.csv"), windows],
            }
        )
        tokens = int(corpus.split("train").target.lengths.sum()) + max_tokens * steps * (ROUNDS + 1)
        trainer.fit(subject.build(), _PreparedData(corpus, max_tokens, tokens))
    return windows.outside_share


class PairedWindows(pl.Callback):
    """Times the loop it is called from and, in its pauses, the bare step on the same batches.

    Args:
        bare: trains a twin of the model on one batch.
        steps: in a window.
    """

    def __init__(self, bare: Callable[[Batch], object], steps: int) -> None:
        self.bare = bare
        self.steps = steps
        self.loop_seconds: list[float] = []
        self.bare_seconds: list[float] = []
        self._batches: list[Batch] = []
        self._start = 0.0

    @property
    def outside_share(self) -> float:
        """1 less the bare step's part of the loop's seconds; the first windows, which warm up, do not
        count."""
        pairs: Sequence[tuple[float, float]] = list(zip(self.bare_seconds, self.loop_seconds, strict=True))[1:]
        return 1 - median(bare / loop for bare, loop in pairs)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the loop's clock."""
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Keeps the batch; at the end of a window, times the twin on those kept."""
        self._batches.append(batch)
        if len(self._batches) < self.steps:
            return
        device: torch.device = pl_module.device
        synchronise(device)
        self.loop_seconds.append(time.perf_counter() - self._start)
        calls = [lambda batch=batch: self.bare(batch) for batch in self._batches]
        self.bare_seconds.append(time_window(calls, device))
        self._batches.clear()
        self._start = time.perf_counter()


class _PreparedData(TranslationData):
    """The training batches of a corpus that is prepared already."""

    def __init__(self, corpus: PreparedCorpus, max_tokens: int, target_tokens: int) -> None:
        super().__init__(None, max_tokens, target_tokens, validations=1)  # type: ignore[arg-type]
        self._corpus = corpus

    @cached_property
    def corpus(self) -> PreparedCorpus:
        return self._corpus

    def prepare_data(self) -> None:
        """Nothing is left to do."""
