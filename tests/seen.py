"""A callback that tests give to trainings in processes of their own: what each rank saw, and where it is cut short."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from lit_nmt.callbacks import ValidationBleu


class Seen(pl.Callback):
    """Writes `seen-<rank>.json` into the run's folder when a training ends.

    With SEEN_STOP in the environment, the process ends before the batch of that number, as if killed.
    """

    def __init__(self) -> None:
        self.started = time.time()
        self.rows: list[list[int]] = []
        self.counts: list[int] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Counts the batch's sentences."""
        if batch_idx == int(os.environ.get("SEEN_STOP", "-1")):
            os._exit(1)
        self.rows.append(batch.indices[batch.target_lengths > 0].tolist())

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Keeps what this rank has counted for BLEU in this validation so far."""
        (metric,) = (callback.metric for callback in trainer.callbacks if isinstance(callback, ValidationBleu))
        self.counts = metric.counts.tolist()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes it."""
        local = [getattr(p, "to_local", lambda p=p: p)() for p in pl_module.parameters()]
        content = {
            "rows": self.rows,
            "counts": self.counts,
            "steps": trainer.global_step,
            "world_size": trainer.world_size,
            "parameters_held": sum(p.numel() for p in local),
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "started": self.started,
            "ended": time.time(),
            "job": os.environ.get("SLURM_JOB_ID"),
        }
        path = Path(trainer.default_root_dir) / f"seen-{trainer.global_rank}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
