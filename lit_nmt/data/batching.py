"""Token-budget batches: which sentences train together, planned before anything is read.

The plan is a pure function of lengths, seed and epoch, the same on one device or eight. Batches are **global**: what
all devices together consume before an optimiser step sees the gradient; `shard` deals one out to the ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lit_nmt.data.prepared import EncodedSplit, Ragged
from lit_nmt.data.subwords import BOS, EOS, PAD


@dataclass
class Batch:
    """Sentence pairs as padded subword ids.

    Attributes:
        source: (batch, source length), x1..xn EOS PAD..
        source_lengths: (batch,), EOS counted.
        previous: (batch, target length), what the decoder has seen: BOS y1..yn PAD..
        target: (batch, target length), what it must say: y1..yn EOS PAD..
        target_lengths: (batch,), EOS counted.
        indices: (batch,), the rows of the split.
        global_tokens: target tokens, EOS counted, of the global batch that this is a shard of.
    """

    source: Tensor
    source_lengths: Tensor
    previous: Tensor
    target: Tensor
    target_lengths: Tensor
    indices: Tensor
    global_tokens: int


class BatchPlan:
    """Cuts a split into batches of similar lengths whose padded size stays within a token budget.

    Pairs are sorted by their longer side, those with the same by the difference of the two, up and down in turns, so
    that neighbours are alike on both; each batch takes as many as fit into `max_tokens` with padding, on its longer
    side. Every epoch shuffles sentences of equal lengths among each other, and
    the order of the batches. So the number of batches and the shape of each are the same in all epochs, which makes
    the length of a training known before it starts; no sentence appears twice in an epoch and none is left out.

    Args:
        source_lengths: subwords a source sentence, EOS counted (pairs,).
        target_lengths: the same for the target (pairs,).
        max_tokens: padded tokens a batch, at most (a longer sentence makes a batch of its own).
        seed: of the shuffling.
    """

    def __init__(self, source_lengths: np.ndarray, target_lengths: np.ndarray, max_tokens: int, seed: int = 0) -> None:
        self.source_lengths = np.asarray(source_lengths)
        self.target_lengths = np.asarray(target_lengths)
        self.seed = seed
        order = self._sorted()
        self.bounds = _cut(self.source_lengths[order], self.target_lengths[order], max_tokens)
        sorted_targets = np.concatenate(([0], np.cumsum(self.target_lengths[order], dtype=np.int64)))
        self.batch_tokens = np.diff(sorted_targets[self.bounds])

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.bounds) - 1

    def batch_order(self, epoch: int) -> np.ndarray:
        """The order in which an epoch visits the batches (batches,)."""
        return np.random.default_rng([self.seed, epoch, 1]).permutation(len(self))

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """The rows of each global batch, in the order in which this epoch visits them."""
        tiebreak = np.random.default_rng([self.seed, epoch, 0]).random(len(self.source_lengths))
        order = self._sorted(tiebreak)
        return [order[self.bounds[i] : self.bounds[i + 1]] for i in self.batch_order(epoch)]

    def in_order(self) -> list[np.ndarray]:
        """The rows of each batch from the shortest to the longest, for evaluation."""
        order = self._sorted()
        return [order[a:b] for a, b in zip(self.bounds[:-1], self.bounds[1:], strict=True)]

    def _sorted(self, tiebreak: np.ndarray | None = None) -> np.ndarray:
        """Rows such that neighbours have similar lengths; those with the same two lengths by `tiebreak`."""
        longer = np.maximum(self.source_lengths, self.target_lengths)
        difference = self.source_lengths - self.target_lengths
        keys = [np.where(longer % 2, difference, -difference), longer]
        return np.lexsort(keys if tiebreak is None else [tiebreak, *keys])

    def batches_for(self, target_tokens: int, multiple_of: int = 1) -> int:
        """The number of batches, over as many epochs as it takes, that hold at least `target_tokens` target tokens.

        Rounded up to a multiple of `multiple_of`.
        """
        epochs, rest = divmod(target_tokens, int(self.batch_tokens.sum()))
        batches = epochs * len(self)
        if rest:
            reached = np.cumsum(self.batch_tokens[self.batch_order(epochs)])
            batches += int(np.searchsorted(reached, rest)) + 1
        return -(-batches // multiple_of) * multiple_of


def _cut(source_lengths: np.ndarray, target_lengths: np.ndarray, max_tokens: int) -> np.ndarray:
    """The bounds (batches + 1,) of consecutive runs whose rows times longest length stay within `max_tokens`."""
    lengths = np.maximum(source_lengths, target_lengths)
    bounds = [0]
    while bounds[-1] < len(lengths):
        start = bounds[-1]
        window = lengths[start : start + max(1, max_tokens // max(1, int(lengths[start])))]
        padded = np.maximum.accumulate(window) * np.arange(1, len(window) + 1)
        bounds.append(start + max(1, int(np.searchsorted(padded, max_tokens, side="right"))))
    return np.array(bounds)


class BatchStream(torch.utils.data.Dataset[Batch]):
    """A whole training as one sequence of batches: epoch after epoch until the budget of target tokens is spent.

    Args:
        split: the encoded training pairs.
        plan: the batches of an epoch.
        batches: how many batches the training has.
        rank: which shard of each batch is this process's.
        world_size: into how many shards each batch is dealt.
    """

    def __init__(self, split: EncodedSplit, plan: BatchPlan, batches: int, rank: int = 0, world_size: int = 1) -> None:
        self.split = split
        self.plan = plan
        self.batches = batches
        self.rank = rank
        self.world_size = world_size
        self._epoch: tuple[int, list[np.ndarray]] = (-1, [])

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, position: int) -> Batch:
        epoch, index = divmod(position, len(self.plan))
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self.plan.epoch(epoch))
        return shard(self.split, self._epoch[1][index], self.rank, self.world_size)


class FromPosition(torch.utils.data.Sampler[int]):
    """Positions of a stream from `start` on; its length is that of the whole stream, as Lightning counts."""

    def __init__(self, length: int, start: int = 0) -> None:
        self.length = length
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.length))

    def __len__(self) -> int:
        return self.length


def shard(split: EncodedSplit, rows: np.ndarray, rank: int, world_size: int) -> Batch:
    """The part of a global batch that one rank trains on; `nothing` where no sentence is left for it."""
    mine = rows[rank::world_size]
    batch = collate(split, mine) if len(mine) else nothing(split, rows[0])
    batch.global_tokens = int(split.target.lengths[rows].sum()) + len(rows)
    return batch


def deal(split: EncodedSplit, batches: list[np.ndarray], rank: int, world_size: int) -> list[Batch]:
    """The batches of a rank where each goes whole to one of them, so that it is the same on any number of ranks.

    All ranks get equally many; the last of some is `nothing`.
    """
    turns = -(-len(batches) // world_size)
    mine = [collate(split, rows) for rows in batches[rank::world_size]]
    return mine + [nothing(split, batches[0][0])] * (turns - len(mine))


def nothing(split: EncodedSplit, row: int) -> Batch:
    """A sentence with its target masked: takes part in a step and contributes neither loss nor tokens."""
    batch = collate(split, np.array([row]))
    batch.target.fill_(PAD)
    batch.target_lengths.zero_()
    batch.global_tokens = 0
    return batch


def collate(split: EncodedSplit, rows: np.ndarray) -> Batch:
    """Makes a batch of the given rows of a split."""
    rows = np.asarray(rows)
    source = _padded(split.source, rows, after=EOS)
    target = _padded(split.target, rows, after=EOS)
    source_lengths = split.source.lengths[rows] + 1
    target_lengths = split.target.lengths[rows] + 1
    previous = np.empty_like(target)
    previous[:, 0] = BOS
    previous[:, 1:] = target[:, :-1]
    previous[previous == EOS] = PAD
    return Batch(
        source=torch.from_numpy(source),
        source_lengths=torch.from_numpy(np.asarray(source_lengths, dtype=np.int64)),
        previous=torch.from_numpy(previous),
        target=torch.from_numpy(target),
        target_lengths=torch.from_numpy(np.asarray(target_lengths, dtype=np.int64)),
        indices=torch.from_numpy(np.asarray(rows, dtype=np.int64)),
        global_tokens=int(target_lengths.sum()),
    )


def _padded(sentences: Ragged, rows: np.ndarray, after: int) -> np.ndarray:
    """The sentences, each with `after` behind it, padded to the longest: (rows, longest + 1) int64."""
    lengths = sentences.lengths[rows]
    starts = np.asarray(sentences.offsets)[rows]
    padded = np.full((len(rows), int(lengths.max()) + 1), PAD, dtype=np.int64)
    ends = np.cumsum(lengths)
    positions = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = sentences.tokens[positions]
    padded[np.arange(len(rows)), lengths] = after
    return padded
