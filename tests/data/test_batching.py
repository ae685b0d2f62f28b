"""Batches: every sentence once an epoch, within the budget, the same on any number of devices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_nmt.data.batching import BatchPlan, BatchStream, collate, deal, shard
from lit_nmt.data.prepared import EncodedSplit, Ragged
from lit_nmt.data.subwords import BOS, EOS, PAD

lengths = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=120)


def make_split(pairs: list[tuple[int, int]], seed: int = 0) -> EncodedSplit:
    generator = np.random.default_rng(seed)

    def side(sizes: list[int]) -> Ragged:
        tokens = generator.integers(EOS + 1, 50, sum(sizes)).astype(np.uint16)
        return Ragged(tokens, np.concatenate(([0], np.cumsum(sizes))).astype(np.int64))

    sources, targets = [s - 1 for s, _ in pairs], [t - 1 for _, t in pairs]
    return EncodedSplit("train", side(sources), side(targets), np.array(sources, dtype=np.int32))


def make_plan(pairs: list[tuple[int, int]], max_tokens: int, seed: int = 0) -> BatchPlan:
    sources, targets = np.array(pairs).T
    return BatchPlan(sources, targets, max_tokens, seed)


@given(lengths, st.integers(20, 400), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_an_epoch_holds_every_sentence_once_within_the_budget(pairs, max_tokens, epoch):
    plan = make_plan(pairs, max_tokens)
    batches = plan.epoch(epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(pairs)))
    for rows in batches:
        longest = max(max(pairs[row]) for row in rows)
        assert longest * len(rows) <= max_tokens or len(rows) == 1


@given(lengths, st.integers(20, 400))
@settings(max_examples=30, deadline=None)
def test_epochs_differ_in_order_alone_in_shape_never(pairs, max_tokens):
    plan = make_plan(pairs, max_tokens)
    targets = np.array(pairs)[:, 1]
    for epoch in range(3):
        batches = plan.epoch(epoch)
        assert len(batches) == len(plan)
        assert [int(targets[rows].sum()) for rows in batches] == plan.batch_tokens[plan.batch_order(epoch)].tolist()


@given(lengths, st.integers(20, 400), st.integers(1, 3000), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_the_batches_for_a_budget_are_the_fewest_that_reach_it(pairs, max_tokens, budget, multiple):
    plan = make_plan(pairs, max_tokens)
    batches = plan.batches_for(budget)
    tokens = [plan.batch_tokens[plan.batch_order(e)] for e in range(batches // len(plan) + 1)]
    spent = np.cumsum(np.concatenate(tokens))
    assert spent[batches - 1] >= budget
    assert batches == 1 or spent[batches - 2] < budget
    rounded = plan.batches_for(budget, multiple)
    assert rounded % multiple == 0
    assert batches <= rounded < batches + multiple


def test_similar_lengths_leave_little_padding():
    generator = np.random.default_rng(0)
    sources = np.clip(generator.normal(14, 4, 20_000).astype(int), 3, 40)
    targets = np.clip(sources + generator.integers(-4, 5, 20_000), 2, 45)
    batches = [*BatchPlan(sources, targets, 4096).in_order()]
    positions = sum(len(rows) * (sources[rows].max() + targets[rows].max()) for rows in batches)
    assert sum(map(len, batches)) == 20_000
    assert (sources.sum() + targets.sum()) / positions > 0.95


def test_epochs_shuffle_sentences_of_equal_length():
    plan = make_plan([(10, 10)] * 100, 100)
    first, second = (np.sort(np.stack(plan.epoch(epoch)), axis=1) for epoch in (0, 1))
    assert {tuple(rows) for rows in first.tolist()} != {tuple(rows) for rows in second.tolist()}


def test_collate_marks_beginnings_ends_and_padding():
    split = make_split([(4, 3), (2, 5)])
    batch = collate(split, np.array([0, 1]))
    source, target = split.source[0].tolist(), split.target[1].tolist()
    assert batch.source[0].tolist() == [*source, EOS]
    assert batch.source[1].tolist() == [*split.source[1].tolist(), EOS, PAD, PAD]
    assert batch.target[1].tolist() == [*target, EOS]
    assert batch.previous[1].tolist() == [BOS, *target]
    assert batch.previous[0].tolist() == [BOS, *split.target[0].tolist(), PAD, PAD]
    assert batch.source_lengths.tolist() == [4, 2]
    assert batch.target_lengths.tolist() == [3, 5]
    assert batch.global_tokens == 8


@given(lengths, st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_shards_are_the_global_batch(pairs, world_size):
    split = make_split(pairs)
    rows = np.arange(len(pairs))
    shards = [shard(split, rows, rank, world_size) for rank in range(world_size)]
    seen = [i for s in shards for i in s.indices[s.target_lengths > 0].tolist()]
    assert sorted(seen) == rows.tolist()
    assert {s.global_tokens for s in shards} == {sum(target for _, target in pairs)}
    assert sum(int((s.target != PAD).sum()) for s in shards) == sum(target for _, target in pairs)


@given(lengths, st.integers(20, 200), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_batches_are_dealt_out_whole_and_as_many_to_each(pairs, max_tokens, world_size):
    split, batches = make_split(pairs), make_plan(pairs, max_tokens).in_order()
    dealt = [deal(split, batches, rank, world_size) for rank in range(world_size)]
    assert {len(of_rank) for of_rank in dealt} == {-(-len(batches) // world_size)}
    in_turn = [batch for turn in zip(*dealt, strict=True) for batch in turn]
    whole, rest = in_turn[: len(batches)], in_turn[len(batches) :]
    assert [batch.indices.tolist() for batch in whole] == [rows.tolist() for rows in batches]
    assert sum(batch.global_tokens for batch in whole) == sum(target for _, target in pairs)
    assert all(not batch.global_tokens and (batch.target == PAD).all() for batch in rest)


@pytest.mark.parametrize("start", [0, 7])
def test_a_stream_runs_through_epochs(start):
    pairs = [(length, length) for length in range(2, 30)]
    split, plan = make_split(pairs), make_plan(pairs, 60)
    stream = BatchStream(split, plan, 2 * len(plan) + 3)
    seen = torch.cat([stream[position].indices for position in range(start, len(stream))])
    counts = torch.bincount(seen, minlength=len(pairs))
    if start == 0:
        assert counts.min() >= 2
        assert counts.max() <= 3
    again = stream[start]
    assert torch.equal(again.indices, BatchStream(split, plan, len(stream))[start].indices)
