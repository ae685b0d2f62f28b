"""sacreBLEU's BLEU and chrF as functions of integers per sentence that add up over sentences.

BLEU (Papineni et al. 2002) and chrF (Popović 2015) need n-gram counts alone. They are taken from a
translation once (`Scorer`) and kept; a corpus, a length bin or a bootstrap resample is a sum of them, and
sacreBLEU's own formula turns the sum into its score. A number travels with its `signature`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

SEED = 12345
"""The seed of every bootstrap: sacreBLEU's own default."""

Case = Literal["mixed", "lc"]
CASES: tuple[Case, ...] = ("mixed", "lc")

COLUMNS = {"mixed": slice(0, 10), "lc": slice(10, 20), "chrf": slice(20, 38)}
STATISTICS = (
    *(f"bleu_mixed_{i}" for i in range(10)),
    *(f"bleu_lc_{i}" for i in range(10)),
    *(f"chrf_{i}" for i in range(18)),
)
"""Columns of the cached counts. BLEU: hypothesis length, reference length, 4 matches, 4 totals; chrF:
hypothesis, reference and matching n-grams for n = 1 to 6."""


@cache
def _metric(name: str) -> BLEU | CHRF:
    settings: dict[str, Any] = {
        "lowercase": name == "lc",
        "tokenize": "13a",
        "force": True,
        "effective_order": name == "sentence",
    }
    metric = CHRF() if name == "chrf" else BLEU(**settings)
    metric.num_refs = 1
    return metric


def signature(name: str, resamples: int | None = None) -> str:
    """The sacreBLEU signature of `name` ("mixed", "lc", "chrf" or "sentence"), as sacreBLEU prints it before a score.

    It holds sacreBLEU's version and, where the number comes with a bootstrap interval, the resamples and
    their seed.
    """
    made = _metric(name).get_signature()
    if resamples is not None:
        made.update("bs", resamples)
        made.update("seed", SEED)
    return f"{'chrF2' if name == 'chrf' else 'BLEU'}|{made.format()}"


class Scorer:
    """Counts the n-grams that hypotheses share with references, whose own n-grams are counted once."""

    def __init__(self, references: Sequence[str]) -> None:
        self.references = len(references)
        self._metrics = (
            BLEU(tokenize="13a", force=True, references=[references]),
            BLEU(tokenize="13a", force=True, lowercase=True, references=[references]),
            CHRF(references=[references]),
        )

    def statistics(self, hypotheses: Sequence[str]) -> np.ndarray:
        """Counts of each hypothesis against its reference: (sentences, 38) integers, ordered as `STATISTICS`.

        Raises:
            ValueError: if there are not as many hypotheses as references.
        """
        if len(hypotheses) != self.references:
            raise ValueError(f"{len(hypotheses)} hypotheses for {self.references} references")
        if not self.references:
            return np.zeros((0, len(STATISTICS)), dtype=np.int64)
        counts = [metric._extract_corpus_statistics(hypotheses, None) for metric in self._metrics]
        return np.concatenate([np.asarray(part, dtype=np.int64) for part in counts], axis=1)


def corpus_bleu(statistics: np.ndarray, case: Case) -> float:
    """BLEU of sentences with these counts (sentences, 38): what sacreBLEU's `corpus_score` gives."""
    sums = statistics[:, COLUMNS[case]].sum(axis=0)
    return float(_metric(case)._compute_score_from_stats([int(count) for count in sums]).score)


def is_exact(statistics: np.ndarray) -> np.ndarray:
    """Whether hypotheses with these counts (..., 38) say what their references say, in at most four tokens: (...).

    Then the run of all tokens is among the n-grams. Of longer sentences it tells that all n-grams up to four match.
    """
    counts = statistics[..., COLUMNS["mixed"]]
    return (counts[..., 0] == counts[..., 1]) & (counts[..., 2:6] == counts[..., 6:10]).all(axis=-1)


def corpus_chrf(statistics: np.ndarray) -> float:
    """chrF of sentences with these counts (sentences, 38): what sacreBLEU's `corpus_score` gives."""
    sums = statistics[:, COLUMNS["chrf"]].sum(axis=0)
    return float(_metric("chrf")._compute_score_from_stats([int(count) for count in sums]).score)


def length_ratio(statistics: np.ndarray, case: Case) -> float:
    """Hypothesis tokens per reference token over sentences with these counts, (sentences, 38)."""
    hypothesis, reference = statistics[:, COLUMNS[case]][:, :2].sum(axis=0)
    return float(hypothesis / reference) if reference else float("nan")


def bleu_of_sums(sums: np.ndarray) -> np.ndarray:
    """BLEU of many corpora at once: from summed counts (..., 10) to scores (...).

    A score that is printed comes from sacreBLEU itself (`corpus_bleu`); this is its formula, with its "exp"
    smoothing, for the thousands of resamples behind an interval, and equals it up to rounding.
    """
    sums = np.asarray(sums, dtype=np.float64)
    hypothesis, reference, correct, total = sums[..., 0], sums[..., 1], sums[..., 2:6], sums[..., 6:10]
    missed = correct == 0
    halvings = np.cumsum(missed, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(missed, 0.5**halvings, correct) / total
        brevity = np.where(hypothesis < reference, np.exp(1 - reference / hypothesis), 1.0)
        score = 100 * brevity * np.exp(np.log(precision).mean(axis=-1))
    undefined = (total == 0).any(axis=-1) | missed.all(axis=-1)
    return np.where(undefined, 0.0, score)


def chrf_of_sums(sums: np.ndarray) -> np.ndarray:
    """chrF for many corpora at once: from summed counts (..., 18) to scores (...), by sacreBLEU's formula.

    Precision and recall are averaged over the n-gram orders that both sides have, then joined with beta 2
    (Popović 2015).
    """
    sums = np.asarray(sums, dtype=np.float64).reshape(*np.shape(sums)[:-1], 6, 3)
    hypothesis, reference, matches = sums[..., 0], sums[..., 1], sums[..., 2]
    counted = (hypothesis > 0) & (reference > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        orders = counted.sum(axis=-1)
        precision = np.where(counted, matches / hypothesis, 0.0).sum(axis=-1) / orders
        recall = np.where(counted, matches / reference, 0.0).sum(axis=-1) / orders
        score = 100 * 5 * precision * recall / (4 * precision + recall)
    return np.nan_to_num(score)


def sentence_scores(statistics: np.ndarray) -> np.ndarray:
    """BLEU and chrF of each sentence, (sentences, 2), from counts (sentences, 38); cased.

    sacreBLEU's `sentence_score`: BLEU is smoothed and leaves out the orders that a short hypothesis lacks (Chen and
    Cherry 2014), so it averages to no corpus score.
    """
    bleu, chrf = _metric("sentence"), _metric("chrf")
    rows = [
        (
            bleu._compute_score_from_stats(counts[COLUMNS["mixed"]].tolist()).score,
            chrf._compute_score_from_stats(counts[COLUMNS["chrf"]].tolist()).score,
        )
        for counts in statistics
    ]
    return np.array(rows, dtype=float).reshape(-1, 2)
