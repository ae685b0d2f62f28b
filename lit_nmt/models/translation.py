"""The protocol that every architecture fulfils, and what all of them share: loss, optimiser, schedule.

An architecture is a subclass with two methods: `encode` reads the source, `step` says one target token. That is
enough to train, decode, be measured and appear in every report. For speed it may override `decoder_states` (or the
whole `forward`); a conformance test proves the fast way equal to the slow one.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from lit_nmt.data.batching import Batch
from lit_nmt.data.prepared import EncodedSplit
from lit_nmt.data.subwords import EOS, PAD
from lit_nmt.models.layers import (
    Dropout,
    Embedding,
    smoothed_cross_entropy,
    smoothed_cross_entropy_from_states,
)

State = Any
"""What a decoder remembers: any nest of tuples, lists, dicts or dataclasses of tensors, batch first."""


class Step(NamedTuple):
    """One step of a decoder.

    Attributes:
        logits: (batch, vocabulary).
        state: for the next step.
        attention: (batch, source length), rows sum to 1 and are 0 on padding; None where there is no attention.
    """

    logits: Tensor
    state: State
    attention: Tensor | None = None


def tree_map(function: Callable[[Tensor], Tensor], tree: State) -> State:
    """The same nest with `function` applied to each of its tensors."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return {key: tree_map(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(tree_map(function, value) for value in tree))
    if isinstance(tree, tuple | list):
        return type(tree)(tree_map(function, value) for value in tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        fields = {f.name: tree_map(function, getattr(tree, f.name)) for f in dataclasses.fields(tree)}
        return dataclasses.replace(tree, **fields)
    return tree


class TranslationModule(pl.LightningModule, ABC):
    """Maps source ids to target logits: teacher-forced in `forward`, a token at a time in `step`.

    Args:
        vocabulary_size: joint subwords, shared by source embedding, target embedding and output projection
            (Press & Wolf 2017, arXiv:1608.05859).
        dim: of embeddings and of the states before the output projection.
        dropout: on embeddings and between layers.
        label_smoothing: mass spread over the vocabulary in the training loss (Szegedy et al. 2016).
        initial_range: weights are drawn evenly between its negative and itself; 0: each layer's own way.
        optimiser: "adamw", or "sgd" without momentum.
        learning_rate: peak, after the warm-up.
        warmup_steps: of linear increase from 0.
        schedule: what follows the warm-up: proportional to step^-0.5 (Vaswani et al. 2017, eq. 3); linear to 0 at
            the end of the training; or constant for two thirds of it, then halved again and again (Sutskever et al.
            2014, section 3.4).
        halvings: of the last third, in the schedule "halving".
        weight_decay: decoupled (Loshchilov & Hutter 2019).
        betas: of Adam.
    """

    title: ClassVar[str]
    """The architecture's name, as printed in reports."""
    paper: ClassVar[str]
    """Its source, as in "Bahdanau et al. 2015, arXiv:1409.0473"."""
    autoregressive: bool = True
    """Whether a target word depends on those before it."""
    longest_source: int | None = None
    """Subwords of a source that are read, EOS not counted; the rest of a longer one is cut. None: all of them."""
    longest_target: int | None = None
    """Subwords of a translation that can be said, EOS not counted; the same."""

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 256,
        dropout: float = 0.1,
        label_smoothing: float = 0.1,
        initial_range: float = 0.0,
        optimiser: Literal["adamw", "sgd"] = "adamw",
        learning_rate: float = 1e-3,
        warmup_steps: int = 400,
        schedule: Literal["inverse-square-root", "linear", "halving"] = "inverse-square-root",
        halvings: int = 5,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        super().__init__()
        for name, value, fits, expected in (
            ("vocabulary_size", vocabulary_size, vocabulary_size > EOS, f"more than the {EOS + 1} special ones"),
            ("dim", dim, dim >= 1, "at least 1"),
            ("label_smoothing", label_smoothing, 0 <= label_smoothing < 1, "at least 0 and less than 1"),
            ("initial_range", initial_range, 0 <= initial_range < math.inf, "at least 0"),
            ("learning_rate", learning_rate, 0 < learning_rate < math.inf, "more than 0"),
            ("warmup_steps", warmup_steps, warmup_steps >= 0, "at least 0"),
            ("halvings", halvings, halvings >= 0, "at least 0"),
            ("weight_decay", weight_decay, 0 <= weight_decay < math.inf, "at least 0"),
            ("betas", betas, all(0 <= beta < 1 for beta in betas), "at least 0 and less than 1"),
        ):
            if not fits:
                raise ValueError(f"{name}: {value} found, {expected} expected")
        self.vocabulary_size = vocabulary_size
        self.label_smoothing = label_smoothing
        self.initial_range = initial_range
        self.optimiser = optimiser
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.schedule = schedule
        self.halvings = halvings
        self.weight_decay = weight_decay
        self.betas = (betas[0], betas[1])
        self.embedding = Embedding(vocabulary_size, dim)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.dropout = Dropout(dropout)

    @abstractmethod
    def encode(self, source: Tensor, source_lengths: Tensor) -> State:
        """Reads the source.

        Args:
            source: (batch, source length) subword ids, EOS at the end, then padding.
            source_lengths: (batch,), EOS counted.

        Returns:
            The decoder's state before its first step.
        """

    @abstractmethod
    def step(self, previous: Tensor, state: State) -> Step:
        """Says one target token.

        Args:
            previous: (batch,) ids of the tokens before, BOS at first.
            state: from `encode` or from the step before.
        """

    def decoder_states(self, batch: Batch) -> Tensor | None:
        """All states before the output projection in one pass, (batch, target length, dim), teacher-forced.

        None where an architecture has no faster way than `step`. With it, the loss need never hold the logits of a
        whole batch.
        """
        return None

    def forward(self, batch: Batch) -> Tensor:
        """Teacher-forced logits (batch, target length, vocabulary)."""
        states = self.decoder_states(batch)
        if states is not None:
            return self.project(states)
        state = self.encode(batch.source, batch.source_lengths)
        logits = []
        for previous in batch.previous.unbind(1):
            step = self.step(previous, state)
            logits.append(step.logits)
            state = step.state
        return torch.stack(logits, 1)

    def count_cut(self, split: EncodedSplit) -> dict[str, int]:
        """How many sentences a split has, and how many sources and targets of it are cut; empty if none is."""
        bounds = {"sources": (split.source, self.longest_source), "targets": (split.target, self.longest_target)}
        cut = {side: int((rows.lengths > (longest or math.inf)).sum()) for side, (rows, longest) in bounds.items()}
        return {"sentences": len(split), **cut} if any(cut.values()) else {}

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings with dropout, (..., dim)."""
        return self.dropout(self.embedding(ids))

    def project(self, states: Tensor) -> Tensor:
        """States (..., dim) to logits (..., vocabulary), by the transposed embedding."""
        return nn.functional.linear(states, self.embedding.weight, self.output_bias)

    def losses(self, batch: Batch, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """The batch's summed loss, smoothed and not.

        Returns:
            The smoothed cross-entropy, to minimise, and the negative log-likelihood in nats, detached: both scalars,
            summed over the target tokens without padding.
        """
        real = batch.target != PAD
        states = self.decoder_states(batch)
        if states is None:
            return smoothed_cross_entropy(self(batch)[real], batch.target[real], label_smoothing)
        return smoothed_cross_entropy_from_states(
            states[real], self.embedding.weight, self.output_bias, batch.target[real], label_smoothing
        )

    def configure_model(self) -> None:
        """Draws the initial weights; under `fully_shard`, spreads them over the ranks.

        So are gradients and the optimiser's state; a rank has all weights while it trains or validates on a batch.
        """
        if self.trainer.state.fn == "fit":
            self.draw_initial_weights()
        if self.device_mesh is not None and not isinstance(self, FSDPModule):
            fully_shard(self, mesh=init_device_mesh(self.device_mesh.device_type, (self.trainer.world_size,)))
            register_fsdp_forward_method(self, "training_step")

    def on_validation_start(self) -> None:
        """Gathers the weights: ranks take different numbers of steps to translate, and none waits for another."""
        if isinstance(self, FSDPModule):
            self.unshard()

    def on_validation_end(self) -> None:
        """Lets go of the other ranks' weights."""
        if isinstance(self, FSDPModule):
            self.reshard()

    def on_fit_start(self) -> None:
        """Starts the count of the target tokens whose gradients the next optimiser step applies."""
        self._step_tokens = 0

    def draw_initial_weights(self) -> None:
        """Draws all weights from `initial_range`, where there is one; the layers have drawn theirs."""
        if self.initial_range:
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -self.initial_range, self.initial_range)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The summed loss; `on_before_optimizer_step` divides its gradient by the tokens of the global batch."""
        loss, negative_log_likelihood = self.losses(batch, self.label_smoothing)
        self._step_tokens += batch.global_tokens
        self.log("train_loss", negative_log_likelihood * (self.trainer.world_size / batch.global_tokens))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Makes the gradient that of the mean loss a token of one large batch.

        Lightning has divided by the accumulated batches and DDP by the ranks; undone here.
        """
        scale = self.trainer.world_size * self.trainer.accumulate_grad_batches / self._step_tokens
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, scale)
        self._step_tokens = 0

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Adds the batch to `validation_loss`: unsmoothed negative log-likelihood in nats a token."""
        _, negative_log_likelihood = self.losses(batch)
        tokens = batch.global_tokens
        mean = negative_log_likelihood * (1 / max(1, tokens))
        # times the ranks, since Lightning takes the mean over them of counts that stay whole numbers
        self.log("validation_loss", mean, batch_size=tokens * self.trainer.world_size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """The optimiser, and the schedule as a value a step."""
        optimiser: torch.optim.Optimizer
        if self.optimiser == "sgd":
            optimiser = torch.optim.SGD(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        else:
            optimiser = torch.optim.AdamW(
                self.parameters(),
                lr=self.learning_rate,
                betas=self.betas,
                weight_decay=self.weight_decay,
                # a fused optimiser unscales gradients itself, when they are clipped already
                fused=self.trainer.precision != "16-mixed",
            )
        needs_total = self.schedule != "inverse-square-root"
        total = self.trainer.estimated_stepping_batches if needs_total else math.inf
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: self.learning_rate_factor(step, total))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def learning_rate_factor(self, step: int, total_steps: float) -> float:
        """The share of the peak learning rate at a step (counted from 0) of `total_steps`."""
        step += 1
        if step < self.warmup_steps:
            return step / self.warmup_steps
        if self.schedule == "linear":
            return max(0.0, (total_steps + 1 - step) / max(1.0, total_steps + 1 - self.warmup_steps))
        if self.schedule == "halving":
            into_last_third = max(0.0, 3 * step / total_steps - 2)
            return 0.5 ** math.ceil(min(1.0, into_last_third) * self.halvings)
        return (max(1, self.warmup_steps) / step) ** 0.5

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the gradient's norm (Pascanu et al. 2013); Lightning's own refuses a fused optimiser in bf16-mixed."""
        if gradient_clip_val:
            nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val, foreach=True)
