"""What happens around training steps: reproducible randomness, validation BLEU, checkpoints, the run's record."""

from __future__ import annotations

import csv
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from torch import Tensor
from torchmetrics import Metric

from lit_nmt.data.batching import Batch
from lit_nmt.data.datamodule import TranslationData
from lit_nmt.decoding import Search, search
from lit_nmt.errors import UserError
from lit_nmt.files import replacing
from lit_nmt.metrics import STATISTICS, Scorer, corpus_bleu

NEVER = 2**62
"""No batch has this number."""


class NotFiniteError(Exception):
    """The loss became NaN or infinite."""


class SeedEachStep(Callback):
    """Makes the random numbers of a step (dropout) a function of seed, step and rank alone.

    So a resumed training draws what an uninterrupted one would have drawn, and no generator's state need be kept.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        """Seeds torch's generators."""
        state = np.random.SeedSequence([self.seed, batch_idx, trainer.global_rank]).generate_state(1)
        torch.manual_seed(int(state[0]))


class CorpusBleu(Metric):
    """sacreBLEU's corpus BLEU, cased, from counts that add up over batches and ranks."""

    full_state_update = False
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        zeros = torch.zeros(len(STATISTICS), dtype=torch.int64)
        self.add_state("counts", default=zeros, dist_reduce_fx="sum")

    def update(self, hypotheses: list[str], references: list[str]) -> None:
        """Adds sentences."""
        statistics = Scorer(references).statistics(hypotheses)
        self.counts += torch.from_numpy(statistics.sum(0)).to(self.counts.device)

    def compute(self) -> float:
        """BLEU of all sentences so far, 0 to 100."""
        return corpus_bleu(self.counts.cpu().numpy()[None], "mixed")


class ValidationBleu(Callback):
    """Translates the validation set greedily at each validation and logs `validation_bleu`."""

    def __init__(self) -> None:
        self.metric = CorpusBleu()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Translates a batch."""
        data = _data(trainer)
        corpus = data.corpus
        rows = batch.indices[batch.target_lengths > 0]
        if not len(rows):
            return
        found = search(pl_module, batch.source, batch.source_lengths, Search())
        hypotheses = corpus.subwords.decode([best[0].tokens for best in found])
        references = corpus.text("validation")[1]
        self.metric.update(hypotheses, [references[row] for row in rows.tolist()])

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts on the device, where ranks add up their counts, also of a rank for which there is no sentence."""
        self.metric.to(pl_module.device)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the score."""
        pl_module.log("validation_bleu", float(self.metric.compute()), prog_bar=True)
        self.metric.reset()


class Bar(TQDMProgressBar):
    """Progress with tokens a second, validation BLEU and the time left."""

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """The whole training is one bar."""
        super().on_train_epoch_start(trainer)
        self.train_progress_bar.set_description("Training")

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, int | str | float | dict]:
        """What stands behind the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


class Checkpoints(Callback):
    """Keeps what a training needs to go on (`last.ckpt`) and what it may be judged by.

    At each validation the weights are written to `checkpoints/weights/<step>.ckpt`; those of the last `average` and
    of the best validation BLEU are kept. Behind them `last.ckpt` is written, so that whatever it promises is there.
    The one before it stays as `previous.ckpt`, with its weights, in case that the last turns out to be damaged.

    Args:
        folder: `checkpoints/` of the run.
        average: how many of the last validations' weights are kept for averaging.
    """

    def __init__(self, folder: Path, average: int) -> None:
        self.folder = folder
        self.average = average
        self.best_bleu = -1.0
        self.best_step = 0
        self.recent: list[int] = []
        self.kept: list[int] = []
        self.stopped = False

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.folder / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The checkpoint before it."""
        return self.folder / "previous.ckpt"

    def readable(self) -> Path | None:
        """The last checkpoint that can be read, None where there is none yet; a damaged one is told and set aside.

        Where the very first is damaged, little is lost, and the training begins again.

        Raises:
            UserError: there were several checkpoints, and none can be read.
        """
        found = [path for path in (self.last, self.previous) if path.is_file()]
        for path in found:
            try:
                _read(path)
            except (ValueError, FileNotFoundError) as error:
                if getattr(rank_zero_only, "rank", 0):
                    continue  # the first process sets it aside, maybe before this one has read it
                aside = path.with_name(f"{path.name}.damaged")
                path.replace(aside)
                print(f"lit-nmt: {path}: damaged ({error}), now {aside.name}", file=sys.stderr)
            else:
                return path
        if found and found != [self.last]:
            raise UserError(f"{self.folder}: no checkpoint can be read; start again to train anew from the beginning")
        return None

    def weights(self, step: int) -> Path:
        """Where the weights after `step` are."""
        return self.folder / "weights" / f"{step:07d}.ckpt"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Trains on only if no callback had stopped the training."""
        trainer.should_stop |= self.stopped

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the checkpoints."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self.stopped = trainer.should_stop
        step = trainer.global_step
        bleu = float(trainer.callback_metrics["validation_bleu"])
        if bleu > self.best_bleu:
            self.best_bleu, self.best_step = bleu, step
        self.recent = [*(s for s in self.recent if s != step), step][-self.average :]
        before, self.kept = self.kept, sorted({*self.recent, self.best_step})
        trainer.save_checkpoint(self.weights(step), weights_only=True)
        if trainer.is_global_zero and self.last.is_file():
            self.last.replace(self.previous)
        trainer.save_checkpoint(self.last)
        if trainer.is_global_zero:
            kept = {self.weights(s) for s in (*before, *self.kept)}
            for path in self.weights(0).parent.glob("*.ckpt"):
                if path not in kept:
                    path.unlink()

    def state_dict(self) -> dict[str, Any]:
        """Plain types, for a checkpoint."""
        return {
            "best_bleu": self.best_bleu,
            "best_step": self.best_step,
            "recent": list(self.recent),
            "kept": list(self.kept),
            "stopped": self.stopped,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.best_bleu = state_dict["best_bleu"]
        self.best_step = state_dict["best_step"]
        self.recent = list(state_dict["recent"])
        self.kept = list(state_dict.get("kept", [*self.recent, self.best_step]))
        self.stopped = state_dict.get("stopped", False)

    def load_weights(self, step: int) -> dict[str, Any]:
        """The weights after `step`.

        Raises:
            UserError: the file is damaged or gone.
        """
        try:
            return _read(self.weights(step))
        except (ValueError, FileNotFoundError) as error:
            raise UserError(f"{self.weights(step)}: damaged ({error}); delete the run's folder, train again") from None

    def averaged(self) -> dict[str, Any]:
        """The last of the kept checkpoints with the mean of all their weights (Vaswani et al. 2017, section 6.1)."""
        loaded = [self.load_weights(step) for step in self.recent]
        mean = loaded[-1]
        for name, last in mean["state_dict"].items():
            if last.is_floating_point():
                stacked = torch.stack([checkpoint["state_dict"][name] for checkpoint in loaded])
                mean["state_dict"][name] = stacked.mean(0, dtype=torch.float64).to(last.dtype)
        return mean


def _read(path: Path) -> dict[str, Any]:
    """A checkpoint, of tensors and plain values alone, so that none can run code.

    Raises:
        ValueError: it is damaged; the message says how.
        OSError: the file cannot be read at all.
    """
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except OSError:
        raise
    except Exception as error:  # what kind of error damage makes, depends on its bytes
        raise ValueError(str(error).partition("\n")[0] or type(error).__name__) from None
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError("no checkpoint of a training")
    return content


FIELDS = (
    "step",
    "target_tokens",
    "train_seconds",
    "validation_loss",
    "validation_bleu",
    "train_loss",
    "learning_rate",
    "tokens_per_second",
)


class Record(Callback):
    """Counts target tokens and training seconds and writes `metrics.csv`, a row a log interval and a validation.

    Seconds are those between training steps, without validation and checkpoints; they add up over resumptions. Rows
    behind the checkpoint that a training resumes from are cut off, since they come again.

    Args:
        path: of `metrics.csv`.

    Raises:
        UserError: what is there is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_file():
            try:
                _ = [int(row["step"]) for row in self.rows()]
            except (ValueError, KeyError, TypeError, csv.Error) as error:
                raise UserError(f"{path}: damaged ({error}); delete the run's folder to train anew") from None
        self.target_tokens = 0
        self.train_seconds = 0.0
        self._clock: float | None = None  # when it was started; None while it stands
        self._interval = (0, 0.0)
        self._first_bad: Tensor | None = None
        self.shape = ""  # of the batch in work

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        """Notes what is being trained on, to be told if memory does not suffice; starts the clock if it stands."""
        if self._clock is None:
            self._clock = time.perf_counter()
        pairs, source_length = batch.source.shape
        self.shape = f"{pairs} pairs of {source_length} source and {batch.target.shape[1]} target subwords"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Cuts the record back to the step from which the training goes on, and starts the clock."""
        if trainer.is_global_zero:
            rows = []
            if self.path.is_file() and trainer.global_step:
                rows = [row for row in self.rows() if int(row["step"]) <= trainer.global_step]
            with replacing(self.path) as beside, open(beside, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, FIELDS)
                writer.writeheader()
                writer.writerows(rows)
        self._start_interval()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Counts the batch; at a log interval, checks that the loss is finite and writes a row."""
        self.target_tokens += batch.global_tokens
        # kept on the device: reading it would hold up the step
        bad = torch.where(outputs["loss"].detach().isfinite(), NEVER, batch_idx)
        self._first_bad = bad if self._first_bad is None else torch.minimum(self._first_bad, bad)
        if (
            batch_idx + 1
        ) % trainer.log_every_n_steps == 0 or trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self.check_finite(trainer)
            self._stop_clock()
            tokens, seconds = (now - before for now, before in zip(self._now(), self._interval, strict=True))
            rate = tokens / max(seconds, 1e-9)
            pl_module.log("tokens_per_second", rate, prog_bar=True)
            self._write(
                trainer,
                train_loss=float(trainer.callback_metrics["train_loss"]),
                learning_rate=trainer.optimizers[0].param_groups[0]["lr"],
                tokens_per_second=rate,
            )
            self._start_interval()

    def check_finite(self, trainer: Any) -> None:
        """Reads what has gathered since the last check.

        Raises:
            NotFiniteError: a loss was NaN or infinite; says which batch's.
        """
        if self._first_bad is None:
            return
        position = int(trainer.strategy.reduce(self._first_bad, reduce_op="min"))
        self._first_bad = None
        if position < NEVER:
            data = _data(trainer)
            epoch, index = divmod(position, len(data.plan))
            rows = data.plan.epoch(epoch)[index]
            raise NotFiniteError(
                f"the loss was not finite at batch {position + 1} of the training, batch {index + 1} of pass "
                f"{epoch + 1} over the corpus ({len(rows)} pairs, the first is row {rows[0]}): lower "
                "model.init_args.learning_rate or raise model.init_args.warmup_steps"
            )

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops the clock."""
        self.shape = ""
        if trainer.state.fn == "fit":
            self._stop_clock()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the validation's row; the clock stands until the next batch, as a checkpoint may be written."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.check_finite(trainer)
        metrics = {name: float(trainer.callback_metrics[name]) for name in ("validation_loss", "validation_bleu")}
        self._write(trainer, **metrics)

    def state_dict(self) -> dict[str, Any]:
        """Plain types, for a checkpoint."""
        return {"target_tokens": self.target_tokens, "train_seconds": self.train_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.target_tokens = state_dict["target_tokens"]
        self.train_seconds = state_dict["train_seconds"]

    def rows(self) -> list[dict[str, str]]:
        """What is written so far."""
        with open(self.path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def _now(self) -> tuple[int, float]:
        return self.target_tokens, self.train_seconds

    def _start_interval(self) -> None:
        self._clock = time.perf_counter()
        self._interval = self._now()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self.train_seconds += time.perf_counter() - self._clock
        self._clock = None

    def _write(self, trainer: pl.Trainer, **values: float) -> None:
        if not trainer.is_global_zero:
            return
        row: dict[str, Any] = {"step": trainer.global_step, "target_tokens": self.target_tokens}
        row["train_seconds"] = round(self.train_seconds, 3)
        row |= {name: f"{value:.6g}" for name, value in values.items() if math.isfinite(value)}
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, FIELDS).writerow(row)


def _data(trainer: pl.Trainer) -> TranslationData:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, TranslationData)
    return data
