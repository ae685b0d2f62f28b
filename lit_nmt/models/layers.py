"""Layers that several architectures share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lit_nmt.data.subwords import PAD

CHUNK_ROWS = 256
"""Rows of logits computed at once: few enough that 4,000 to 8,000 float32 columns stay in a core's cache."""


class Embedding(nn.Embedding):
    """Subword vectors of unit scale, shared by source, target and output.

    Weights are drawn with standard deviation dim^-0.5, right for the output projection, and multiplied by dim^0.5
    where they are looked up (Vaswani et al. 2017, section 3.4). Padding starts as the zero vector; no look-up trains
    it, but the output projection does, so that who reads it has to mask it.
    """

    def __init__(self, vocabulary_size: int, dim: int) -> None:
        super().__init__(vocabulary_size, dim, padding_idx=PAD)
        self.scale = math.sqrt(dim)

    def reset_parameters(self) -> None:
        """Draws the weights."""
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)
        with torch.no_grad():
            self.weight[PAD].zero_()

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (...) to vectors (..., dim)."""
        return super().forward(ids) * self.scale


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose random numbers cost little on a CPU.

    There torch draws a number an element, one after the other, which took a tenth of a training step; here one draw
    of 64 bits decides eight elements, so that rates are multiples of 1/256.

    Args:
        rate: the probability of 0.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"dropout: {rate} found, at least 0 and less than 1 expected")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Zeroes elements of `x` in training, and scales the others so that the expectation stays."""
        if not self.training or not self.rate:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.rate)
        threshold = min(255, max(1, round(self.rate * 256)))
        draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        keep = draws.view(torch.uint8)[: x.numel()].view(x.shape) >= threshold
        return x * keep.to(x.dtype).mul_(256 / (256 - threshold))


def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A linear layer drawn as by Glorot & Bengio 2010 (uniform), its bias zero: the policy of every architecture."""
    layer = nn.Linear(inputs, outputs, bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class Readout(nn.Sequential):
    """From a recurrent decoder to the state before the output projection.

    Args:
        inputs: their dimension.
        dim: of the state.
        kind: "tanh" (Luong et al. 2015, eq. 5), or "norm", a layer normalisation (Ba et al. 2016, arXiv:1607.06450)
            like the one before a Transformer's output. Bounded by tanh, a state must saturate to say anything with
            confidence through a tied embedding, and learns several times more slowly.
    """

    def __init__(self, inputs: int, dim: int, kind: Literal["norm", "tanh"]) -> None:
        super().__init__(linear(inputs, dim), nn.LayerNorm(dim) if kind == "norm" else nn.Tanh())


def padding_mask(lengths: Tensor, longest: int) -> Tensor:
    """True where there is a token, False on padding: (batch, longest)."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def smoothed_cross_entropy(logits: Tensor, target: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy with label smoothing, summed.

    Args:
        logits: (tokens, vocabulary).
        target: (tokens,).
        smoothing: the mass spread evenly over the whole vocabulary.

    Returns:
        The smoothed loss, and the unsmoothed negative log-likelihood, detached; scalars, in nats.
    """
    log_probabilities = logits.float().log_softmax(-1)
    negative_log_likelihood = -log_probabilities.gather(1, target[:, None]).sum()
    spread = -log_probabilities.sum() / logits.shape[-1]
    return (1 - smoothing) * negative_log_likelihood + smoothing * spread, negative_log_likelihood.detach()


def smoothed_cross_entropy_from_states(
    states: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """`smoothed_cross_entropy` of `states @ weight.T + bias`, without holding all logits.

    On the CPU, logits are made a chunk of rows at a time and turned into their gradient at once, while they are in
    cache.

    Args:
        states: (tokens, dim).
        weight: (vocabulary, dim).
        bias: (vocabulary,).
        target: (tokens,).
        smoothing: as in `smoothed_cross_entropy`.
    """
    if states.device.type != "cpu":
        return smoothed_cross_entropy(F.linear(states, weight, bias), target, smoothing)
    if torch.is_autocast_enabled("cpu"):
        states = states.to(torch.get_autocast_dtype("cpu"))
    return _ChunkedCrossEntropy.apply(states, weight, bias, target, smoothing)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        rows, vocabulary = len(states), weight.shape[0]
        cast_weight = weight.detach().to(states.dtype)
        wants_gradient = any(ctx.needs_input_grad[:3])
        state_gradient, weight_gradient, bias_gradient = map(torch.zeros_like, (states, weight, bias))
        negative_log_likelihood = torch.zeros((), dtype=torch.float32, device=states.device)
        log_normalisers = negative_log_likelihood.clone()
        for start in range(0, rows, CHUNK_ROWS):
            chunk = states[start : start + CHUNK_ROWS]
            chunk_target = target[start : start + CHUNK_ROWS, None]
            logits = F.linear(chunk, cast_weight).float().add_(bias)
            log_probabilities = logits.log_softmax(-1)
            gold = log_probabilities.gather(1, chunk_target)
            negative_log_likelihood -= gold.sum()
            log_normalisers += (logits.gather(1, chunk_target) - gold).sum()
            if wants_gradient:
                gradient = log_probabilities.exp_()
                gradient.scatter_add_(1, chunk_target, torch.full_like(gold, smoothing - 1))
                bias_gradient += gradient.sum(0)
                gradient = gradient.to(states.dtype)
                torch.mm(gradient, cast_weight, out=state_gradient[start : start + CHUNK_ROWS])
                if gradient.dtype == weight.dtype:
                    weight_gradient.addmm_(gradient.t(), chunk)
                else:
                    weight_gradient += gradient.t() @ chunk
        loss = (1 - smoothing) * negative_log_likelihood
        if smoothing:
            # What the smoothing spreads evenly, over all logits at once: they are linear in the states
            share = smoothing / vocabulary
            sum_of_states, sum_of_weights = states.sum(0, dtype=torch.float32), cast_weight.sum(0, dtype=torch.float32)
            sum_of_logits = sum_of_states @ sum_of_weights + rows * bias.sum()
            loss = loss + smoothing * log_normalisers - share * sum_of_logits
            state_gradient -= share * sum_of_weights
            weight_gradient -= share * sum_of_states
            bias_gradient -= share * rows
        ctx.save_for_backward(state_gradient, weight_gradient, bias_gradient)
        ctx.mark_non_differentiable(negative_log_likelihood)
        return loss, negative_log_likelihood

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss_gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return *(gradient * loss_gradient for gradient in ctx.saved_tensors), None, None


Cell = Literal["lstm", "gru", "rnn"]
RecurrentState = tuple[Tensor, ...]
"""(batch, layers, hidden dim): the hidden state and, of an LSTM, the cell."""


class Recurrence(nn.Module):
    """Layers of an LSTM (Hochreiter & Schmidhuber 1997), GRU (Cho et al. 2014) or plain RNN (Elman 1990).

    All time steps of a layer are one fused call.

    Args:
        cell: which recurrence.
        inputs: their dimension.
        hidden_dim: of the state, a direction.
        layers: stacked.
        dropout: between layers.
        bidirectional: read in both directions; outputs and states of the two stand side by side.
    """

    KINDS: ClassVar[dict[str, Callable[..., nn.RNNBase]]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}

    def __init__(
        self,
        cell: Cell,
        inputs: int,
        hidden_dim: int,
        layers: int,
        dropout: float,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.rnn = self.KINDS[cell](
            inputs, hidden_dim, layers, batch_first=True, dropout=between, bidirectional=bidirectional
        )
        self.bidirectional = bidirectional
        for name, parameter in self.rnn.named_parameters():
            if "weight_ih" in name:
                nn.init.xavier_uniform_(parameter)
            elif "weight_hh" in name:
                # orthogonal, gate by gate (Saxe et al. 2014): a product of many neither explodes nor vanishes
                for gate in parameter.data.split(hidden_dim):
                    nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(parameter)
                if cell == "lstm" and "bias_ih" in name:
                    # an open forget gate at the start (Jozefowicz et al. 2015)
                    parameter.data[hidden_dim : 2 * hidden_dim].fill_(1.0)

    def read(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, RecurrentState]:
        """Reads whole sequences, each to its own end.

        Args:
            inputs: (batch, length, inputs).
            lengths: (batch,).

        Returns:
            Outputs (batch, length, hidden dim), 0 on padding, and the last states; both twice as wide if
            bidirectional.
        """
        packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, states = self.rnn(packed)
        outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])
        return outputs, self._batch_first(states)

    def advance(self, inputs: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Goes on from a state, over (batch, length, inputs): outputs (batch, length, hidden dim) and states."""
        if inputs.shape[1] == 1 and isinstance(self.rnn, nn.LSTM) and not self.training:
            return self._step(inputs, state)
        hidden = tuple(part.transpose(0, 1).contiguous() for part in state)
        outputs, states = self.rnn(inputs, hidden if len(hidden) > 1 else hidden[0])
        return outputs, self._batch_first(states)

    def _step(self, inputs: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """`advance` of an LSTM by one position, without dropout.

        On the CPU the fused call lays all weights out anew each time, which for a few sentences takes three times as
        long as their products.

        Args:
            inputs: (batch, 1, inputs).
            state: hidden and cell states, each (batch, layers, hidden dim).
        """
        outputs, hidden, cell = inputs[:, 0], [], []
        for layer, weights in enumerate(self.rnn.all_weights):
            before = (state[0][:, layer], state[1][:, layer])
            outputs, after = torch.lstm_cell(outputs, before, *weights)
            hidden.append(outputs)
            cell.append(after)
        return outputs[:, None], (torch.stack(hidden, 1), torch.stack(cell, 1))

    def _batch_first(self, states: Tensor | tuple[Tensor, ...]) -> RecurrentState:
        parts = states if isinstance(states, tuple) else (states,)
        if self.bidirectional:
            # (layers, directions, batch, hidden) to (batch, layers, directions x hidden)
            return tuple(p.unflatten(0, (-1, 2)).permute(2, 0, 1, 3).flatten(2) for p in parts)
        return tuple(part.transpose(0, 1) for part in parts)


def reversal(lengths: Tensor, longest: int) -> Tensor:
    """The order that turns each sentence back to front, EOS staying the last (Sutskever et al. 2014, section 3.3).

    Args:
        lengths: (batch,), EOS counted.
        longest: positions with padding.

    Returns:
        (batch, longest), the position to take each from; it is its own inverse.
    """
    positions = torch.arange(longest, device=lengths.device)
    mirrored = lengths[:, None] - 2 - positions
    return torch.where(mirrored >= 0, mirrored, positions)
