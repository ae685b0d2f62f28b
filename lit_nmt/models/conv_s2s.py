"""Convolutional sequence to sequence learning (Gehring et al. 2017, arXiv:1705.03122)."""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from lit_nmt.data.batching import Batch
from lit_nmt.models.layers import Dropout, padding_mask
from lit_nmt.models.translation import Step, TranslationModule

HALF = math.sqrt(0.5)
"""A sum of two terms times this keeps their variance (section 3.5)."""


class Memory(NamedTuple):
    """What the encoder made of the source.

    Attributes:
        keys: (batch, source length, dim), the states that queries are compared with.
        values: (batch, source length, dim), states and embeddings together.
        mask: (batch, source length), True on tokens.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor


class ConvS2SState(NamedTuple):
    """The source, the inputs of each layer that its next window sees, and the position (batch,) of the next word."""

    memory: Memory
    windows: tuple[Tensor, ...]
    position: Tensor


class ConvS2S(TranslationModule):
    """Gated convolutions read the source and write the target; each layer of the decoder looks at the source.

    Args:
        vocabulary_size: joint subwords.
        dim: of embeddings, of attention, and of the states before the output projection.
        hidden_dim: of the convolutions.
        encoder_layers: of convolution.
        decoder_layers: of causal convolution and attention.
        kernel: words in a window, odd.
        max_positions: rows of the tables of positions; longer sentences reuse the last.
        dropout: on embeddings, on the input of each convolution, and on the decoder's output.
        options: of `TranslationModule`: label smoothing, learning rate, schedule.
    """

    title: ClassVar[str] = "ConvS2S"
    paper: ClassVar[str] = "Gehring et al. 2017, arXiv:1705.03122"

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 256,
        hidden_dim: int = 256,
        encoder_layers: int = 4,
        decoder_layers: int = 3,
        kernel: int = 3,
        max_positions: int = 1024,
        dropout: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(vocabulary_size, dim, dropout, **options)
        if kernel % 2 == 0:
            raise ValueError(f"kernel: {kernel} is even, an odd number of words expected")
        self.source_positions = nn.Embedding(max_positions, dim)
        self.target_positions = nn.Embedding(max_positions, dim)
        for table in (self.source_positions, self.target_positions):
            nn.init.normal_(table.weight)  # of the words' own scale
        self.encoder_in, self.encoder_out = mapping(dim, hidden_dim), mapping(hidden_dim, dim)
        self.encoder = nn.ModuleList(GatedConvolution(hidden_dim, kernel, dropout) for _ in range(encoder_layers))
        self.decoder_in, self.decoder_out = mapping(dim, hidden_dim), mapping(hidden_dim, dim)
        self.decoder = nn.ModuleList(DecoderLayer(dim, hidden_dim, kernel, dropout) for _ in range(decoder_layers))
        self.around = kernel // 2
        self.before = kernel - 1

    def place(self, ids: Tensor, table: nn.Embedding, positions: Tensor) -> Tensor:
        """Embeddings with their positions: (batch, length) ids to (batch, length, dim)."""
        at = positions.clamp(max=table.num_embeddings - 1)
        return self.dropout(self.embedding(ids) + table(at))

    def encode(self, source: Tensor, source_lengths: Tensor) -> ConvS2SState:
        mask = padding_mask(source_lengths, source.shape[1])
        embedded = self.place(source, self.source_positions, torch.arange(source.shape[1], device=source.device))
        x = self.encoder_in(embedded)
        for convolution in self.encoder:
            # beyond its end a sentence is 0, whatever stands beside it in the batch
            padded = F.pad(x * mask[:, :, None], (0, 0, self.around, self.around))
            x = (x + convolution(padded)) * HALF
        keys = self.encoder_out(x)
        # each layer of the decoder sends a gradient back (section 3.5)
        share = 1 / len(self.decoder)
        keys = keys * share + keys.detach() * (1 - share)
        memory = Memory(keys, (keys + embedded) * HALF, mask)
        empty = x.new_zeros(len(source), self.before, x.shape[-1])
        return ConvS2SState(memory, (empty,) * len(self.decoder), torch.zeros_like(source_lengths))

    def step(self, previous: Tensor, state: ConvS2SState) -> Step:
        embedded = self.place(previous[:, None], self.target_positions, state.position[:, None])
        x = self.decoder_in(embedded)
        windows, attention = [], torch.zeros_like(state.memory.mask, dtype=x.dtype)
        for layer, window in zip(self.decoder, state.windows, strict=True):
            seen = torch.cat([window, x], 1)
            x, weights = layer(x, seen, embedded, state.memory)
            windows.append(seen[:, 1:])
            attention = attention + weights[:, 0] / len(self.decoder)
        logits = self.project(self.dropout(self.decoder_out(x))[:, 0])
        return Step(logits, ConvS2SState(state.memory, tuple(windows), state.position + 1), attention)

    def decoder_states(self, batch: Batch) -> Tensor:
        memory = self.encode(batch.source, batch.source_lengths).memory
        positions = torch.arange(batch.previous.shape[1], device=batch.previous.device)
        embedded = self.place(batch.previous, self.target_positions, positions)
        x = self.decoder_in(embedded)
        for layer in self.decoder:
            x, _ = layer(x, F.pad(x, (0, 0, self.before, 0)), embedded, memory)
        return self.dropout(self.decoder_out(x))


def mapping(inputs: int, outputs: int) -> nn.Module:
    """A linear layer that keeps the variance of its inputs, with normalised weights (section 3.5)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    nn.init.zeros_(layer.bias)
    return weight_norm(layer)


class GatedConvolution(nn.Module):
    """A convolution over words, half of whose outputs gate the other half (section 3.2).

    Args:
        dim: of inputs and outputs.
        kernel: words in a window.
        dropout: on its inputs.
    """

    def __init__(self, dim: int, kernel: int, dropout: float) -> None:
        super().__init__()
        convolution = nn.Conv1d(dim, 2 * dim, kernel)
        # the gate halves the outputs, so the variance before it is four times that of the inputs (section 3.5)
        nn.init.normal_(convolution.weight, std=math.sqrt(4 * (1 - dropout) / (kernel * dim)))
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)
        self.convolution = weight_norm(convolution)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Every window of `x` (batch, length + kernel - 1, dim) to (batch, length, dim)."""
        return F.glu(self.convolution(self.dropout(x).transpose(1, 2)), 1).transpose(1, 2)


class DecoderLayer(nn.Module):
    """A causal gated convolution and a look at the source from each of its outputs (section 3.3)."""

    def __init__(self, dim: int, hidden_dim: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.convolution = GatedConvolution(hidden_dim, kernel, dropout)
        self.query = mapping(hidden_dim, dim)
        self.context = mapping(dim, hidden_dim)

    def forward(self, x: Tensor, windows: Tensor, embedded: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """One layer.

        Args:
            x: (batch, length, hidden dim), its inputs.
            windows: (batch, kernel - 1 + length, hidden dim), the inputs and those before them.
            embedded: (batch, length, dim), the embeddings of the target words.
            memory: the source.

        Returns:
            Outputs like `x`, and attention weights (batch, length, source length).
        """
        h = self.convolution(windows)
        query = (self.query(h) + embedded) * HALF
        scores = query @ memory.keys.transpose(1, 2)
        weights = scores.masked_fill(~memory.mask[:, None], -math.inf).softmax(-1)
        # a mean of m values has 1/m of their variance if attention is even (section 3.5)
        lengths = memory.mask.sum(1)[:, None, None].to(x.dtype)
        context = self.context(weights @ memory.values * lengths.sqrt())
        return ((h + context) * HALF + x) * HALF, weights
