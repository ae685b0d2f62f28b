"""Floating-point operations of a model, counted for one sentence at a time: without padding, without
recomputation.

`torch.utils.flop_counter` sees matrix products; closed forms here add what it misses: recurrences that run as
one fused call, attention as one call on the CPU, and products of a matrix and a vector. Element-wise work is
not counted, as is the custom. What a sentence pair costs is counted for a few small pairs and, being a
polynomial in the two lengths for every layer in use (recurrences are linear, attention is quadratic), solved
for; the polynomial is checked before it is believed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from lit_nmt.data.batching import Batch
from lit_nmt.data.subwords import BOS, EOS
from lit_nmt.models.translation import TranslationModule

Shape = tuple[int, ...]

BACKWARD = 2
"""Products a backward pass computes for each of the forward's: the gradients of its two operands."""

_PAIRS = [(3, 2), (7, 2), (3, 6), (11, 2), (3, 9), (7, 6)]
"""Source and target lengths that determine a polynomial of degree two in both."""


def recurrence_flops(positions: int, matrices: list[Shape]) -> int:
    """The closed form for a recurrent layer: each weight matrix multiplies one vector at each position.

    Args:
        positions: tokens that pass through the layer, padding aside, over all sentences.
        matrices: (rows, columns) of the weights of all its directions, input and recurrent; gates stacked in
            rows.
    """
    return 2 * positions * sum(rows * columns for rows, columns in matrices)


def _mkldnn_rnn(inputs: Shape, input_weight: Shape, hidden_weight: Shape, *_: Any, **__: Any) -> int:
    """One direction of one layer on the CPU; `inputs` is (time, batch, features)."""
    return recurrence_flops(inputs[0] * inputs[1], [input_weight, hidden_weight])


def _mkldnn_rnn_backward(*arguments: Any, **named: Any) -> int:
    return BACKWARD * _mkldnn_rnn(*arguments, **named)


def _cudnn_rnn(inputs: Shape, weights: list[Shape], *_: Any, **__: Any) -> int:
    """All layers and directions on CUDA; `inputs` is packed, (tokens, features), or has batch and time
    apart."""
    positions = int(np.prod(inputs[:-1]))
    return recurrence_flops(positions, [(w[0], w[1]) for w in weights if len(w) == 2])


def _cudnn_rnn_backward(*arguments: Any, **named: Any) -> int:
    return BACKWARD * _cudnn_rnn(*arguments, **named)


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(_gradient: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return BACKWARD * sdpa_flop_count(query, key, value)


def _matrix_vector(matrix: Shape, *_: Any, **__: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _added_matrix_vector(_bias: Shape, matrix: Shape, *_: Any, **__: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _closed_forms() -> dict[Any, Callable[..., int]]:
    aten = torch.ops.aten
    return {
        aten.mkldnn_rnn_layer: _mkldnn_rnn,
        aten.mkldnn_rnn_layer_backward: _mkldnn_rnn_backward,
        aten._cudnn_rnn: _cudnn_rnn,
        aten._cudnn_rnn_backward: _cudnn_rnn_backward,
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        aten.mv: _matrix_vector,
        aten.addmv: _added_matrix_vector,
    }


def count_flops(function: Callable[[], object]) -> int:
    """The floating-point operations of the matrix products that `function` executes (a product-and-sum is
    two)."""
    counter = FlopCounterMode(display=False, custom_mapping=_closed_forms())
    with counter:
        function()
    return int(counter.get_total_flops())


class PairFlops:
    """What a sentence pair costs, as a function of its two lengths.

    Args:
        count: counts the pair with the given source and target lengths; called for a few small pairs at once.
        largest: a pair on which the polynomial through the small ones must be right, too. Where it is not (a
            model whose cost is no such polynomial), every pair that is asked for is counted.
    """

    def __init__(self, count: Callable[[int, int], int], largest: tuple[int, int] = (16, 16)) -> None:
        self._count = count
        self._counted: dict[tuple[int, int], int] = {}
        powers = np.array([_powers(*pair) for pair in _PAIRS], dtype=float)
        self._weights = np.linalg.solve(powers, [self._exactly(*pair) for pair in _PAIRS])
        self.is_polynomial = all(
            abs(self._polynomial(*pair) - self._exactly(*pair)) <= 1e-4 * self._exactly(*pair)
            for pair in [(13, 5), (5, 13), largest]
        )

    def __call__(self, source_length: int, target_length: int) -> float:
        """The operations of one pair; lengths count EOS."""
        if self.is_polynomial:
            return self._polynomial(source_length, target_length)
        return float(self._exactly(source_length, target_length))

    def _exactly(self, source_length: int, target_length: int) -> int:
        pair = (source_length, target_length)
        if pair not in self._counted:
            self._counted[pair] = self._count(*pair)
        return self._counted[pair]

    def _polynomial(self, source_length: int, target_length: int) -> float:
        return float(np.dot(_powers(source_length, target_length), self._weights))


def _powers(source: int, target: int) -> list[int]:
    return [1, source, target, source * source, source * target, target * target]


def example_batch(
    sentences: int, source_length: int, target_length: int, vocabulary_size: int, device: str = "cpu"
) -> Batch:
    """Sentence pairs of random subwords, all of the given lengths (EOS counted), so without padding."""
    generator = torch.Generator().manual_seed(source_length * 10_007 + target_length)

    def words(length: int) -> Tensor:
        shape = (sentences, length - 1)
        ids = torch.randint(EOS + 1, max(EOS + 2, vocabulary_size), shape, generator=generator)
        return torch.cat((ids, torch.full((sentences, 1), EOS)), 1)

    source, target = words(source_length), words(target_length)
    previous = torch.cat((torch.full((sentences, 1), BOS), target[:, :-1]), 1)
    return Batch(
        source=source.to(device),
        source_lengths=torch.full((sentences,), source_length).to(device),
        previous=previous.to(device),
        target=target.to(device),
        target_lengths=torch.full((sentences,), target_length).to(device),
        indices=torch.arange(sentences).to(device),
        global_tokens=sentences * target_length,
    )


def training_flops(model: TranslationModule, largest: tuple[int, int] = (16, 16)) -> PairFlops:
    """What a training step costs a sentence pair: three times its forward pass.

    Every product of the forward pass needs two in the backward pass, one for each operand's gradient.
    Counting the forward pass alone leaves out what an implementation computes twice to save memory. Masked
    positions of causal attention are counted, as in Chowdhery et al. 2022 (arXiv:2204.02311, appendix B).
    """

    def count(source_length: int, target_length: int) -> int:
        batch = example_batch(1, source_length, target_length, model.vocabulary_size, str(model.device))
        with torch.no_grad():
            return (1 + BACKWARD) * count_flops(lambda: model(batch))

    return PairFlops(count, largest)


def decoding_flops(model: TranslationModule, beam: int = 1, largest: tuple[int, int] = (16, 16)) -> PairFlops:
    """What it costs to translate a sentence: one reading of the source, one first step, then `beam` rows a
    step.

    Counted for the model's own `encode` and `step`, without the search around them.
    """

    def count(source_length: int, target_length: int) -> int:
        batch = example_batch(1, source_length, target_length, model.vocabulary_size, str(model.device))
        state: list[Any] = [None]

        def encode() -> None:
            state[0] = model.encode(batch.source, batch.source_lengths)

        def steps(first: int, last: int) -> None:
            for position in range(first, last):
                state[0] = model.step(batch.previous[:, position], state[0]).state

        with torch.no_grad():
            once = count_flops(encode) + count_flops(lambda: steps(0, 1))
            return once + beam * count_flops(lambda: steps(1, target_length))

    return PairFlops(count, largest)
