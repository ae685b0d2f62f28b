"""Intervals and p-values from two kinds of chance: which sentences were tested, which seeds were trained.

Sentences are resampled (bootstrap over cached counts, Koehn 2004, W04-3250); seeds are few and independent,
so their mean gets a t interval; a claim about architectures needs both (`nested_interval`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

from lit_nmt.metrics import SEED

RESAMPLES = 1000
LEVEL = 0.95
ENOUGH_SEEDS = 5
ENTRIES_AT_ONCE = 2**22


class Interval(NamedTuple):
    """A value, its 95 % interval and the two-sided p-value of its being zero; nan where there is none."""

    value: float
    low: float
    high: float
    p_value: float = float("nan")


def resampled_sums(statistics: np.ndarray, resamples: int = RESAMPLES, seed: int | Sequence[int] = SEED) -> np.ndarray:
    """Sums of the counts over bootstrap resamples of the sentences, the same resamples for every system.

    A resample is a row of how often each sentence was drawn, so all of them are one matrix product, made
    `ENTRIES_AT_ONCE` entries at a time. The draws are those of sacreBLEU's own bootstrap with the same seed.

    Args:
        statistics: (systems, sentences, counts).

    Returns:
        (systems, resamples, counts).
    """
    systems, sentences, counts = statistics.shape
    flat = np.ascontiguousarray(statistics.transpose(1, 0, 2), dtype=np.float64).reshape(sentences, -1)
    generator = np.random.default_rng(seed)
    sums = np.empty((resamples, flat.shape[1]))
    rows_at_once = max(1, ENTRIES_AT_ONCE // max(1, sentences))
    for start in range(0, resamples, rows_at_once):
        rows = min(rows_at_once, resamples - start)
        drawn = generator.choice(sentences, size=(rows, sentences), replace=True)
        drawn += np.arange(rows)[:, None] * sentences
        times = np.bincount(drawn.ravel(), minlength=rows * sentences).reshape(rows, sentences)
        sums[start : start + rows] = times.astype(np.float64) @ flat
    return sums.reshape(resamples, systems, counts).transpose(1, 0, 2)


def percentile_interval(value: float, resampled: np.ndarray) -> Interval:
    """The percentile interval of `value` from its bootstrap replicates (resamples,)."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def paired_bootstrap(a: float, b: float, resampled_a: np.ndarray, resampled_b: np.ndarray) -> Interval:
    """The difference a - b over the same resamples, with the p-value of sacreBLEU's paired bootstrap test.

    Koehn 2004 (W04-3250), in the form of sacreBLEU and Moses: how often the absolute difference, less its
    mean over the resamples, exceeds the one observed. (Of systems that never differ the test would say
    1 / (resamples + 1); here p is 1.)
    """
    differences = resampled_a - resampled_b
    sizes = np.abs(differences)
    exceeding = np.sum(sizes - sizes.mean() > abs(a - b)) if sizes.any() else len(sizes)
    p_value = (exceeding + 1) / (len(sizes) + 1)
    return percentile_interval(a - b, differences)._replace(p_value=float(p_value))


def t_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """The mean of independent values, one a seed, with its t interval; a single value has none."""
    values = np.asarray(values, dtype=np.float64)
    mean, freedom = float(values.mean()), len(values) - 1
    if freedom < 1:
        return Interval(mean, float("nan"), float("nan"))
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    p_value = 2 * float(stdtr(freedom, -abs(mean) / error)) if error else float(mean == 0)
    return Interval(mean, mean - half, mean + half, p_value)


def nested_interval(values: Sequence[float] | np.ndarray, resampled: np.ndarray) -> Interval:
    """The mean over seeds, uncertain because seeds and sentences are both samples.

    For each resample of the sentences, the same for all seeds, the mean over the seeds carries the t
    distribution of the seeds (standard error from their spread on the whole test set); the interval is cut
    from the mixture of all of these. With a single seed only the sentences are resampled.

    Args:
        values: (seeds,) a score, contrast or slope on the whole test set.
        resampled: (seeds, resamples) the same on each resample.
    """
    values = np.asarray(values, dtype=np.float64)
    mean, freedom = float(values.mean()), len(values) - 1
    centres = np.asarray(resampled, dtype=np.float64).mean(axis=0)
    error = float(values.std(ddof=1)) / np.sqrt(len(values)) if freedom else 0.0
    if error <= 1e-12 * max(1.0, abs(mean)):
        below = float(np.mean(centres < 0) + np.mean(centres == 0) / 2)
        p_value = (2 * min(below, 1 - below) * len(centres) + 1) / (len(centres) + 1)
        return percentile_interval(mean, centres)._replace(p_value=min(1.0, p_value))

    def share_below(point: float) -> float:
        return float(stdtr(freedom, (point - centres) / error).mean())

    def quantile(share: float) -> float:
        reach = float(stdtrit(freedom, share)) * error
        first, last = float(centres.min()) + reach, float(centres.max()) + reach
        if last - first < 1e-12:
            return first
        return float(brentq(lambda point: share_below(point) - share, first - 1e-9, last + 1e-9))

    below = share_below(0.0)
    return Interval(mean, quantile((1 - LEVEL) / 2), quantile((1 + LEVEL) / 2), 2 * min(below, 1 - below))


def seeds_note(seeds: int) -> str:
    """What a reader has to know about an interval over this many seeds; empty from five up."""
    if seeds >= ENOUGH_SEEDS:
        return ""
    return "one seed: sentences alone" if seeds == 1 else f"few seeds ({seeds})"
