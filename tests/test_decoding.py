"""Searches against scripted models: tables of probabilities, recurrences with a state of every shape."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lit_nmt.data.subwords import BOS, EOS, PAD, UNKNOWN
from lit_nmt.decoding import (
    Hypothesis,
    Search,
    length_batches,
    parse_decoding,
    search,
    top,
    translate_ids,
)
from lit_nmt.errors import UserError
from lit_nmt.models.translation import Step

A, B, C = EOS + 1, EOS + 2, EOS + 3


class Script:
    """Says what a table holds for the source's first token and the target so far; EOS where it holds nothing.

    Args:
        table: prefix of the target to {token: probability}, by the source's first token.
    """

    def __init__(self, table: dict[int, dict[tuple[int, ...], dict[int, float]]], vocabulary: int = 8) -> None:
        self.table = table
        self.vocabulary = vocabulary
        self.rows: list[int] = []

    def encode(self, source: Tensor, source_lengths: Tensor) -> Any:
        return {"source": source[:, 0].clone(), "prefix": source.new_zeros(len(source), 0)}

    def step(self, previous: Tensor, state: Any) -> Step:
        self.rows.append(len(previous))
        prefix = torch.cat([state["prefix"], previous[:, None]], 1)
        probabilities = torch.full((len(previous), self.vocabulary), 1e-9)
        for row, (first, tokens) in enumerate(zip(state["source"].tolist(), prefix.tolist(), strict=True)):
            for token, probability in self.table[first].get(tuple(tokens[1:]), {EOS: 1.0}).items():
                probabilities[row, token] = probability
        return Step(probabilities.log(), {"source": state["source"], "prefix": prefix})


@dataclass
class Nest:
    """A state of all shapes: fixed, changing and growing, floats and integers."""

    memory: Tensor
    hidden: tuple[Tensor, ...]
    cache: dict[str, list[Tensor]]


class Recurrence:
    """Random logits that depend on the whole source and the whole target so far, most of it by a cache.

    Args:
        vocabulary: with the four special ids.
        seed: of the weights.
        sharpness: of the distributions.
    """

    def __init__(self, vocabulary: int, seed: int, sharpness: float = 2.0, dim: int = 8) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.embedding = torch.randn(vocabulary, dim, generator=generator)
        self.mix = torch.randn(dim, dim, generator=generator) / math.sqrt(dim)
        self.output = torch.randn(dim, vocabulary, generator=generator) * sharpness / math.sqrt(dim)
        self.rows: list[int] = []

    def encode(self, source: Tensor, source_lengths: Tensor) -> Nest:
        is_token = torch.arange(source.shape[1]) < source_lengths[:, None]
        position = torch.arange(1, source.shape[1] + 1)
        memory = (self.embedding[source] * (is_token / position)[:, :, None]).sum(1)
        age = torch.zeros(len(source), dtype=torch.long)
        return Nest(memory, (memory, age), {"keys": [memory[:, None, :][:, :0]]})

    def step(self, previous: Tensor, state: Nest) -> Step:
        hidden, age = state.hidden
        new = self.embedding[previous]
        keys = torch.cat([state.cache["keys"][0], new[:, None]], 1)
        # every other step returns the tensor it was given, which does not make it a memory of the source
        if age[0] % 2:
            hidden = (hidden @ self.mix + new).tanh()
        weights = torch.arange(1, keys.shape[1] + 1)[:, None].sqrt()
        logits = torch.tanh((keys * weights).mean(1) @ self.mix + hidden + state.memory) @ self.output
        self.rows.append(len(previous))
        return Step(logits, Nest(state.memory, (hidden, age + 1), {"keys": [keys]}))


def pad(sources: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Sources with EOS as a batch and its lengths."""
    lengths = torch.tensor([len(ids) + 1 for ids in sources])
    batch = torch.full((len(sources), int(lengths.max())), PAD)
    for row, ids in enumerate(sources):
        batch[row, : len(ids) + 1] = torch.tensor([*ids, EOS])
    return batch, lengths


def forced(model: Any, ids: list[int], tokens: list[int]) -> float:
    """The log probability of `tokens` and EOS, a step at a time in a batch of one."""
    source, lengths = pad([ids])
    state = model.encode(source, lengths)
    total = 0.0
    for previous, token in itertools.pairwise([BOS, *tokens, EOS]):
        logits, state, _ = model.step(torch.tensor([previous]), state)
        total += float(logits[0].log_softmax(-1)[token])
    return total


def reference_beam(model: Any, ids: list[int], how: Search) -> list[tuple[list[int], float]]:
    """Beam search as told in `Search`, one hypothesis at a time and without ever stopping early."""
    source, lengths = pad([ids])
    cap = int(how.max_length_ratio * int(lengths[0])) + how.max_length_extra
    alive: list[tuple[float, list[int], Any]] = [(0.0, [], model.encode(source, lengths))]
    finished: list[tuple[list[int], float]] = []
    while alive:
        candidates = []
        for log_probability, tokens, state in alive:
            logits, after, _ = model.step(torch.tensor([(tokens or [BOS])[-1]]), state)
            row = logits[0].log_softmax(-1)
            words = [] if len(tokens) == cap else range(EOS + 1, len(row))
            candidates += [(log_probability + float(row[token]), tokens, token, after) for token in (EOS, *words)]
        candidates.sort(key=lambda c: -c[0])
        alive = []
        for log_probability, tokens, token, after in candidates[: how.beam_size - len(finished)]:
            if token == EOS:
                finished.append((tokens, log_probability / (len(tokens) + 1) ** how.length_penalty))
            else:
                alive.append((log_probability, [*tokens, token], after))
    return sorted(finished, key=lambda f: -f[1])[: how.n_best]


def assert_same(found: list[Hypothesis], expected: list[tuple[list[int], float]]) -> None:
    assert [h.tokens for h in found] == [tokens for tokens, _ in expected]
    assert [h.score for h in found] == pytest.approx([score for _, score in expected], abs=1e-4)


GARDEN_PATH: dict[tuple[int, ...], dict[int, float]] = {
    (): {A: 0.6, B: 0.4},
    (A,): {A: 0.34, B: 0.33, C: 0.33},
    (B,): {C: 0.9, EOS: 0.1},
}


def test_greedy_takes_the_most_probable_token_and_a_beam_the_most_probable_sentence() -> None:
    model = Script({A: GARDEN_PATH})
    (greedy,) = search(model, *pad([[A]]))[0]
    assert greedy.tokens == [A, A]
    assert greedy.log_probability == pytest.approx(math.log(0.6 * 0.34), abs=1e-5)
    assert greedy.score == pytest.approx(math.log(0.6 * 0.34) / 3, abs=1e-5)
    (beam,) = search(model, *pad([[A]]), Search(beam_size=2))[0]
    assert beam.tokens == [B, C]
    assert beam.log_probability == pytest.approx(math.log(0.4 * 0.9), abs=1e-5)


def test_length_penalty_decides_between_short_and_long() -> None:
    model = Script({A: {(): {EOS: 0.5, B: 0.45}, (B,): {C: 0.8, EOS: 0.05}}})
    for penalty, expected in ((0.0, []), (1.0, [B, C])):
        best = search(model, *pad([[A]]), Search(beam_size=2, length_penalty=penalty))[0][0]
        assert best.tokens == expected


def test_n_best_is_sorted_distinct_and_no_longer_than_there_are_hypotheses() -> None:
    model = Script({A: GARDEN_PATH, B: {(): {B: 1.0}}})
    found, certain = search(model, *pad([[A], [B]]), Search(beam_size=5, n_best=4))
    assert [h.tokens for h in found[:2]] == [[B, C], [A, A]]
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    assert len({tuple(h.tokens) for h in found}) == 4
    assert certain[0].tokens == [B]


def test_special_ids_are_never_said() -> None:
    table = {(): {PAD: 0.3, BOS: 0.3, UNKNOWN: 0.3, A: 0.1}, (A,): {PAD: 0.5, UNKNOWN: 0.4, EOS: 0.1}}
    for size in (1, 3):
        best = search(Script({A: table}), *pad([[A]]), Search(beam_size=size))[0][0]
        assert best.tokens == [A]
        # their mass is not given to others
        assert best.log_probability == pytest.approx(math.log(0.01), abs=1e-3)


@pytest.mark.parametrize("size", [1, 3])
def test_a_hypothesis_at_the_cap_is_ended_at_the_models_price(size: int) -> None:
    table = {(A,) * n: {A: 0.9, EOS: 0.1} for n in range(20)}
    how = Search(beam_size=size, max_length_ratio=1.0, max_length_extra=1)
    short, long = search(Script({A: table, B: table}), *pad([[A], [B, B, B]]), how)
    assert max(len(h.tokens) for h in short) <= 3 < 5 == len(long[0].tokens)
    for hypothesis in short + long:
        length = len(hypothesis.tokens)
        assert hypothesis.log_probability == pytest.approx(length * math.log(0.9) + math.log(0.1), abs=1e-4)


def test_finished_rows_leave_the_batch() -> None:
    table = {n: {(A,) * k: {A: 1.0} for k in range(n)} for n in range(A, A + 4)}
    for size in (1, 2):
        model = Script(table)
        search(model, *pad([[n] for n in table]), Search(beam_size=size))
        assert model.rows[0] == 4
        assert model.rows[-1] <= size
        assert len(model.rows) <= A + 4 + 1


def test_a_beam_stops_when_no_live_hypothesis_can_win() -> None:
    # after the first step, whatever follows B is less probable than the end: without penalty nothing can win
    model = Script({A: {(): {EOS: 0.6, B: 0.4}} | {(B,) * n: {B: 0.5, C: 0.5} for n in range(1, 20)}})
    assert search(model, *pad([[A]]), Search(beam_size=4, length_penalty=0.0))[0][0].tokens == []
    assert len(model.rows) == 1


def test_an_end_as_probable_as_going_on_takes_the_last_place() -> None:
    model = Script({A: {(): {EOS: 0.4, B: 0.4, C: 0.2}, (B,): {EOS: 0.5, C: 0.5}}})
    found = search(model, *pad([[A]]), Search(beam_size=2, n_best=2))[0]
    assert [h.tokens for h in found] == [[B], []]
    assert len(model.rows) == 2


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.6, 1.0, 1.5]), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_a_beam_of_all_hypotheses_is_brute_force(seed: int, penalty: float, words: int) -> None:
    model = Recurrence(EOS + 1 + words, seed)
    ids, cap = [A], 3
    how = Search(60, penalty, n_best=5, max_length_ratio=0.0, max_length_extra=cap)
    every = [
        list(tokens)
        for length in range(cap + 1)
        for tokens in itertools.product(range(EOS + 1, EOS + 1 + words), repeat=length)
    ]
    assert len(every) <= 60
    scored = [(tokens, forced(model, ids, tokens) / (len(tokens) + 1) ** penalty) for tokens in every]
    scored.sort(key=lambda t: -t[1])
    assert_same(search(model, *pad([ids]), how)[0], scored[:5])


@given(
    st.integers(0, 10_000),
    st.integers(2, 6),
    st.sampled_from([0.0, 0.6, 1.0, 2.0]),
    st.sampled_from([6, 9, 300]),
)
@settings(max_examples=40, deadline=None)
def test_a_batch_of_beams_is_the_plain_search_of_each_sentence(
    seed: int, size: int, penalty: float, vocabulary: int
) -> None:
    random = np.random.default_rng(seed)
    model = Recurrence(vocabulary, seed, sharpness=4.0)
    sources = [random.integers(EOS + 1, vocabulary, n).tolist() for n in random.integers(0, 7, 6)]
    how = Search(size, penalty, n_best=int(random.integers(1, size + 1)), max_length_ratio=1.0, max_length_extra=3)
    for ids, found in zip(sources, search(model, *pad(sources), how), strict=True):
        assert_same(found, reference_beam(model, ids, how))
        for hypothesis in found:
            assert hypothesis.log_probability == pytest.approx(forced(model, ids, hypothesis.tokens), abs=1e-4)


@given(st.integers(0, 10_000), st.sampled_from([6, 9, 300]))
@settings(max_examples=40, deadline=None)
def test_greedy_is_a_beam_of_one_and_a_batch_is_its_sentences(seed: int, vocabulary: int) -> None:
    random = np.random.default_rng(seed)
    model = Recurrence(vocabulary, seed, sharpness=4.0)
    sources = [random.integers(EOS + 1, vocabulary, n).tolist() for n in random.integers(0, 9, 12)]
    how = Search(max_length_ratio=1.5, max_length_extra=2)
    for ids, found in zip(sources, search(model, *pad(sources), how), strict=True):
        assert_same(found, reference_beam(model, ids, how))
        assert found[0].log_probability == pytest.approx(forced(model, ids, found[0].tokens), abs=1e-4)


@given(
    st.integers(0, 10_000),
    st.integers(1, 12),
    st.integers(1, 700),
    st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_top_is_topk(seed: int, rows: int, columns: int, count: int) -> None:
    count = min(count, columns)
    logits = torch.from_numpy(np.random.default_rng(seed).permuted(np.arange(rows * columns))).view(rows, -1).float()
    logits[:, :: 1 + seed % 5] = -torch.inf if seed % 2 else 1e9 + logits[:, :: 1 + seed % 5]
    values, columns_found = top(logits, count)
    assert torch.equal(values, logits.topk(count).values)
    assert torch.equal(logits.gather(1, columns_found), values)
    assert all(len(set(row)) == count for row in columns_found.tolist())


def test_translate_ids_keeps_the_order_whatever_the_batches() -> None:
    random = np.random.default_rng(3)
    model = Recurrence(40, 3)
    sources = [random.integers(EOS + 1, 40, n).astype(np.uint16) for n in random.integers(0, 12, 30)]
    how = Search(beam_size=3, n_best=2)
    alone = [search(model, *pad([ids.tolist()]), how)[0] for ids in sources]
    for max_tokens in (1, 25, 10_000):
        together = translate_ids(model, sources, how, max_tokens=max_tokens)
        for one, other in zip(alone, together, strict=True):
            assert_same(other, [(h.tokens, h.score) for h in one])
    together = translate_ids(model, sources, how, max_tokens=25)
    ranks = [translate_ids(model, sources, how, max_tokens=25, rank=rank, world_size=4) for rank in range(4)]
    for whole, *shares in zip(together, *ranks, strict=True):
        assert [share for share in shares if share] == [whole], "one rank has it, and the same to the last digit"
    assert translate_ids(model, [], how) == []


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 200))
def test_length_batches_take_each_row_once_within_the_budget(lengths: list[int], max_tokens: int) -> None:
    array = np.array(lengths, dtype=np.int64)
    batches = list(length_batches(array, max_tokens))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or array[batch].max() * len(batch) <= max_tokens for batch in batches)


def test_decodings_have_names() -> None:
    assert parse_decoding("greedy") == Search()
    assert parse_decoding("beam5") == Search(beam_size=5)
    for name in ("beam", "beam0", "Beam5", "beam5 ", "beam1000", "sample", ""):
        with pytest.raises(UserError, match="expected greedy, or beam"):
            parse_decoding(name)


@pytest.mark.parametrize(
    "values",
    [{"beam_size": 0}, {"n_best": 2}, {"beam_size": 2, "n_best": 3}, {"length_penalty": -0.5}, {"n_best": 0},
     {"max_length_ratio": -1.0}, {"max_length_extra": -1}],
)  # fmt: skip
def test_settings_without_a_meaning_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="expected"):
        Search(**values)
