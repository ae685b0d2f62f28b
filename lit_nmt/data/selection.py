"""Which pairs of which text make up each split: filters, duplicates, held-out pairs, subsets.

Nothing here reads a file. A text is scanned once into four numbers a pair, and every decision is a pure
function of these arrays, so it is the same on every machine and takes 24 bytes a pair however long the text.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lit_nmt.data.corpora import CorpusConfig, FiltersConfig
from lit_nmt.errors import UserError

# Reasons in the order they are judged; a pair is counted under the first that applies.
REASONS = ("empty", "too_short", "too_long", "length_ratio", "identical", "held_out", "duplicate", "limit")
_CODE = {reason: code for code, reason in enumerate(REASONS, start=1)}


@dataclass(frozen=True)
class Scan:
    """A text as numbers, one entry per pair.

    Attributes:
        source_words: Whitespace-separated words of the source, int32.
        target_words: The same of the target.
        source_digests: 64 bits of the source sentence, its runs of whitespace as one space, uint64.
        pair_digests: 64 bits of both sentences as they are, uint64.
        identical: Whether the two sides are equal.
    """

    source_words: np.ndarray
    target_words: np.ndarray
    source_digests: np.ndarray
    pair_digests: np.ndarray
    identical: np.ndarray

    def __len__(self) -> int:
        return len(self.source_words)


@dataclass(frozen=True)
class Selection:
    """The rows of `origin`'s text that make up a split, in the text's order, and why the others do not."""

    origin: str
    rows: np.ndarray
    dropped: dict[str, int]


def digest_of(text: str) -> int:
    """64 bits that stand for a text, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")


def scan(pairs: Iterable[tuple[str, str]]) -> Scan:
    """Reads a text once; see `Scan`."""
    source_words, target_words, identical = array("i"), array("i"), array("b")
    source_digests, pair_digests = array("Q"), array("Q")
    for source, target in pairs:
        words = source.split()
        source_words.append(len(words))
        target_words.append(len(target.split()))
        source_digests.append(digest_of(" ".join(words)))
        pair_digests.append(digest_of(f"{source}\n{target}"))
        identical.append(source == target)
    return Scan(
        np.frombuffer(source_words, np.int32),
        np.frombuffer(target_words, np.int32),
        np.frombuffer(source_digests, np.uint64),
        np.frombuffer(pair_digests, np.uint64),
        np.frombuffer(identical, np.int8).astype(bool),
    )


def failing_filter(text: Scan, filters: FiltersConfig) -> np.ndarray:
    """The reason, as 1 + its place in `REASONS`, why a pair fails by its own words; 0 where it passes."""
    source, target = text.source_words, text.target_words
    shorter, longer = np.minimum(source, target), np.maximum(source, target)
    failing = {"empty": shorter == 0, "too_short": shorter < filters.min_words}
    if filters.max_words is not None:
        failing["too_long"] = longer > filters.max_words
    if filters.max_length_ratio is not None:
        failing["length_ratio"] = longer > filters.max_length_ratio * shorter
    if filters.drop_identical:
        failing["identical"] = text.identical
    verdict = np.zeros(len(text), np.int8)
    for reason, applies in failing.items():
        verdict[(verdict == 0) & applies] = _CODE[reason]
    return verdict


def hold_out(text: Scan, free: np.ndarray, pairs: int, bins: list[list[int]], where: str) -> np.ndarray:
    """Chooses held-out pairs by the digest of their source sentence, each sentence once.

    Args:
        text: The split to take from.
        free: Which of its pairs may be taken.
        pairs: How many to take.
        bins: Ranges [low, high] of source words to take equally many from; empty for no ranges.
        where: What to call the place in an error.

    Returns:
        The rows taken, ascending.

    Raises:
        UserError: A range, or the text, has fewer different source sentences.
    """
    rows = distinct(text, np.flatnonzero(free))
    taken = []
    for place, (low, high) in enumerate(bins or [[1, np.iinfo(np.int32).max]]):
        words = text.source_words[rows]
        within = rows[(words >= low) & (words <= high)]
        # The first ranges take one more where the pairs do not divide evenly.
        wanted = pairs if not bins else pairs // len(bins) + (place < pairs % len(bins))
        if len(within) < wanted:
            limits = f" of {low}-{high} words" if bins else ""
            raise UserError(
                f"{where}: {wanted:,} different source sentences{limits} wanted, {len(within):,} found; "
                f"ask for fewer pairs"
            )
        taken.append(within[:wanted])
    return np.sort(np.concatenate(taken))


def distinct(text: Scan, rows: np.ndarray) -> np.ndarray:
    """Of these rows each source sentence once, by ascending digest, so that the order of the lines decides nothing.

    Of several translations of a sentence it is the one of smallest digest.
    """
    rows = rows[np.lexsort((text.pair_digests[rows], text.source_digests[rows]))]
    return rows[np.unique(text.source_digests[rows], return_index=True)[1]]


def smallest(digests: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """The `count` rows of smallest digest, ascending: fewer always lie within more."""
    if len(rows) <= count:
        return rows
    return np.sort(rows[np.argsort(digests[rows], kind="stable")[:count]])


def select(config: CorpusConfig, texts: Mapping[str, Scan]) -> dict[str, Selection]:
    """Decides the rows of every split.

    Validation and test sets are kept whole but for what others hold out of them and their `limit`; the
    training split is filtered and loses every pair whose source sentence was held out of it.

    Args:
        config: The corpus.
        texts: The scan of every split that has text of its own, by the split's name.

    Raises:
        UserError: Nothing is left of a split, or too little to hold out.
    """
    held_out: dict[str, np.ndarray] = {}
    sentences_held_out: dict[str, list[np.ndarray]] = {name: [] for name in texts}
    for name, split in config.splits.items():
        if split.kind == "holdout":
            text = texts[split.of]
            free = (text.source_words > 0) & (text.target_words > 0)
            free &= ~_within(text.source_digests, sentences_held_out[split.of])
            rows = hold_out(text, free, split.pairs or 0, split.bins, f"corpus {config.name}.splits.{name}")
            held_out[name] = rows
            sentences_held_out[split.of].append(text.source_digests[rows])

    selected: dict[str, Selection] = {}
    for name in config.prepared:
        split = config.splits[name]
        if name == "train":
            continue
        if name in held_out:
            origin, rows, dropped = split.of, held_out[name], np.zeros(0, np.int8)
        else:
            origin, text = name, texts[name]
            dropped = np.where(_within(text.source_digests, sentences_held_out[name]), _CODE["held_out"], 0)
            rows = np.flatnonzero(dropped == 0)
        selected[name] = _limited(config, name, origin, texts[origin], rows, dropped)

    text = texts["train"]
    verdict = failing_filter(text, config.filters)
    excluded = list(sentences_held_out["train"])
    if config.filters.drop_held_out:
        excluded += [texts[entry.origin].source_digests[entry.rows] for entry in selected.values()]
    verdict[(verdict == 0) & _within(text.source_digests, excluded)] = _CODE["held_out"]
    # A joined split has each sentence once a round; one that stands alone again in another round is meant to.
    if config.filters.drop_duplicates and config.splits["train"].kind != "joined":
        rows = np.flatnonzero(verdict == 0)
        first = np.unique(text.pair_digests[rows], return_index=True)[1]
        repeated = np.ones(len(rows), bool)
        repeated[first] = False
        verdict[rows[repeated]] = _CODE["duplicate"]
    rows = np.flatnonzero(verdict == 0)
    return {"train": _limited(config, "train", "train", text, rows, verdict), **selected}


def _within(digests: np.ndarray, sets: list[np.ndarray]) -> np.ndarray:
    return np.isin(digests, np.concatenate(sets)) if sets else np.zeros(len(digests), bool)


def _limited(
    config: CorpusConfig, name: str, origin: str, text: Scan, rows: np.ndarray, verdict: np.ndarray
) -> Selection:
    dropped = {reason: int((verdict == code).sum()) for reason, code in _CODE.items() if (verdict == code).any()}
    if not len(rows):
        why = ", ".join(f"{reason}: {count:,}" for reason, count in dropped.items()) or "its text has no lines"
        raise UserError(
            f"corpus {config.name}: nothing is left of split {name!r} ({why}); check its text and the filters"
        )
    limit = config.splits[name].limit
    if limit is not None and limit < len(rows):
        dropped["limit"] = len(rows) - limit
        rows = smallest(text.pair_digests, rows, limit)
    return Selection(origin, rows, dropped)
