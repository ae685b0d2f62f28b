"""Sequence to sequence through one fixed vector (Sutskever et al. 2014, arXiv:1409.3215; Cho et al. 2014)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from lit_nmt.data.batching import Batch
from lit_nmt.models.layers import Cell, Readout, Recurrence, RecurrentState, reversal
from lit_nmt.models.translation import Step, TranslationModule


class Seq2SeqState(NamedTuple):
    """The decoder's recurrent state and the source vector (batch, dims; empty unless the context is kept in sight)."""

    recurrent: RecurrentState
    context: Tensor


class Seq2Seq(TranslationModule):
    """An encoder's last state is all that the decoder ever learns of the source. No attention of any kind.

    Args:
        vocabulary_size: joint subwords.
        dim: of embeddings and of the states before the output projection.
        hidden_dim: of the decoder's recurrence; the encoder's has the same in all directions together.
        layers: of encoder and decoder.
        cell: "lstm" (Sutskever), "gru" (Cho) or "rnn".
        bidirectional: read the source in both directions.
        reverse_source: read it back to front (Sutskever et al. 2014, section 3.3).
        context_every_step: feed the source vector to every step of decoder and output (Cho et al. 2014,
            arXiv:1406.1078, eqs. 6 and 7), not to the first state alone.
        readout: of the state before the output, see `Readout`.
        dropout: on embeddings and on the outputs of each recurrence.
        options: of `TranslationModule`: label smoothing, learning rate, schedule.
    """

    title: ClassVar[str] = "Seq2seq"
    paper: ClassVar[str] = "Sutskever et al. 2014, arXiv:1409.3215"

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 256,
        hidden_dim: int = 512,
        layers: int = 1,
        cell: Cell = "lstm",
        bidirectional: bool = False,
        reverse_source: bool = False,
        context_every_step: bool = False,
        readout: Literal["norm", "tanh"] = "norm",
        dropout: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(vocabulary_size, dim, dropout, **options)
        self.reverse_source = reverse_source
        self.context_every_step = context_every_step
        width = hidden_dim // 2 if bidirectional else hidden_dim
        self.encoder = Recurrence(cell, dim, width, layers, dropout, bidirectional)
        context = hidden_dim if context_every_step else 0
        self.decoder = Recurrence(cell, dim + context, hidden_dim, layers, dropout)
        self.readout = Readout(hidden_dim + context, dim, readout)

    def encode(self, source: Tensor, source_lengths: Tensor) -> Seq2SeqState:
        if self.reverse_source:
            source = source.gather(1, reversal(source_lengths, source.shape[1]))
        _, last = self.encoder.read(self.embed(source), source_lengths)
        top = last[0][:, -1]
        return Seq2SeqState(last, top if self.context_every_step else top[:, :0])

    def step(self, previous: Tensor, state: Seq2SeqState) -> Step:
        states, recurrent = self.decode(previous[:, None], state)
        return Step(self.project(states[:, 0]), Seq2SeqState(recurrent, state.context))

    def decoder_states(self, batch: Batch) -> Tensor:
        return self.decode(batch.previous, self.encode(batch.source, batch.source_lengths))[0]

    def decode(self, previous: Tensor, state: Seq2SeqState) -> tuple[Tensor, RecurrentState]:
        """States before the output projection (batch, target length, dim) for tokens (batch, target length)."""
        context = state.context[:, None].expand(-1, previous.shape[1], -1)
        outputs, recurrent = self.decoder.advance(torch.cat([self.embed(previous), context], -1), state.recurrent)
        return self.readout(torch.cat([self.dropout(outputs), context], -1)), recurrent
