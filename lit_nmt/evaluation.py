"""Scores per source-length bin with their uncertainty, all of it from the counts in `sentences.parquet`.

Bins, bootstrap resamples and comparisons between models are sums of counts per sentence (`metrics`), so
another choice of bins or pairs neither decodes nor reads text again.

The tables of a report come from two functions:

    score_table(sentences, bins, study=..., pooled=...)             -> scores.csv
    comparison_table(sentences, pairs, bins, study=..., pooled=...) -> comparisons.csv
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from lit_nmt.data.corpora import POOLED
from lit_nmt.errors import UserError
from lit_nmt.intervals import (
    RESAMPLES,
    Interval,
    nested_interval,
    paired_bootstrap,
    resampled_sums,
    seeds_note,
    t_interval,
)
from lit_nmt.metrics import (
    CASES,
    COLUMNS,
    SEED,
    STATISTICS,
    Case,
    bleu_of_sums,
    chrf_of_sums,
    corpus_bleu,
    corpus_chrf,
    length_ratio,
    signature,
)

ALL = "all"
MEAN = "mean"

MINIMUM_SENTENCES = 100

PAIRED_BOOTSTRAP = "paired bootstrap"
OVER_SEEDS = "t over seeds"
NESTED = "t over seeds, bootstrap over sentences"

NO_INTERVAL = Interval(float("nan"), float("nan"), float("nan"))


class ScoreRow(NamedTuple):
    """A row of `scores.csv`: the score of one system on one length bin of one test set, by one signature.

    `seed` is a seed's number or "mean"; `bin` is "all" or "low-high" in source words.
    """

    study: str
    corpus: str
    model: str
    seed: str
    test_set: str
    decoding: str
    bin: str
    sentences: int
    bleu: float
    bleu_low: float
    bleu_high: float
    chrf: float
    length_ratio: float
    signature: str
    chrf_low: float
    chrf_high: float


class ComparisonRow(NamedTuple):
    """A row of `comparisons.csv`: BLEU of model a less BLEU of model b, with its interval by one method.

    `seed` is a seed's number or "mean"; `seeds` counts the seeds behind the row; `note` warns of few.
    """

    study: str
    corpus: str
    model_a: str
    model_b: str
    test_set: str
    decoding: str
    bin: str
    signature: str
    seed: str
    seeds: int
    difference: float
    low: float
    high: float
    method: str
    p_value: float
    note: str


# --------------------------------------------------------------------------------------- length bins


def choose_bins(
    source_words: np.ndarray, bins: Sequence[Sequence[int]], minimum: int = MINIMUM_SENTENCES
) -> list[tuple[int, int]]:
    """Merges bins of fewer than `minimum` sentences into their smaller neighbour, from the source side alone.

    Args:
        source_words: whitespace-separated source words of every sentence of a test set.
        bins: (lowest, highest) words, both included, ascending and disjoint.
        minimum: sentences that a bin needs; a single bin is kept however small, unless it is empty.

    Raises:
        UserError: if the bins overlap or are out of order.
    """
    kept = [(int(low), int(high)) for low, high in bins]
    for number, (low, high) in enumerate(kept):
        if low > high or (number and low <= kept[number - 1][1]):
            raise UserError(f"bins: found {list(kept[number])}; expected ascending bins [low, high] without overlap")

    def sentences(part: tuple[int, int]) -> int:
        return int(((source_words >= part[0]) & (source_words <= part[1])).sum())

    sizes = [sentences(part) for part in kept]
    while len(kept) > 1 and min(sizes) < max(1, minimum):
        small = sizes.index(min(sizes))
        neighbours = [place for place in (small - 1, small + 1) if 0 <= place < len(kept)]
        first = min(small, min(neighbours, key=lambda place: sizes[place]))
        kept[first : first + 2] = [(kept[first][0], kept[first + 1][1])]
        sizes[first : first + 2] = [sentences(kept[first])]
    return kept if kept and sizes[0] else []


# -------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class Cell:
    """The sentences of one length bin of one test set, for every system that translated them.

    Attributes:
        bin: "all" or "low-high" in source words.
        systems: (model, seed), sorted.
        statistics: (systems, sentences, 38), in the order of `STATISTICS`.
        source_words: (sentences,).
    """

    corpus: str
    test_set: str
    decoding: str
    bin: str
    systems: tuple[tuple[str, int], ...]
    statistics: np.ndarray
    source_words: np.ndarray

    def seeds(self, model: str) -> dict[int, int]:
        """The seeds of a model and their places in `systems`."""
        return {seed: place for place, (name, seed) in enumerate(self.systems) if name == model}

    def bleu(self, case: Case) -> np.ndarray:
        """Corpus BLEU of every system: (systems,)."""
        return np.array([corpus_bleu(counts, case) for counts in self.statistics])

    def mean_bleu(self, case: Case) -> dict[str, float]:
        """Corpus BLEU of every model, the mean of its seeds."""
        bleu = self.bleu(case)
        return {
            model: float(bleu[[*self.seeds(model).values()]].mean())
            for model in dict.fromkeys(name for name, _ in self.systems)
        }

    def resampled_bleu(self, seed: int | Sequence[int] = SEED) -> dict[Case, np.ndarray]:
        """BLEU of every system on the same resamples of the sentences, by case: (systems, resamples)."""
        sums = resampled_sums(self.statistics[:, :, :20], seed=seed)
        return {case: bleu_of_sums(sums[..., COLUMNS[case]]) for case in CASES}

    def resampled_chrf(self) -> np.ndarray:
        """chrF of every system on the resamples of `resampled_bleu`: (systems, resamples)."""
        return chrf_of_sums(resampled_sums(self.statistics[:, :, COLUMNS["chrf"]]))


def cells(
    sentences: pd.DataFrame,
    bins: Sequence[Sequence[int]],
    pooled: bool = False,
    minimum: int = MINIMUM_SENTENCES,
) -> Iterator[Cell]:
    """Cuts `sentences.parquet` into cells: per corpus, decoding and test set first "all", then length bins.

    Args:
        sentences: the columns corpus, model, seed, test_set, decoding, id, source_words and `STATISTICS`.
        bins: (lowest, highest) source words; `choose_bins` merges them per test set, alike for every system.
        pooled: also yields the union of each corpus's test sets, as test set "pooled", for the systems that
            translated all of them.

    Raises:
        UserError: if two systems did not translate the same sentences of a test set.
    """
    order = ["corpus", "decoding", "test_set", "model", "seed", "id"]
    for (corpus, decoding), group in sentences.groupby(["corpus", "decoding"], sort=True, observed=True):
        parts = {
            str(test_set): _align(f"{corpus}, {test_set}, {decoding}", part.sort_values(order[3:]))
            for test_set, part in group.groupby("test_set", sort=True, observed=True)
        }
        if pooled:
            shared = set.intersection(*(set(systems) for systems, _, _ in parts.values()))
            if shared:
                parts[POOLED] = (
                    tuple(sorted(shared)),
                    np.concatenate(
                        [
                            counts[[place for place, system in enumerate(systems) if system in shared]]
                            for systems, counts, _ in parts.values()
                        ],
                        axis=1,
                    ),
                    np.concatenate([words for _, _, words in parts.values()]),
                )
        for test_set, (systems, counts, words) in parts.items():
            yield Cell(str(corpus), test_set, str(decoding), ALL, systems, counts, words)
            for low, high in choose_bins(words, bins, minimum):
                inside = (words >= low) & (words <= high)
                yield Cell(
                    str(corpus),
                    test_set,
                    str(decoding),
                    f"{low}-{high}",
                    systems,
                    counts[:, inside],
                    words[inside],
                )


def _align(place: str, part: pd.DataFrame) -> tuple[tuple[tuple[str, int], ...], np.ndarray, np.ndarray]:
    """Systems, counts (systems, sentences, 38) and source words (sentences,) of one sorted test set."""
    systems = tuple((str(model), int(seed)) for model, seed in part[["model", "seed"]].drop_duplicates().to_numpy())
    identity = part[["id", "source_words"]].to_numpy()
    if (
        len(part) % len(systems)
        or not (identity.reshape(len(systems), -1) == identity[: len(part) // len(systems)].reshape(1, -1)).all()
    ):
        sizes = part.groupby(["model", "seed"], observed=True).size()
        raise UserError(
            f"{place}: models translated different sentences "
            f"({', '.join(f'{model} seed {seed}: {size}' for (model, seed), size in sizes.items())}); "
            "expected the same test set for all: translate again"
        )
    counts = part[list(STATISTICS)].to_numpy(dtype=np.int64).reshape(len(systems), -1, len(STATISTICS))
    return systems, counts, identity[: counts.shape[1], 1]


def score_table(
    sentences: pd.DataFrame,
    bins: Sequence[Sequence[int]],
    *,
    study: str,
    pooled: bool = False,
    minimum: int = MINIMUM_SENTENCES,
) -> pd.DataFrame:
    """`scores.csv`: BLEU (cased and lower-cased), chrF and length ratio per system, test set and length bin.

    Args:
        sentences: the content of `sentences.parquet`.
        bins: the study's length bins, (lowest, highest) source words.
        study: the study's name, for its column.
        pooled: whether the union of a corpus's test sets is scored too, as test set "pooled".

    Returns:
        The columns of `ScoreRow`. `seed` is a string: a seed's number, its interval from the bootstrap over
        sentences, or "mean", the mean over the model's seeds with the interval over seeds and sentences
        (`nested_interval`); bounds beyond the scale of BLEU, which few seeds give, are those of the scale. One row per
        signature: `case:mixed`, where chrF (cased) stands, with its interval, and its signature follows after a
        space, and `case:lc`, where chrF is empty.
    """
    rows: list[ScoreRow] = []
    for cell in cells(sentences, bins, pooled, minimum):
        resampled, resampled_chrf = cell.resampled_bleu(), cell.resampled_chrf()
        for case in CASES:
            cased = case == "mixed"
            signatures = [signature(case, RESAMPLES), *([signature("chrf")] if cased else [])]
            bleu = cell.bleu(case)
            chrf = np.array([corpus_chrf(counts) if cased else np.nan for counts in cell.statistics])
            ratio = np.array([length_ratio(counts, case) for counts in cell.statistics])
            for model in dict.fromkeys(name for name, _ in cell.systems):
                places = cell.seeds(model)
                for seed, chosen in (*((str(seed), [i]) for seed, i in places.items()), (MEAN, [*places.values()])):
                    interval = nested_interval(bleu[chosen], resampled[case][chosen])
                    of_chrf = nested_interval(chrf[chosen], resampled_chrf[chosen]) if cased else NO_INTERVAL
                    rows.append(
                        ScoreRow(
                            study,
                            cell.corpus,
                            model,
                            seed,
                            cell.test_set,
                            cell.decoding,
                            cell.bin,
                            len(cell.source_words),
                            interval.value,
                            max(interval.low, 0.0),
                            min(interval.high, 100.0),
                            chrf=float(chrf[chosen].mean()),
                            length_ratio=float(ratio[chosen].mean()),
                            signature=" ".join(signatures),
                            chrf_low=of_chrf.low,
                            chrf_high=of_chrf.high,
                        )
                    )
    return pd.DataFrame(rows, columns=list(ScoreRow._fields))


def comparison_table(
    sentences: pd.DataFrame,
    pairs: Sequence[Sequence[str]],
    bins: Sequence[Sequence[int]],
    *,
    study: str,
    pooled: bool = False,
) -> pd.DataFrame:
    """`comparisons.csv`: BLEU of model a less BLEU of model b, over sentences, over seeds, and over both.

    Args:
        sentences: the content of `sentences.parquet`.
        pairs: (model a, model b); a pair that a corpus lacks, or without a common seed, gives no row.
        bins, study, pooled: as in `score_table`.

    Returns:
        The columns of `ComparisonRow`. Per common seed one row of method `PAIRED_BOOTSTRAP`. With `seed`
        "mean" one row of `OVER_SEEDS` (t interval of the seeds' differences, the test set taken as it is) and
        one of `NESTED` (sentences resampled as well); with a single seed `PAIRED_BOOTSTRAP` again.
    """
    rows: list[ComparisonRow] = []
    for cell in cells(sentences, bins, pooled):
        names = {name for name, _ in cell.systems}
        wanted = [(a, b) for a, b in pairs if {a, b} <= names and cell.seeds(a).keys() & cell.seeds(b).keys()]
        if not wanted:
            continue
        resampled = cell.resampled_bleu()
        for case in CASES:
            bleu = cell.bleu(case)
            for a, b in wanted:
                in_a, in_b = cell.seeds(a), cell.seeds(b)
                common = sorted(in_a.keys() & in_b.keys())
                first, second = [in_a[seed] for seed in common], [in_b[seed] for seed in common]
                values = bleu[first] - bleu[second]
                differences = resampled[case][first] - resampled[case][second]
                found = [
                    (str(seed), 1, PAIRED_BOOTSTRAP, paired_bootstrap(*bleu[pair], *resampled[case][pair]))
                    for seed in common
                    if (pair := [in_a[seed], in_b[seed]])
                ]
                if len(common) == 1:
                    found.append((MEAN, 1, PAIRED_BOOTSTRAP, found[0][3]))
                else:
                    found.append((MEAN, len(common), OVER_SEEDS, t_interval(values)))
                    found.append((MEAN, len(common), NESTED, nested_interval(values, differences)))
                for seed, seeds, method, interval in found:
                    note = seeds_note(seeds) if seed == MEAN else ""
                    rows.append(
                        ComparisonRow(
                            study,
                            cell.corpus,
                            a,
                            b,
                            cell.test_set,
                            cell.decoding,
                            cell.bin,
                            signature(case, RESAMPLES),
                            seed,
                            seeds,
                            interval.value,
                            interval.low,
                            interval.high,
                            method,
                            interval.p_value,
                            note,
                        )
                    )
    return pd.DataFrame(rows, columns=list(ComparisonRow._fields))
