"""What a model looked at while it translated: its attention, from subwords to words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lit_nmt.data.subwords import BOS, PAD, Subwords
from lit_nmt.decoding import Decodable, padded_batches

WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"
"""What SentencePiece puts before the first subword of a word."""

SENTENCES = 40
"""Sentences of a test set whose attention is kept."""


def spread_over_lengths(lengths: np.ndarray, count: int = SENTENCES) -> list[int]:
    """So many rows, evenly spread from the shortest sentence to the longest: the same whatever was translated."""
    order = np.argsort(lengths, kind="stable")
    places = np.linspace(0, len(order) - 1, min(len(order), count)).round().astype(int)
    return sorted(int(row) for row in order[places])


@torch.inference_mode()
def forced_attention(
    model: Decodable,
    sources: Sequence[np.ndarray],
    targets: Sequence[Sequence[int]],
    *,
    max_tokens: int = 2048,
    device: torch.device | str = "cpu",
) -> list[np.ndarray] | None:
    """The attention of a model that is made to say these translations.

    Args:
        model: in evaluation mode, on `device`.
        sources: subword ids of each sentence, without EOS.
        targets: subword ids of each translation, without BOS and EOS.
        max_tokens: padded source tokens of a batch, at most.
        device: where the model is.

    Returns:
        For each sentence (target length, source length), EOS counted in both; rows sum to 1. None if the model
        has no attention.
    """
    found: list[np.ndarray] = [np.zeros((0, 0))] * len(sources)
    for rows, source, lengths in padded_batches(sources, max_tokens):
        steps = 1 + max(len(targets[row]) for row in rows)
        previous = np.full((len(rows), steps), PAD, dtype=np.int64)
        for i, row in enumerate(rows):
            previous[i, : len(targets[row]) + 1] = [BOS, *targets[row]]
        state = model.encode(source.to(device), lengths.to(device))
        weights = []
        for token in torch.from_numpy(previous).to(device).unbind(1):
            _, state, attention = model.step(token, state)
            if attention is None:
                return None
            weights.append(attention.float().cpu())
        together = torch.stack(weights, 1).numpy()
        for i, row in enumerate(rows):
            found[row] = together[i, : len(targets[row]) + 1, : int(lengths[i])]
    return found


def over_words(
    weights: np.ndarray, source: Sequence[int], target: Sequence[int], subwords: Subwords
) -> dict[str, Any]:
    """Attention between words instead of subwords.

    Attention to a word is the sum of that to its subwords, attention from a word the mean of that from its own (Clark
    et al. 2019, arXiv:1906.04341, section 4.1), so rows still sum to 1.

    Args:
        weights: (target length, source length), EOS counted in both.
        source: subword ids without EOS.
        target: likewise.
        subwords: that they are of.

    Returns:
        The words of `source` and `target`, and `weights` (target words + 1, source words + 1) in hundredths: the end
        of a sentence comes after its words.
    """
    (source_starts, source_words), (target_starts, target_words) = (_words(ids, subwords) for ids in (source, target))
    sizes = np.diff([*target_starts, len(target) + 1])
    to_words = np.add.reduceat(weights, source_starts, axis=1)
    between = np.add.reduceat(to_words, target_starts, axis=0) / sizes[:, None]
    hundredths = (100 * between).round().astype(int).tolist()
    return {"source": source_words, "target": target_words, "weights": hundredths}


def _words(ids: Sequence[int], subwords: Subwords) -> tuple[list[int], list[str]]:
    """Where each word begins, the sentence's end last, and the words."""
    ids = [int(token) for token in ids]
    pieces = subwords.pieces(ids)
    starts = [place for place, piece in enumerate(pieces) if place == 0 or piece.startswith(WORD_START)]
    ends = [*starts[1:], len(ids)]
    words = subwords.decode([ids[start:end] for start, end in zip(starts, ends, strict=False)])
    return [*starts, len(ids)], words
