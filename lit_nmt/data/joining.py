"""Sentences joined into longer ones: long text that asks no more of a model than its short sentences do.

It tests how much a model can hold, not dependencies over a distance, since no sentence depends on another. Each
sentence is translated once: it stands in one pair of a round alone, so pairs are as independent as sentences, and a
bootstrap over the pairs of a round is one over sentences, which are drawn by the pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lit_nmt.data.corpora import EquallyMany
from lit_nmt.data.selection import digest_of, distinct, scan
from lit_nmt.data.text import ParallelList
from lit_nmt.errors import UserError


@dataclass(frozen=True)
class ParallelJoined(ParallelList):
    """Pairs made by joining.

    Attributes:
        sentences: How many sentence pairs there were to join.
        dropped: How many of them no pair has, by reason; `left_over` counts those of the first round.
    """

    sentences: int
    dropped: dict[str, int]


def join(
    sentences: Iterable[tuple[str, str]],
    most: int,
    pairs: int | None = None,
    only: int | None = None,
    held_out: Sequence[np.ndarray] = (),
    where: str = "",
    equally_many: EquallyMany = "pairs",
) -> ParallelJoined:
    """Joins 1, 2, ... `most` sentences in turn, one after another with a space between, on both sides alike.

    A round takes every different source sentence once, in the order of digests, so that the order of the lines
    decides nothing. Its turns make each number of sentences equally often, 1 + 2 + ... + `most` sentences a turn; or
    equally many sentences into each number, the least common multiple of all numbers. What fills no turn is left
    over. The next round takes the sentences in another order.

    Args:
        sentences: Sentence pairs; those with an empty side are left out.
        most: Sentences in a pair, at most.
        pairs: How many pairs to make, in as many rounds as that takes; None for one round.
        only: Of the pairs made, keep those of so many sentences.
        held_out: Digests of source sentences (`Scan.source_digests`) that are left out.
        where: What to call the place in an error.
        equally_many: What every number of sentences has equally many of: `pairs`, so that most of the text is in long
            ones; or `sentences`, so that each number is as much text, in the more pairs, the shorter they are.

    Raises:
        UserError: There are too few sentences for one turn.
    """
    texts = [(source.strip(), target.strip()) for source, target in sentences]
    scanned = scan(texts)
    full = (scanned.source_words > 0) & (scanned.target_words > 0)
    free = full & ~np.isin(scanned.source_digests, np.concatenate([np.zeros(0, np.uint64), *held_out]))
    chosen = [texts[row] for row in distinct(scanned, np.flatnonzero(free))]
    turn = _turn(most, equally_many)
    needed = sum(turn)
    used = len(chosen) - len(chosen) % needed
    if not used:
        raise UserError(
            f"{where}: {len(chosen):,} different source sentences found, at least {needed} expected to join 1 to "
            f"{most}"
        )
    made: list[tuple[int, tuple[str, str]]] = []
    number = 0
    while not made or (pairs is not None and len(made) < pairs):
        order = sorted(chosen, key=lambda pair: digest_of(f"{number}\n{pair[0]}"))
        start = 0
        while start < used:
            for count in turn:
                sources, targets = zip(*order[start : start + count], strict=True)
                made.append((count, (" ".join(sources), " ".join(targets))))
                start += count
        number += 1
    dropped = {
        "empty": int((~full).sum()),
        "held_out": int((full & ~free).sum()),
        "duplicate": int(free.sum()) - len(chosen),
        "left_over": len(chosen) - used,
    }
    kept = [pair for count, pair in made[:pairs] if only in (None, count)]
    return ParallelJoined(kept, len(texts), {reason: count for reason, count in dropped.items() if count})


def _turn(most: int, equally_many: EquallyMany) -> list[int]:
    """How many sentences each pair of a turn joins."""
    numbers = range(1, most + 1)
    share = math.lcm(*numbers)
    return [number for number in numbers for _ in range(share // number if equally_many == "sentences" else 1)]
