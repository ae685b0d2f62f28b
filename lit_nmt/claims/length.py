"""Claims about sentence length: who falls behind on long sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lit_nmt.claims.verdicts import Finding, Settings, Tables, decide, table, undecided
from lit_nmt.evaluation import ALL, cells
from lit_nmt.intervals import Interval, nested_interval, seeds_note
from lit_nmt.metrics import SEED
from lit_nmt.studies import POOLED

if TYPE_CHECKING:
    from lit_nmt.studies import Study


def fixed_vector_bottleneck(study: Study, tables: Tables, settings: Settings) -> list[Finding]:
    """One vector for a whole sentence is a bottleneck that attention removes.

    Source: Bahdanau et al. 2015, Figure 2, and Cho et al. 2014; against it Sutskever et al. 2014, Figure 3.
    If so, the model without attention falls behind the more, the longer the sentence.

    Statistic: the slope of log(BLEU without / BLEU with attention) against source words, over length bins at
    their mean length, weighted by their sentences, on the study's primary test set and decoding. Interval
    over seeds (t, on the slopes of seeds that both models have) with sentences resampled within each bin.

    Supported where the whole interval lies below -`smallest_effect` (per source word), refuted where it lies
    above. Inconclusive, whatever the slope, where the model without attention does not reach `floor` of the
    other's BLEU in the bin named beforehand (in any bin, if none is named): its curve is flat because it
    has learned little at any length. Likewise with a single seed, or fewer than two bins.

    Settings: `without`, `with` (models' names), `floor` (share, default 0.5), `floor_bin` ("low-high").
    """
    statistic = "slope of log(BLEU without / with attention) per source word"
    paper = "Bahdanau et al. 2015, arXiv:1409.0473, Figure 2"
    without, attention = settings.get("without", "seq2seq"), settings.get("with", "attention-seq2seq")
    primary, case = study.primary, study.primary.case
    sentences = table(tables, "sentences")
    if len(sentences):
        sentences = sentences[
            sentences["model"].isin([without, attention]) & (sentences["decoding"] == primary.decoding)
        ]
    found = []
    for corpus, rows in sentences.groupby("corpus", observed=True) if len(sentences) else []:
        parts = [
            cell
            for cell in cells(rows, study.bins, pooled=primary.test_set == POOLED)
            if cell.test_set == primary.test_set and cell.bin != ALL
        ]
        part = f"{corpus}, {primary.test_set}, {primary.decoding}"
        arms = [cell.seeds(model) for cell in parts[:1] for model in (without, attention)]
        common = sorted(arms[0].keys() & arms[1].keys()) if arms else []
        if len(parts) < 2 or not common:
            reason = f"{len(parts)} length bins, {len(common)} seeds that both models have; two bins needed"
            found.append(undecided(part, statistic, paper, reason))
            continue
        # (bins, arms, seeds) and (bins, arms, seeds, resamples); each bin draws its own resamples
        places = np.array([[arm[seed] for seed in common] for arm in arms])
        bleu = np.stack([cell.bleu(case)[places] for cell in parts])
        resampled = np.stack(
            [cell.resampled_bleu(seed=(SEED, number))[case][places] for number, cell in enumerate(parts)]
        )
        words = np.array([cell.source_words.mean() for cell in parts])
        sizes = np.array([len(cell.source_words) for cell in parts])
        slope = slope_over_bins(words, sizes, log_ratio(bleu), log_ratio(resampled))
        gap = slope_over_bins(words, sizes, bleu[:, 1] - bleu[:, 0], resampled[:, 1] - resampled[:, 0])
        means = bleu.mean(axis=2)
        reasons = _floor(settings, [cell.bin for cell in parts], means)
        reasons += ["one seed, so the spread over seeds is unknown"] if len(common) == 1 else []
        reasons += ["a bin scores 0 BLEU, which has no logarithm"] if (bleu <= 0).any() else []
        curve = ", ".join(f"{cell.bin} {low:.1f} / {high:.1f}" for cell, (low, high) in zip(parts, means, strict=True))
        notes = [
            *reasons,
            f"BLEU without / with attention at {curve} words",
            f"longest bin over shortest: {means[-1, 0] / max(means[0, 0], TINY):.2f} without, "
            f"{means[-1, 1] / max(means[0, 1], TINY):.2f} with",
            f"the difference grows by {10 * gap.value:.2f} [{10 * gap.low:.2f}, {10 * gap.high:.2f}] BLEU "
            "per 10 words (exploratory)",
            seeds_note(len(common)) or f"{len(common)} seeds",
        ]
        decided = decide(-slope.high, -slope.low, float(settings["smallest_effect"]))
        found.append(
            Finding(
                part=part,
                verdict="inconclusive" if reasons else decided,
                statistic=statistic,
                value=slope.value,
                low=slope.low,
                high=slope.high,
                paper=paper,
                evidence="; ".join(notes) + " (sentences.parquet, scores.csv)",
            )
        )
    return found or [undecided("", statistic, paper, f"no translations by {without} and {attention}")]


TINY = 0.01
"""BLEU below which a logarithm is cut off; a resample may match nothing."""


def log_ratio(bleu: np.ndarray) -> np.ndarray:
    """log(first arm / second arm) of BLEU (bins, 2 arms, ...)."""
    logarithms = np.log(np.maximum(bleu, TINY))
    return logarithms[:, 0] - logarithms[:, 1]


def slope_over_bins(words: np.ndarray, sizes: np.ndarray, values: np.ndarray, resampled: np.ndarray) -> Interval:
    """The least-squares slope of a contrast against length, over seeds and sentences.

    Args:
        words: (bins,) mean source words.
        sizes: (bins,) sentences, the weights.
        values: (bins, seeds).
        resampled: (bins, seeds, resamples).
    """
    centred = words - np.average(words, weights=sizes)
    weights = sizes * centred / (sizes * centred**2).sum()
    return nested_interval(weights @ values, np.tensordot(weights, resampled, axes=1))


def _floor(settings: Settings, bins: Sequence[str], means: np.ndarray) -> list[str]:
    """Why the arm without attention is too weak for a verdict, if it is; `means` are (bins, 2 arms)."""
    floor, named = float(settings.get("floor", 0.5)), settings.get("floor_bin")
    if named is not None and named not in bins:
        return [f"the bin named beforehand, {named}, is not among the bins ({', '.join(bins)})"]
    shares = dict(zip(bins, means[:, 0] / np.maximum(means[:, 1], TINY), strict=True))
    best = named or max(shares, key=lambda bin: shares[bin])
    if shares[best] >= floor:
        return []
    where = "the bin named beforehand" if named else "any bin; the best"
    return [f"without attention less than {floor:g} of the other's BLEU in {where}, {best}: {shares[best]:.2f}"]
