"""Sequence to sequence with attention (Bahdanau et al. 2015, arXiv:1409.0473; Luong et al. 2015, arXiv:1508.04025)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from lit_nmt.data.batching import Batch
from lit_nmt.models.layers import Cell, Readout, Recurrence, RecurrentState, linear, padding_mask, reversal
from lit_nmt.models.translation import Step, TranslationModule

Score = Literal["additive", "general", "dot"]


class AttentionState(NamedTuple):
    """What the decoder remembers.

    Attributes:
        recurrent: its recurrent state.
        upper: that of the layer above attention; the encoder's last where there is none.
        fed: (batch, dim), the last state before the output; empty without input feeding.
        memory: (batch, source length, hidden dim), the annotations of the source.
        keys: (batch, source length, dims), what queries are compared with.
        source_mask: (batch, source length), True on tokens.
        order: (batch, source length), the place in the memory of each source position.
    """

    recurrent: RecurrentState
    upper: RecurrentState
    fed: Tensor
    memory: Tensor
    keys: Tensor
    source_mask: Tensor
    order: Tensor


class AttentionSeq2Seq(TranslationModule):
    """A bidirectional encoder annotates each source word; every step of the decoder looks at all of them.

    By default the decoder's recurrence does not depend on what attention found (Luong et al. 2015 without input
    feeding), so it is one fused call and attention serves all steps at once. With `input_feeding` the state before
    the output enters the next step (Luong et al. 2015, section 3.3), as the context does in Bahdanau et al. 2015.

    Args:
        vocabulary_size: joint subwords.
        dim: of embeddings and of the states before the output projection.
        hidden_dim: of the decoder; the encoder's has half of it a direction.
        layers: of encoder and decoder.
        cell: "lstm", "gru" (Bahdanau) or "rnn".
        bidirectional: read the source in both directions.
        reverse_source: read it back to front (Luong et al. 2015, section 4.1).
        score: "additive" (Bahdanau et al. 2015, section A.1.2), or Luong et al. 2015's "general" or "dot" (eq. 8).
        attention_dim: of the additive score's hidden layer.
        input_feeding: attention's result enters the next step of the recurrence.
        upper_layer: a second recurrence of the decoder reads what attention found, as the upper layers of Wu et al.
            2016 do (arXiv:1609.08144, section 3): so the decoder knows what it has looked at, and all is still fused.
        readout: of the state before the output, see `Readout`.
        dropout: on embeddings and on the outputs of each recurrence.
        options: of `TranslationModule`: label smoothing, learning rate, schedule.
    """

    title: ClassVar[str] = "Attention seq2seq"
    paper: ClassVar[str] = "Bahdanau et al. 2015, arXiv:1409.0473"

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 256,
        hidden_dim: int = 512,
        layers: int = 1,
        cell: Cell = "lstm",
        bidirectional: bool = True,
        reverse_source: bool = False,
        score: Score = "additive",
        attention_dim: int = 256,
        input_feeding: bool = False,
        upper_layer: bool = False,
        readout: Literal["norm", "tanh"] = "norm",
        dropout: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(vocabulary_size, dim, dropout, **options)
        self.reverse_source = reverse_source
        self.input_feeding = input_feeding
        width = hidden_dim // 2 if bidirectional else hidden_dim
        self.encoder = Recurrence(cell, dim, width, layers, dropout, bidirectional)
        self.decoder = Recurrence(cell, 2 * dim if input_feeding else dim, hidden_dim, layers, dropout)
        self.attention: AttentionScore = SCORES[score](hidden_dim, attention_dim)
        self.upper_layer = Recurrence(cell, 2 * hidden_dim, hidden_dim, 1, dropout) if upper_layer else None
        self.readout = Readout(2 * hidden_dim, dim, readout)

    def encode(self, source: Tensor, source_lengths: Tensor) -> AttentionState:
        order = torch.arange(source.shape[1], device=source.device).expand_as(source)
        if self.reverse_source:
            order = reversal(source_lengths, source.shape[1])
            source = source.gather(1, order)
        memory, last = self.encoder.read(self.embed(source), source_lengths)
        memory = self.dropout(memory)
        fed = memory.new_zeros(len(source), self.embedding.embedding_dim if self.input_feeding else 0)
        mask = padding_mask(source_lengths, source.shape[1])
        upper = tuple(part[:, -1:] for part in last)
        return AttentionState(last, upper, fed, memory, self.attention.keys(memory), mask, order)

    def step(self, previous: Tensor, state: AttentionState) -> Step:
        inputs = torch.cat([self.embed(previous), state.fed], -1)[:, None]
        outputs, recurrent = self.decoder.advance(inputs, state.recurrent)
        states, state, weights = self.attend(outputs, state)
        fed = states[:, 0] if self.input_feeding else state.fed
        attention = weights[:, 0].gather(1, state.order)
        return Step(self.project(states[:, 0]), state._replace(recurrent=recurrent, fed=fed), attention)

    def decoder_states(self, batch: Batch) -> Tensor:
        state = self.encode(batch.source, batch.source_lengths)
        embedded = self.embed(batch.previous)
        if not self.input_feeding:
            outputs, _ = self.decoder.advance(embedded, state.recurrent)
            return self.attend(outputs, state)[0]
        recurrent, fed = state.recurrent, state.fed
        all_states = []
        for inputs in embedded.unbind(1):
            outputs, recurrent = self.decoder.advance(torch.cat([inputs, fed], -1)[:, None], recurrent)
            states, state, _ = self.attend(outputs, state)
            fed = states[:, 0]
            all_states.append(states)
        return torch.cat(all_states, 1)

    def attend(self, outputs: Tensor, state: AttentionState) -> tuple[Tensor, AttentionState, Tensor]:
        """Looks at the source from each of the decoder's outputs.

        Args:
            outputs: (batch, target length, hidden dim).
            state: for memory, keys and mask, and the state of the layer above.

        Returns:
            States before the output projection (batch, target length, dim), the state
            with that of the layer above, and the weights (batch, target length, source length).
        """
        outputs = self.dropout(outputs)
        scores = self.attention(outputs, state.keys)
        weights = scores.masked_fill(~state.source_mask[:, None], -math.inf).softmax(-1)
        context = weights @ state.memory
        if self.upper_layer is not None:
            outputs, upper = self.upper_layer.advance(torch.cat([context, outputs], -1), state.upper)
            outputs, state = self.dropout(outputs), state._replace(upper=upper)
        both = torch.cat([context, outputs], -1)
        return self.readout(both), state, weights


class AttentionScore(nn.Module, ABC):
    """How well a query and a key match."""

    @abstractmethod
    def keys(self, memory: Tensor) -> Tensor:
        """What queries are compared with, (batch, source length, dims), from (batch, source length, hidden dim)."""

    @abstractmethod
    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Scores (batch, target length, source length) of queries (batch, target length, hidden dim)."""


class DotScore(AttentionScore):
    """query . key."""

    def __init__(self, hidden_dim: int, attention_dim: int) -> None:
        super().__init__()

    def keys(self, memory: Tensor) -> Tensor:
        return memory

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        return queries @ keys.transpose(1, 2)


class GeneralScore(DotScore):
    """query . W key."""

    def __init__(self, hidden_dim: int, attention_dim: int) -> None:
        super().__init__(hidden_dim, attention_dim)
        self.key = linear(hidden_dim, hidden_dim, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        return self.key(memory)


class AdditiveScore(AttentionScore):
    """v . tanh(W query + U key)."""

    def __init__(self, hidden_dim: int, attention_dim: int) -> None:
        super().__init__()
        self.query = linear(hidden_dim, attention_dim, bias=False)
        self.key = linear(hidden_dim, attention_dim)
        self.weight = linear(attention_dim, 1, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        return self.key(memory)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        return self.weight(torch.tanh(self.query(queries)[:, :, None] + keys[:, None])).squeeze(-1)


SCORES: dict[str, type[AttentionScore]] = {"additive": AdditiveScore, "general": GeneralScore, "dot": DotScore}
