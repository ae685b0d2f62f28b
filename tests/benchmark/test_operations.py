"""Operations that wait for one another: counted right on what is known, and on every model that ships."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nmt.benchmark.flops import example_batch
from lit_nmt.benchmark.operations import (
    Distances,
    count,
    count_all,
    path_lengths,
    sequential_operations,
    with_small_weights,
)
from lit_nmt.benchmark.settings import OPERATIONS
from lit_nmt.models.attention_seq2seq import AttentionSeq2Seq
from lit_nmt.models.conv_s2s import ConvS2S
from lit_nmt.models.feed_forward import FeedForward
from lit_nmt.models.seq2seq import Seq2Seq
from lit_nmt.models.transformer import Transformer
from lit_nmt.models.translation import TranslationModule

V = 24
SIZES = {"dim": 8, "hidden_dim": 8}
MODELS: dict[str, Callable[[], TranslationModule]] = {
    "rnn": lambda: Seq2Seq(V, **SIZES, cell="rnn"),
    "gru": lambda: Seq2Seq(V, **SIZES, cell="gru", reverse_source=True),
    "lstm": lambda: Seq2Seq(V, **SIZES, bidirectional=True),
    "attention": lambda: AttentionSeq2Seq(V, **SIZES),
    "transformer": lambda: Transformer(V, dim=8, encoder_layers=1, decoder_layers=2, heads=2, feed_forward_dim=8),
    "convolution": lambda: ConvS2S(V, **SIZES, encoder_layers=2, decoder_layers=2),
    "feed-forward": lambda: FeedForward(V, **SIZES, window=1, longest_source=16, longest_target=16),
}
RECURRENT = ("rnn", "gru", "lstm", "attention")


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> TranslationModule:
    return made(request.param)


def made(name: str) -> TranslationModule:
    torch.manual_seed(3)
    return with_small_weights(MODELS[name]())


def counted(function: Callable[[Tensor], Tensor], x: Tensor, first: int = 0, longest: bool = False) -> list[float]:
    """Operations from place `first` of x (or from anywhere, if `longest`) to each number of a result."""
    distances = Distances(longest)
    fused, *_ = torch.backends.mkldnn.set_flags(_enabled=False, _fp32_precision=None)
    with torch.no_grad(), distances:
        marked = torch.arange(len(x)) == first
        distances.mark(x, (marked | longest).view(-1, *[1] * (x.dim() - 1)))
        result = function(x)
    torch.backends.mkldnn.set_flags(_enabled=fused, _fp32_precision=None)
    return distances.of(result).flatten().tolist()


NONE = float("inf")


def shared_buffer(x: Tensor) -> Tensor:
    y = torch.zeros(3)
    y[0] = x[0] + 1  # a sum, and the copy into its place
    y[1] = y[0] * 2
    y[2] = x[2]
    return y


def in_place(x: Tensor) -> Tensor:
    y = x.clone()
    y[1:].add_(y[:1]).mul_(2)
    return y


@pytest.mark.parametrize(
    ("function", "shortest"),
    [
        (lambda x: x + 1, [1, NONE, NONE]),
        (lambda x: x.sum()[None], [1]),
        (lambda x: x.view(3, 1).t().unbind(1)[0] * 2, [1]),
        (lambda x: x.softmax(0), [1, 1, 1]),
        (lambda x: (x * torch.tensor([1.0, 0.0, 1.0])).sum()[None], [2]),
        (lambda x: (x * torch.tensor([0.0, 1.0, 1.0])).sum()[None], [NONE]),
        (lambda x: x.masked_fill(torch.tensor([True, False, False]), 0).cumsum(0), [NONE] * 3),
        (lambda x: F.conv1d(x.view(1, 1, 3), torch.ones(1, 1, 2)), [1, NONE]),
        (lambda x: torch.stack([x[0], x[1] + x[0], ((x[0] * 2) * 2) * 2]), [1, 2, 4]),
        (shared_buffer, [2, 4, NONE]),
        (in_place, [1, 3, 3]),
    ],
)
def test_the_way_from_one_number_is_as_long_as_its_operations(
    function: Callable[[Tensor], Tensor], shortest: list[float]
) -> None:
    assert counted(function, torch.tensor([0.5, -1.0, 2.0])) == shortest


def test_of_two_ways_the_shorter_is_the_path_and_the_longer_the_chain() -> None:
    two_ways = lambda x: x.exp().exp().exp() + x
    assert counted(two_ways, torch.ones(1)) == [1]
    assert counted(two_ways, torch.ones(1), longest=True) == [4]


@pytest.mark.parametrize(
    ("fused", "cell"),
    [(nn.LSTM, nn.LSTMCell), (nn.GRU, nn.GRUCell), (nn.RNN, nn.RNNCell)],
    ids=lambda kind: kind.__name__,
)
@pytest.mark.parametrize("longest", [True, False])
def test_a_fused_recurrence_waits_as_often_as_its_cells(
    fused: type[nn.RNNBase], cell: type[nn.RNNCellBase], longest: bool
) -> None:
    whole, single = fused(4, 4), cell(4, 4)

    def unrolled(x: Tensor) -> Tensor:
        state: Tensor | tuple[Tensor, Tensor] | None = None
        for now in x.unbind(0):
            state = single(now, state)
        return state[0] if isinstance(state, tuple) else state

    def grows(function: Callable[[Tensor], Tensor]) -> set[float]:
        ends = [min(counted(function, torch.randn(n, 1, 4), longest=longest)) for n in (3, 4, 5, 6)]
        return {b - a for a, b in pairwise(ends)}

    (step,) = grows(unrolled)
    assert step >= 2
    assert grows(lambda x: whole(x)[0][-1]) == {step}


def test_counts_of_recurrence_grow_by_the_same_with_every_word_and_those_of_the_others_not_at_all() -> None:
    for name in MODELS:
        chains = [sequential_operations(made(name), length) for length in (3, 5, 7, 9)]
        (growth,) = {b - a for a, b in pairwise(chains)}
        assert (growth > 0) == (name in RECURRENT), name


def test_decoding_waits_for_every_word_in_every_architecture(model: TranslationModule) -> None:
    chains = [sequential_operations(model, length, decoding=True) for length in (3, 5, 7)]
    assert chains[0] < chains[1] < chains[2]
    assert chains[1] > sequential_operations(model, 5)


def test_attention_joins_source_and_target_by_a_path_of_one_length_and_recurrence_by_longer_and_longer_ones() -> None:
    for name in MODELS:
        longest = [float(path_lengths(made(name), length, "source").max()) for length in (4, 8)]
        assert (longest[0] < longest[1]) == (name in ("rnn", "gru", "lstm")), name
    # the farther back, the longer the way, by the same for every word
    ways = path_lengths(made("rnn"), 8, "source")[:, 0].tolist()
    (step,) = {a - b for a, b in pairwise(ways)}
    assert step == 3  # a product, a sum, a tanh
    # read back to front, the first word is the nearest
    ways = path_lengths(made("gru"), 8, "source")[:, 0].tolist()
    assert ways == sorted(ways)
    # both ways at once: from the middle it is farthest
    ways = path_lengths(made("lstm"), 8, "source")[:, 0].tolist()
    assert max(ways) > max(ways[0], ways[-1])


def test_a_path_is_where_there_is_a_gradient_and_nowhere_else(model: TranslationModule) -> None:
    length = 7
    batch = example_batch(1, length, length, V - 1)
    looked_up: list[Tensor] = []

    def keep(_: nn.Module, arguments: tuple[Tensor], embedded: Tensor) -> Tensor:
        leaf = embedded.detach().requires_grad_()
        looked_up.append(leaf)
        return leaf

    handle = model.embedding.register_forward_hook(keep)
    logits = model(batch)
    handle.remove()
    for side, leaf in zip(("source", "target"), looked_up, strict=True):
        gradients = torch.stack(
            [
                torch.autograd.grad(logits[0, j].square().sum(), leaf, retain_graph=True)[0][0].norm(dim=-1)
                for j in range(length)
            ],
            dim=1,
        )
        if side == "source" and getattr(model, "reverse_source", False):
            gradients[:-1] = gradients[:-1].flip(0)
        reached = gradients[:-1] if side == "source" else gradients[1:]
        assert torch.equal(path_lengths(model, length, side).isfinite(), reached > 0)


def test_a_path_is_found_however_little_goes_along_it() -> None:
    model = ConvS2S(V, dim=32, hidden_dim=32, encoder_layers=2, decoder_layers=2)
    nn.init.normal_(model.embedding.weight, std=20.0)  # attention to one word alone
    assert len(path_lengths(model.double().eval(), 8, "source").unique()) > 1
    assert len(path_lengths(with_small_weights(model), 8, "source").unique()) == 1


def test_convolutions_join_what_lies_within_their_windows() -> None:
    length, reach = 12, 2 * 2  # two layers, each of which sees two words back
    shares = {quantity: unconnected for quantity, _, _, unconnected in count(made("convolution"), length)}
    distances = [j - i for i in range(1, length) for j in range(i, length)]
    assert shares["path-source-target"] == 0
    assert shares["path-target-target"] == pytest.approx(sum(d > reach for d in distances) / len(distances), abs=1e-4)


def test_counting_leaves_no_trace(model: TranslationModule) -> None:
    batch = example_batch(2, 5, 5, V)
    with torch.no_grad():
        before = model(batch)
        list(count(model, 5))
        assert torch.equal(model(batch), before)
    assert torch.backends.mkldnn.enabled
    assert not model.embedding._forward_hooks


def test_a_row_for_each_quantity_and_length_and_a_word_on_what_cannot_be_watched(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = {"model": {"class_path": "lit_nmt.models.seq2seq.Seq2Seq", "init_args": {**SIZES, "cell": "rnn"}}}
    rows = count_all({"one": fragment, "other": fragment}, lengths=(3, 4))
    assert [list(row) for row in rows] == [OPERATIONS] * 16
    assert {(row["model"], row["length"]) for row in rows} == {(m, n) for m in ("one", "other") for n in (3, 4)}
    assert {row["quantity"] for row in rows} == {
        "sequential-training", "sequential-decoding", "path-source-target", "path-target-target",
    }  # fmt: skip

    def refuse(*_: object) -> Tensor:
        raise RuntimeError("not this one")

    monkeypatch.setattr(Seq2Seq, "decoder_states", refuse)
    assert count_all({"one": fragment}) == []
    assert "operations of one not counted: not this one" in capsys.readouterr().err
