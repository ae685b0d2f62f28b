from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from lit_nmt.benchmark import flops
from lit_nmt.benchmark.flops import PairFlops, count_flops, decoding_flops, example_batch, training_flops
from lit_nmt.models.attention_seq2seq import AttentionSeq2Seq
from lit_nmt.models.feed_forward import FeedForward
from lit_nmt.models.seq2seq import Seq2Seq
from lit_nmt.models.transformer import Transformer
from lit_nmt.models.translation import TranslationModule

CELLS = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell, nn.RNN: nn.RNNCell}
MODELS = {
    "seq2seq": lambda: Seq2Seq(30, dim=8, hidden_dim=10, layers=2),
    "gru": lambda: Seq2Seq(30, dim=8, hidden_dim=10, cell="gru", bidirectional=True, context_every_step=True),
    "attention": lambda: AttentionSeq2Seq(30, dim=8, hidden_dim=12),
    "transformer": lambda: Transformer(30, dim=8, encoder_layers=2, decoder_layers=1, heads=2, feed_forward_dim=16),
    "feed-forward": lambda: FeedForward(30, dim=8, hidden_dim=10, position_dim=4),
    "feed-forward-window": lambda: FeedForward(30, dim=8, hidden_dim=10, position_dim=4, window=3),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> TranslationModule:
    torch.manual_seed(0)
    built: TranslationModule = MODELS[request.param]()
    return built


def unrolled_flops(kind: type[nn.RNNBase], inputs: int, hidden: int, layers: int, directions: int, tokens: int) -> int:
    """What the same recurrence costs cell by cell, as torch's own counter sees its matrix products."""
    total = 0
    for layer in range(layers):
        cell = CELLS[kind](inputs if layer == 0 else directions * hidden, hidden)
        x = torch.zeros(1, cell.input_size)
        total += directions * tokens * count_flops(lambda cell=cell, x=x: cell(x))
    return total


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, True)])
@pytest.mark.parametrize("with_gradient", [True, False])
def test_a_fused_recurrence_counts_as_much_as_its_cells(
    kind: type[nn.RNNBase], layers: int, bidirectional: bool, with_gradient: bool
) -> None:
    fused = kind(6, 5, layers, bidirectional=bidirectional)
    x = torch.zeros(7, 3, 6)
    with torch.set_grad_enabled(with_gradient):
        counted = count_flops(lambda: fused(x))
    assert counted == unrolled_flops(kind, 6, 5, layers, 1 + bidirectional, 7 * 3) > 0


@pytest.mark.parametrize("kind", CELLS)
def test_a_packed_recurrence_counts_its_tokens_alone(kind: type[nn.RNNBase]) -> None:
    packed = pack_padded_sequence(torch.zeros(7, 3, 6), torch.tensor([7, 4, 1]))
    assert count_flops(lambda: kind(6, 5)(packed)) == unrolled_flops(kind, 6, 5, 1, 1, 7 + 4 + 1)


def test_the_backward_pass_of_a_fused_recurrence_costs_twice_the_forward_pass() -> None:
    lstm = nn.LSTM(6, 5, 2, bidirectional=True)
    x = torch.zeros(7, 3, 6, requires_grad=True)
    forward = count_flops(lambda: lstm(x))
    assert count_flops(lambda: lstm(x)[0].sum().backward()) == 3 * forward


@pytest.mark.parametrize("kind", CELLS)
def test_the_closed_form_for_gpus_agrees_with_the_cells(kind: type[nn.RNNBase]) -> None:
    module = kind(6, 5, 2, bidirectional=True)
    weights = [tuple(weight.shape) for weight in module.parameters()]
    assert any(len(shape) == 1 for shape in weights)  # biases, which multiply nothing
    cells = unrolled_flops(kind, 6, 5, 2, 2, 12)
    for inputs in [(12, 6), (4, 3, 6)]:  # packed, and not
        assert flops._cudnn_rnn(inputs, weights) == cells
    assert flops._cudnn_rnn_backward((12, 6), weights) == 2 * cells


def test_fused_attention_counts_as_much_as_explicit_products() -> None:
    query, key, value = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 7, 4), torch.randn(2, 3, 7, 4)
    inputs = [tensor.requires_grad_() for tensor in (query, key, value)]

    def explicit() -> Tensor:
        return (query @ key.transpose(-1, -2)).softmax(-1) @ value

    def fused() -> Tensor:
        return F.scaled_dot_product_attention(*inputs)

    assert count_flops(fused) == count_flops(explicit) == 2 * 2 * (2 * 3) * 5 * 7 * 4
    assert count_flops(lambda: fused().sum().backward()) == count_flops(lambda: explicit().sum().backward())


def test_a_matrix_times_a_vector_counts() -> None:
    matrix, vector = torch.zeros(3, 4), torch.zeros(4)
    assert count_flops(lambda: matrix @ vector) == 2 * 3 * 4
    assert count_flops(lambda: torch.addmv(torch.zeros(3), matrix, vector)) == 2 * 3 * 4


def test_pair_flops_solves_for_a_polynomial_and_asks_no_more() -> None:
    asked = []

    def cost(source: int, target: int) -> int:
        asked.append((source, target))
        return 900 + 70 * source + 50 * target + 3 * source**2 + 4 * source * target + 2 * target**2

    pair_flops = PairFlops(cost)
    assert pair_flops.is_polynomial
    count = len(asked)
    assert pair_flops(1000, 900) == pytest.approx(cost(1000, 900), rel=1e-9)
    assert len(asked) == count + 1  # the one in the line above


def test_pair_flops_counts_what_is_no_polynomial() -> None:
    def window(source: int, target: int) -> int:
        return 10 * source + target * min(source, 12)

    local = PairFlops(window, largest=(40, 40))
    assert not local.is_polynomial
    assert local(100, 50) == window(100, 50)


def test_training_costs_three_forward_passes_at_any_length(model: TranslationModule) -> None:
    pair_flops = training_flops(model)
    assert pair_flops.is_polynomial
    batch = example_batch(3, 21, 17, 30)
    assert 3 * pair_flops(21, 17) == pytest.approx(3 * count_flops(lambda: model(batch)), rel=1e-6)


def test_a_network_with_fixed_positions_costs_what_its_layers_cost() -> None:
    model = FeedForward(30, dim=8, hidden_dim=10, layers=2, position_dim=4, longest_source=20, longest_target=6)
    encoder = 20 * 4 * 10 + 10 * 10 + 10 * 6 * 4  # the same for every sentence
    source_word, target_word = 8 * 4, 4 * 10 + 10 * 8 + 8 * 30
    pair_flops = training_flops(model, (20, 20))
    assert not pair_flops.is_polynomial  # nothing is computed beyond its inputs and outputs
    for source, target in [(3, 2), (20, 6), (9, 20), (30, 4)]:
        words = min(source, 20) * source_word + min(target, 6) * target_word
        assert pair_flops(source, target) == 3 * 2 * (encoder + words)


def test_three_forward_passes_are_what_a_forward_and_a_backward_pass_execute(
    model: TranslationModule,
) -> None:
    batch = example_batch(2, 9, 6, 30)
    model.train()
    executed = count_flops(lambda: model(batch).sum().backward())
    assert executed == pytest.approx(2 * training_flops(model)(9, 6), rel=0.03)


def test_decoding_costs_one_reading_and_a_beam_of_steps(model: TranslationModule) -> None:
    model.eval()
    greedy, beam = decoding_flops(model), decoding_flops(model, beam=5)
    assert greedy.is_polynomial
    assert beam.is_polynomial
    batch = example_batch(1, 9, 12, 30)

    def unroll() -> None:
        state = model.encode(batch.source, batch.source_lengths)
        for position in range(12):
            state = model.step(batch.previous[:, position], state).state

    assert greedy(9, 12) == pytest.approx(count_flops(unroll), rel=1e-6)
    assert beam(9, 1) == pytest.approx(greedy(9, 1), rel=1e-6)
    assert beam(9, 12) - beam(9, 1) == pytest.approx(5 * (greedy(9, 12) - greedy(9, 1)), rel=1e-6)


def test_example_batches_have_no_padding_and_no_special_words() -> None:
    batch = example_batch(4, 6, 9, 20)
    assert batch.source.shape == (4, 6)
    assert batch.target.shape == (4, 9)
    assert (batch.source[:, :-1] > 3).all()
    assert (batch.target[:, -1] == 3).all()
    assert torch.equal(batch.previous[:, 1:], batch.target[:, :-1])
    assert batch.global_tokens == 36
