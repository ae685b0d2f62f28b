"""A plain deep network from so many source words to so many target words, with which, say Sutskever et al. 2014
(arXiv:1409.3215, section 1), sequences cannot be mapped to sequences.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nmt.data.batching import Batch
from lit_nmt.data.subwords import EOS, PAD
from lit_nmt.models.layers import Dropout, Readout, linear, padding_mask, smoothed_cross_entropy
from lit_nmt.models.translation import Step, TranslationModule

CERTAIN = 20.0
"""Nats between EOS and any other word where the network has no outputs left: no search goes on, and the loss of what
cannot be said stays a number."""


class FeedForwardState(NamedTuple):
    """What the decoder knows.

    Attributes:
        outputs: (batch, longest target, position dim), the network's, of each target position.
        window: (batch, window) ids, the last target words; padding before the first.
        position: (batch,), of the next word.
    """

    outputs: Tensor
    window: Tensor
    position: Tensor


class FeedForward(TranslationModule):
    """A multilayer perceptron reads the source, all positions side by side, and has outputs for each target position.

    No recurrence, no attention, and weights of its own for every position. What is longer than it has inputs or
    outputs for is cut: of a source it reads the first words, a translation ends after `longest_target` words, and so
    much of a reference is trained on.

    Without a window a target word depends on the source alone. With one, the words before are read as in a
    feed-forward language model (Bengio et al. 2003, section 2), so that the outputs need not agree unseen.

    Args:
        vocabulary_size: joint subwords.
        dim: of embeddings and of the states before the output projection.
        hidden_dim: of the hidden layers.
        layers: hidden, of the source.
        position_dim: of the features by which a position takes in a source word and gives out a target word; each has
            weights of its own for them, so their number decides the size of the model.
        window: target words before a word that it depends on; 0: none.
        longest_source: subwords that are read, EOS not counted.
        longest_target: subwords that can be said, EOS not counted.
        dropout: on embeddings and hidden layers.
        options: of `TranslationModule`: label smoothing, learning rate, schedule.
    """

    longest_source: int
    longest_target: int
    last_word: Tensor
    title: ClassVar[str] = "Feed-forward"
    paper: ClassVar[str] = "Bengio et al. 2003, JMLR 3:1137-1155"

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 256,
        hidden_dim: int = 512,
        layers: int = 2,
        position_dim: int = 32,
        window: int = 0,
        longest_source: int = 64,
        longest_target: int = 64,
        dropout: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(vocabulary_size, dim, dropout, **options)
        for name, found, least in (
            ("layers", layers, 1),
            ("window", window, 0),
            ("longest_source", longest_source, 1),
            ("longest_target", longest_target, 1),
        ):
            if found < least:
                raise ValueError(f"{name}: {found} found, at least {least} expected")
        self.longest_source, self.longest_target = longest_source, longest_target
        self.window = window
        self.autoregressive = window > 0
        self.features = linear(dim, position_dim, bias=False)
        self.encoder = nn.Sequential(
            hidden(longest_source * position_dim, hidden_dim, dropout),
            *(hidden(hidden_dim, hidden_dim, dropout) for _ in range(layers - 1)),
            linear(hidden_dim, longest_target * position_dim),
        )
        self.decoder = nn.Sequential(
            hidden(position_dim + window * dim, hidden_dim, dropout), Readout(hidden_dim, dim, "norm")
        )
        last_word = torch.zeros(vocabulary_size)
        last_word[EOS] = CERTAIN
        self.register_buffer("last_word", last_word, persistent=False)

    def encode(self, source: Tensor, source_lengths: Tensor) -> FeedForwardState:
        inputs = self.features(self.embed(source[:, : self.longest_source]))
        # where there is no word the input is 0; the vector of padding is not, since it is the output's as well
        inputs = inputs * padding_mask(source_lengths, inputs.shape[1])[..., None]
        inputs = F.pad(inputs, (0, 0, 0, self.longest_source - inputs.shape[1]))
        outputs = self.encoder(inputs.flatten(1)).unflatten(1, (self.longest_target, -1))
        nothing = source.new_full((len(source), self.window), PAD)
        return FeedForwardState(outputs, nothing, torch.zeros_like(source_lengths))

    def step(self, previous: Tensor, state: FeedForwardState) -> Step:
        window = torch.cat([state.window, previous[:, None]], 1)[:, 1:]
        at = state.position.clamp(max=self.longest_target - 1)
        rows = torch.arange(len(at), device=at.device)
        logits = self.project(self.decode(state.outputs[rows, at, None], window)[:, 0])
        has_output = state.position < self.longest_target
        logits = torch.where(has_output[:, None], logits, self.last_word.to(logits.dtype))
        return Step(logits, FeedForwardState(state.outputs, window, state.position + 1))

    def decoder_states(self, batch: Batch) -> Tensor:
        """States (batch, target length, dim), of the first `longest_target` words where there are more."""
        length = min(batch.previous.shape[1], self.longest_target)
        outputs = self.encode(batch.source, batch.source_lengths).outputs[:, :length]
        before = F.pad(batch.previous[:, :length], (self.window - 1, 0), value=PAD)
        return self.decode(outputs, before)

    def decode(self, outputs: Tensor, before: Tensor) -> Tensor:
        """States before the output projection.

        Args:
            outputs: (batch, length, position dim), the network's.
            before: (batch, length + window - 1) ids, the words before each of these positions.
        """
        windows = self.embed(before).unfold(1, self.window, 1)  # (batch, length, dim, window)
        return self.decoder(torch.cat([outputs, windows.transpose(2, 3).flatten(2)], -1))

    def forward(self, batch: Batch) -> Tensor:
        logits = super().forward(batch)
        beyond = max(0, batch.target.shape[1] - self.longest_target)
        return torch.cat([logits, self.last_word.to(logits.dtype).expand(len(logits), beyond, -1)], 1)

    def losses(self, batch: Batch, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        length = self.longest_target
        spoken = replace(batch, previous=batch.previous[:, :length], target=batch.target[:, :length])
        unspoken = batch.target[:, length:]
        unspoken = unspoken[unspoken != PAD]
        loss, negative_log_likelihood = super().losses(spoken, label_smoothing)
        # a constant, since there is nothing to learn: it only says what was left out
        fixed = smoothed_cross_entropy(self.last_word.expand(len(unspoken), -1), unspoken, label_smoothing)
        return loss + fixed[0], negative_log_likelihood + fixed[1]


def hidden(inputs: int, outputs: int, dropout: float) -> nn.Module:
    """A hidden layer of rectified linear units (Glorot et al. 2011)."""
    return nn.Sequential(linear(inputs, outputs), nn.ReLU(), Dropout(dropout))
