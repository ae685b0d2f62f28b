"""What a benchmark times: a model's training step and its decoding, on batches that are the same for every
model."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from lit_nmt.benchmark.flops import PairFlops, decoding_flops, example_batch, training_flops
from lit_nmt.benchmark.settings import SINGLE
from lit_nmt.data.batching import Batch, BatchPlan, collate
from lit_nmt.data.prepared import PreparedCorpus
from lit_nmt.data.subwords import EOS
from lit_nmt.decoding import Search, parse_decoding, search
from lit_nmt.fit import set_up_processor
from lit_nmt.models.loading import make_model
from lit_nmt.models.translation import Step, TranslationModule

CERTAIN = 1e4
"""A logit next to which all others have no probability, in any precision."""


@dataclass(frozen=True)
class Subject:
    """A model to be timed, described by plain values so that a fresh process can build it, too.

    Attributes:
        name: as in the results.
        model: `class_path` and `init_args` of a `TranslationModule`, without the vocabulary's size.
        vocabulary_size: joint subwords.
        gradient_clip_val: the norm to which training clips gradients; None: not at all.
        precision: Lightning's word, "32-true", "bf16-mixed" or "bf16-true".
        device: "cpu" or "cuda".
        threads: of the processor.
    """

    name: str
    model: dict[str, Any]
    vocabulary_size: int
    gradient_clip_val: float | None = 1.0
    precision: str = "32-true"
    device: str = "cpu"
    threads: int = 1

    def set_up(self) -> None:
        """Sets what `lit-nmt fit` sets for the whole process."""
        set_up_processor(self.threads)

    def build(self) -> TranslationModule:
        """The model on its device, with seeded weights."""
        torch.manual_seed(1)
        return make_model({"model": self.model}, self.vocabulary_size).to(self.device)

    def idle_trainer(self) -> pl.Trainer:
        """A trainer that trains nothing: it answers a model's questions and knows what its precision
        means."""
        return _IdleTrainer(
            accelerator="gpu" if self.device == "cuda" else "cpu",
            devices=1,
            precision=self.precision,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )


class _IdleTrainer(pl.Trainer):
    def __init__(self, **options: Any) -> None:
        with quiet_lightning():
            super().__init__(**options)

    @property
    def estimated_stepping_batches(self) -> int:
        return 10_000


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keeps Lightning from telling which devices there are and are not."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The `srun` command is available")
            yield
    finally:
        logger.setLevel(level)


class TrainingStep:
    """One batch's worth of training, and nothing else.

    Forward pass, loss, backward pass, the model's own scaling and clipping of gradients, the step of its own
    optimiser: what Lightning's automatic optimisation calls, without Lightning's loop around it.
    """

    def __init__(self, subject: Subject, model: TranslationModule) -> None:
        self.trainer = subject.idle_trainer()
        self.precision = self.trainer.precision_plugin
        self.clip = subject.gradient_clip_val
        self.model = model
        self.precision.convert_module(model).train()
        self.model.trainer = self.trainer
        # logging belongs to the loop; a bare step has nowhere to log to
        self.model.log = lambda *_, **__: None  # type: ignore[method-assign]
        configured: Any = self.model.configure_optimizers()
        self.optimiser: torch.optim.Optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
        self.model.on_fit_start()

    def __call__(self, batch: Batch) -> None:
        """Trains on the batch."""
        self.optimiser.zero_grad()
        with self.precision.forward_context():
            loss = self.model.training_step(batch, 0)
        loss.backward()
        self.model.on_before_optimizer_step(self.optimiser)
        self.model.configure_gradient_clipping(self.optimiser, self.clip)
        self.optimiser.step()


@contextmanager
def forced_lengths(model: TranslationModule) -> Iterator[None]:
    """Makes every hypothesis exactly as long as its source, EOS counted, whatever the weights say.

    Weights that were never trained end sentences where trained ones would not. Within the block EOS is
    impossible before a row's source length is reached, and certain there: greedy and beam search do the work
    of a decoding whose length is known, the same for every model. A column of the logits is all that changes
    in a step.
    """
    encode, step = model.encode, model.step

    def counting_encode(source: Tensor, source_lengths: Tensor) -> dict[str, Any]:
        return {"state": encode(source, source_lengths), "left": source_lengths.clone()}

    def counting_step(previous: Tensor, state: dict[str, Any]) -> Step:
        logits, inner, attention = step(previous, state["state"])
        left = state["left"] - 1
        logits[:, EOS] = torch.where(left > 0, -torch.inf, CERTAIN).to(logits.dtype)
        return Step(logits, {"state": inner, "left": left}, attention)

    model.encode, model.step = counting_encode, counting_step  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.encode, model.step


class Decoding:
    """Translates a batch by the suite's own search, each sentence to exactly its source's length."""

    def __init__(self, subject: Subject, model: TranslationModule, settings: Search) -> None:
        self.precision = subject.idle_trainer().precision_plugin
        self.model = model
        self.precision.convert_module(model).eval()
        self.settings = settings

    def __call__(self, batch: Batch) -> list[int]:
        """The lengths of the best hypotheses, EOS counted, in the batch's order."""
        with forced_lengths(self.model), self.precision.forward_context():
            found = search(self.model, batch.source, batch.source_lengths, self.settings)
        return [len(hypotheses[0].tokens) + 1 for hypotheses in found]


@dataclass
class Workload:
    """Calls that can be timed, and what they are worth.

    Attributes:
        subject: the model's description.
        model: the model.
        phase: "train", "decode-greedy" or "decode-beam<hypotheses>", or one of these and `SINGLE`.
        source_length: of every sentence; None where the lengths are a corpus's.
        batches: what is worked on, over and over.
        call: works on one batch.
        pair_flops: counts the model's operations on sentences of given lengths.
    """

    subject: Subject
    model: TranslationModule
    phase: str
    source_length: int | None
    batches: list[Batch]
    call: Callable[[Batch], object]
    pair_flops: Callable[[], PairFlops]

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from the other workloads of a benchmark."""
        return (self.subject.name, self.subject.precision, self.subject.threads, self.phase, self.source_length)

    def window(self, steps: int) -> list[Batch]:
        """The batches that make a window of at least so many steps; a step of decoding is one position.

        A window on a corpus's own lengths goes through all its batches, so that no length is missed.
        """
        at_least = len(self.batches) if self.source_length is None else 1
        chosen: list[Batch] = []
        done = 0
        while done < steps or len(chosen) < at_least:
            batch = self.batches[len(chosen) % len(self.batches)]
            done += 1 if search_of(self.phase) is None else int(batch.target_lengths.max())
            chosen.append(batch)
        return chosen

    def flops(self, batches: Sequence[Batch]) -> float:
        """The model's operations on these batches, without padding and recomputation."""
        pair_flops = self.pair_flops()
        return sum(
            pair_flops(source, target)
            for batch in batches
            for source, target in zip(batch.source_lengths.tolist(), batch.target_lengths.tolist(), strict=True)
        )


def search_of(phase: str) -> Search | None:
    """The search of a decoding phase; None of training."""
    phase = phase.removesuffix(SINGLE)
    return None if phase == "train" else parse_decoding(phase.removeprefix("decode-"))


class Rig:
    """A model built once for all its workloads: apart for training, which changes weights, and for decoding.

    Args:
        subject: the model's description.
        longest: source and target length up to which its operations will be asked for, roughly.
    """

    def __init__(self, subject: Subject, longest: int = 16) -> None:
        self.subject = subject
        self.longest = longest
        self._pair_flops: dict[str, PairFlops] = {}

    @cached_property
    def training_step(self) -> TrainingStep:
        """With the state of its optimiser, at every length the same."""
        return TrainingStep(self.subject, self.subject.build())

    @cached_property
    def decoding_model(self) -> TranslationModule:
        """Never trained."""
        return self.subject.build()

    def workload(self, phase: str, source_length: int | None, batches: list[Batch]) -> Workload:
        """What to time in a phase; `batches` are moved to the model's device.

        Raises:
            ValueError: the model cuts sentences of that length.
        """
        batches = [to_device(batch, self.subject.device) for batch in batches]
        settings = search_of(phase)
        call: TrainingStep | Decoding
        if settings is None:
            call = self.training_step
        else:
            call = Decoding(self.subject, self.decoding_model, settings)
        bounds = [bound for bound in (call.model.longest_source, call.model.longest_target) if bound is not None]
        if source_length and source_length - 1 > min(bounds, default=source_length):
            raise ValueError(f"it reads and says no more than {min(bounds)}")
        count = partial(self.pair_flops, phase.removesuffix(SINGLE))
        return Workload(self.subject, call.model, phase, source_length, batches, call, count)

    def pair_flops(self, phase: str) -> PairFlops:
        """What a sentence pair costs in a phase; counted once."""
        if phase not in self._pair_flops:
            settings = search_of(phase)
            if settings is None:
                counted = training_flops(self.training_step.model, (self.longest, self.longest))
            else:
                # unrolled a step at a time: a check at the full length could take longer than the timing
                longest = min(self.longest, 16)
                counted = decoding_flops(self.decoding_model, settings.beam_size, (longest, longest))
            self._pair_flops[phase] = counted
        return self._pair_flops[phase]


def to_device(batch: Batch, device: str) -> Batch:
    """The batch with its tensors on the device."""
    moved: dict[str, Any] = {
        name: value.to(device) for name, value in vars(batch).items() if isinstance(value, Tensor)
    }
    return replace(batch, **moved)


def batches_of_length(length: int, target_tokens: int, vocabulary_size: int) -> list[Batch]:
    """One batch of random sentences of one length on both sides, with `target_tokens` target tokens or a few
    less."""
    return [example_batch(max(1, target_tokens // length), length, length, vocabulary_size)]


def batches_of_corpus(corpus: PreparedCorpus, phase: str, target_tokens: int, count: int) -> list[Batch]:
    """Batches as long as a corpus's own sentences, the same at every call.

    Training gets batches as training plans them, in their random order. Decoding gets batches of sentences of
    the validation split, sorted by length as translation sorts them, taken at even distances from the
    shortest to the longest, and is to translate each sentence into as many tokens as its source has.

    Args:
        corpus: prepared.
        phase: as in `Workload`.
        target_tokens: in a batch, with padding, at most.
        count: batches, at most.
    """
    if phase == "train":
        split = corpus.split("train")
        plan = BatchPlan(split.source.lengths + 1, split.target.lengths + 1, target_tokens)
        return [collate(split, rows) for rows in plan.epoch(0)[:count]]
    split = corpus.split("validation")
    lengths = split.source.lengths + 1
    batches = BatchPlan(lengths, lengths, target_tokens).in_order()
    count = min(count, len(batches))
    chosen = [collate(split, batches[(2 * k + 1) * len(batches) // (2 * count)]) for k in range(count)]
    return [replace(b, target_lengths=b.source_lengths, global_tokens=int(b.source_lengths.sum())) for b in chosen]


def padding_share(batches: Sequence[Batch], phase: str) -> float:
    """The share of padding in all positions: of source and target in training, of the source in decoding."""
    real = padded = 0
    for batch in batches:
        real += int(batch.source_lengths.sum())
        padded += batch.source.numel()
        if search_of(phase) is None:
            real += int(batch.target_lengths.sum())
            padded += batch.target.numel()
    return 1 - real / padded


def by_size(batches: Sequence[Batch]) -> list[Batch]:
    """The batches, those with the most positions first."""
    order = np.argsort([-(b.source.numel() + b.target.numel()) for b in batches], kind="stable")
    return [batches[index] for index in order]
