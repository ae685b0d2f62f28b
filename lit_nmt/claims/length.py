"""Claims about sentence length: who falls behind on long sentences, and who carries on past those trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from lit_nmt.claims.contrasts import (
    TINY,
    Contrast,
    bounds,
    contrast,
    length_bins,
    log_ratio,
    primary_cells,
    seeds_in_words,
    slope_weights,
    spoken,
)
from lit_nmt.claims.verdicts import SCORED, Decision, Finding, Floor, Tables, conclude, decide, undecided
from lit_nmt.data.corpora import POOLED
from lit_nmt.errors import UserError
from lit_nmt.evaluation import ALL, Cell
from lit_nmt.intervals import Interval

if TYPE_CHECKING:
    from lit_nmt.studies import Study

Over = Literal["bins", "test sets"]
"""The parts of a text that differ in length: length bins, or test sets as a whole."""


@dataclass(frozen=True)
class Slopes(Floor):
    """What decides a claim about the slope of log(BLEU of one model / of another) over source words.

    Attributes:
        over: Over what parts, each judged apart.
        longest: Source words of the longest bin.
        beside: Further pairs of models, as [[seq2seq-wide, attention-seq2seq]], whose slopes are told in the evidence
            as exploratory.
    """

    over: list[Over] = field(default_factory=lambda: ["bins"])
    longest: float = math.inf
    beside: list[tuple[str, str]] = field(default_factory=list)

    def named(self) -> Mapping[str, Sequence[str]]:
        return {"beside": [model for pair in self.beside for model in pair]}


@dataclass(frozen=True)
class FixedVector(Slopes):
    """Of `fixed_vector_bottleneck`: a model without attention and one with it."""

    without: str = "seq2seq"
    attention: str = "attention-seq2seq"

    def named(self) -> Mapping[str, Sequence[str]]:
        return {**super().named(), "without": [self.without], "attention": [self.attention]}


@dataclass(frozen=True)
class LongSentences(Slopes):
    """Of `transformer_learns_long_sentences`: a Transformer and a recurrent model."""

    transformer: str = "transformer"
    recurrent: str = "attention-seq2seq"

    def named(self) -> Mapping[str, Sequence[str]]:
        return {**super().named(), "transformer": [self.transformer], "recurrent": [self.recurrent]}


@dataclass(frozen=True)
class UntrainedLengths(Floor):
    """Of `attention_carries_to_untrained_lengths`.

    Attributes:
        caps: Corpora and the source words that they were trained up to, as {town-max30: 30, town-max50: 50}.
        margin: Source words below a cap whose bins are left out.
        models: Default all of the study.
    """

    caps: dict[str, int] = field(default_factory=dict)
    margin: int = 0
    models: list[str] = field(default_factory=list)

    def check(self, place: str) -> None:
        if len(self.caps) != 2:
            raise UserError(f"{place}: caps: found {len(self.caps)}, expected two corpora with their longest words")

    def named(self) -> Mapping[str, Sequence[str]]:
        return {"caps": list(self.caps), "models": self.models}


def fixed_vector_bottleneck(study: Study, tables: Tables, criterion: FixedVector) -> list[Finding]:
    """One vector for a whole sentence is a bottleneck that attention removes.

    Source: Bahdanau et al. 2015, Figure 2, and Cho et al. 2014 (arXiv:1409.1259); against it Sutskever et al. 2014,
    Figure 3. If so, the model without attention falls behind the more, the longer the sentence.

    Statistic: the slope of log(BLEU without / BLEU with attention) against source words, over length bins at
    their mean length, weighted by their sentences, on the study's primary decoding of `primary.lengths`. Interval
    over seeds (t, on the slopes of seeds that both models have) with sentences resampled within each bin.

    Supported where the whole interval lies below -`smallest_effect` (per source word), refuted where it lies
    above. Inconclusive, whatever the slope, where one of the two does not reach `floor` of the other's BLEU in
    the bin named beforehand (in any bin, if none is named): its curve is flat because it has learned little at
    any length. Likewise where neither reaches 5 BLEU there, with a single seed or fewer than the study plans, or
    with fewer than two bins.

    """
    return _slope_findings(
        study,
        tables,
        criterion,
        (criterion.without, criterion.attention),
        "slope of log(BLEU without / with attention) per source word",
        "Bahdanau et al. 2015, arXiv:1409.0473, Figure 2",
        lambda slope: decide(-slope.high, -slope.low, criterion.smallest_effect),
    )


def transformer_learns_long_sentences(study: Study, tables: Tables, criterion: LongSentences) -> list[Finding]:
    """The Transformer learns long sentences well: as well, against short ones, as recurrence with attention does.

    Source: Vaswani et al. 2017, section 4: any two words are one step apart, which should make dependencies over
    a distance easier to learn. Against it Tang et al. 2018 (arXiv:1808.08946), who find that it does no better than
    recurrence at agreement over a distance.

    Statistic: the slope of log(BLEU Transformer / BLEU attention seq2seq) against source words, as in
    `fixed_vector_bottleneck`, over bins of lengths that were trained on.

    Supported where the whole interval lies above -`smallest_effect` (the smallest decline of interest, per
    source word), refuted where it lies below. Inconclusive, whatever the slope, where either model does not
    reach `floor` of the other's BLEU, as there.
    """
    return _slope_findings(
        study,
        tables,
        criterion,
        (criterion.transformer, criterion.recurrent),
        "slope of log(BLEU Transformer / attention seq2seq) per source word",
        "Vaswani et al. 2017, arXiv:1706.03762, section 4",
        lambda slope: decide(slope.low, slope.high, -criterion.smallest_effect),
    )


def _slope_findings(
    study: Study,
    tables: Tables,
    criterion: Slopes,
    arms: tuple[str, str],
    statistic: str,
    paper: str,
    decision: Callable[[Interval], Decision],
) -> list[Finding]:
    """The slope of log(BLEU of the first arm / of the second) over source words, a finding a corpus."""
    found = []
    for corpus, cells in primary_cells(study, tables, arms).items():
        for over in criterion.over:
            parts = _parts(study, cells, over, criterion.longest)
            labels = [cell.bin if over == "bins" else cell.test_set for cell in parts]
            where = study.primary.length_set if over == "bins" else f"over {over}"
            part = f"{corpus}, {where}, {study.primary.decoding}"
            measured = contrast(study, [(cell, cell) for cell in parts], arms, labels=labels)
            if measured is None or len(parts) < 2:
                seeds = len(measured.seeds) if measured else 0
                reason = f"parts: {len(parts)}, two needed; seeds that both models have: {seeds}, one needed"
                found.append(undecided(part, statistic, paper, reason))
                continue
            weights = slope_weights(measured.words, measured.sizes)
            slope = measured.log_ratio(weights)
            reasons = measured.reasons(criterion, in_logarithms=weights)
            notes = _notes(measured)
            for pair in criterion.beside:
                cells_beside = primary_cells(study, tables, pair).get(corpus, [])
                others = _parts(study, cells_beside, over, criterion.longest)
                beside = contrast(study, [(cell, cell) for cell in others], pair, labels=labels)
                notes += [_beside(beside, criterion)] if beside else []
            found.append(conclude(part, statistic, paper, slope, decision(slope), reasons, notes, SCORED))
    return found or [undecided("", statistic, paper, f"no translations by {arms[0]} and {arms[1]}")]


def _parts(study: Study, cells: Sequence[Cell], over: Over, longest: float) -> list[Cell]:
    """The parts of a text that differ in length, from the shortest: bins, or whole test sets."""
    if over == "bins":
        return [cell for cell in length_bins(study, cells) if bounds(cell.bin)[1] <= longest]
    whole = [cell for cell in cells if cell.bin == ALL and cell.test_set != POOLED]
    return sorted(whole, key=lambda cell: float(cell.source_words.mean()))


def _notes(measured: Contrast) -> list[str]:
    first, second = measured.arms
    kept = measured.means[-1] / np.maximum(measured.means[0], TINY)
    weights = slope_weights(measured.words, measured.sizes)
    gap = measured.difference(10 * weights)
    on_chrf = float((weights @ log_ratio(measured.chrf)).mean())
    return [
        measured.curve(),
        f"source words in them on average: {', '.join(f'{mean:.1f}' for mean in measured.words)}",
        f"longest part over shortest: {kept[0]:.2f} {first}, {kept[1]:.2f} {second}",
        f"BLEU of {first} less {second} changes by {spoken(gap)} per 10 words (exploratory)",
        f"on chrF, which never comes near 0, the slope is {on_chrf:.4f} (exploratory)",
        measured.seeds_told(4, weights @ log_ratio(measured.bleu)),
    ]


def _beside(measured: Contrast, criterion: Slopes) -> str:
    weights = slope_weights(measured.words, measured.sizes)
    slope = measured.log_ratio(weights)
    learned_little = measured.reasons(criterion, in_logarithms=weights)[len(measured.few_seeds) :]
    level = measured.difference(measured.sizes / measured.sizes.sum())
    first, second = measured.arms
    return (
        f"beside it (exploratory) {first} / {second}: slope {spoken(slope, 4)}, mean difference "
        f"{spoken(level, 1)} BLEU, {seeds_in_words(len(measured.seeds))}"
        + "".join(f" (but {reason})" for reason in learned_little)
    )


def attention_carries_to_untrained_lengths(study: Study, tables: Tables, criterion: UntrainedLengths) -> list[Finding]:
    """With attention, what was learned on short sentences carries to longer ones than were trained on.

    Source: Bahdanau et al. 2015, Figure 2, who train on at most 30 and at most 50 words. Of the Transformer
    with absolute positions Neishi & Yoshinaga 2019 (K19-1031) and Varis & Bojar 2021 (arXiv:2109.07276) find the
    opposite. So every model is judged, a part each.

    Statistic: the share of BLEU that is kept beyond the cap. In each length bin BLEU of the model trained up to
    the lower cap is divided by that of the same model trained up to the higher one; the mean of the bins
    between the caps, which only the second was trained on, over the mean of those within both (geometric means,
    weighted by sentences). So 1 is no loss, and what makes one of the two trainings better at every length
    cancels. What does not: of equally many target tokens, training up to the lower cap spends more on short
    sentences; so the ratio before it is divided stands in the evidence. A cap holds for both sides of a training
    pair, a bin for the source alone: just below a cap many translations are longer than any that was trained on, so
    the bins within a `margin` below a cap are left out.
    Interval over seeds and sentences, as in `fixed_vector_bottleneck`, on the logarithm.

    Supported where the whole interval lies above `smallest_effect` (a share, as 0.9), refuted where it lies
    below. Inconclusive where an arm does not reach `floor` of the best BLEU of these models in a bin within both
    caps, or neither 5 BLEU there: who knows nothing has nothing to lose. Likewise where one of these models is absent,
    with a single seed or fewer than the study plans.
    """
    statistic = "share of BLEU kept beyond the trained lengths"
    paper = "Bahdanau et al. 2015, arXiv:1409.0473, Figure 2"
    caps, models, margin = criterion.caps, criterion.models or list(study.models), criterion.margin
    found = primary_cells(study, tables, models)
    if not caps.keys() <= found.keys():
        return [undecided("", statistic, paper, f"no translations of two corpora with caps ({', '.join(caps)})")]
    (short, low), (long, high) = sorted(caps.items(), key=lambda item: item[1])
    parts = list(zip(length_bins(study, found[short]), length_bins(study, found[long]), strict=False))
    lowest, highest = (np.array([bounds(a.bin)[end] for a, _ in parts]) for end in (0, 1))
    within, beyond = highest <= low - margin, (lowest > low) & (highest <= high - margin)
    measured = {
        model: contrast(study, parts, (model, model), (f"trained up to {low} words", f"up to {high}"))
        for model in models
    }
    best = np.array([max(max(cell.mean_bleu(study.primary.case).values()) for cell in pair) for pair in parts])
    absent = [model for model, own in measured.items() if own is None]
    unknown = [f"nothing of {', '.join(absent)}, which may be the best of these models"] if absent else []
    findings = []
    for model, own in measured.items():
        part = f"{model}, {study.primary.length_set}, {study.primary.decoding}"
        of_model = f"{statistic} by {model}"
        if own is None or not within.any() or not beyond.any():
            reason = (
                "no seed that was translated with both trainings"
                if within.any() and beyond.any()
                else f"{within.sum()} bins within {low - margin} words, {beyond.sum()} from {low + 1} to "
                f"{high - margin}; one each needed"
            )
            findings.append(undecided(part, of_model, paper, reason))
            continue
        inner, outer = np.where(within, own.sizes, 0), np.where(beyond, own.sizes, 0)
        weights = outer / outer.sum() - inner / inner.sum()
        kept = own.log_ratio(weights)
        share = Interval(*(math.exp(number) for number in kept[:3]))
        reasons = own.reasons(criterion, list(np.array(own.labels)[within]), best, weights) + unknown
        undivided = Interval(*(math.exp(number) for number in own.log_ratio(outer / outer.sum())[:3]))
        notes = [
            own.curve(),
            f"their ratio between the caps, not divided by that within both: {spoken(undivided)} (exploratory)",
            own.seeds_told(2, np.exp(weights @ log_ratio(own.bleu))),
        ]
        past = np.where(lowest > low, own.sizes, 0)
        if np.count_nonzero(past) > 1:
            further = spoken(own.log_ratio(slope_weights(own.words, past)), 4)
            notes.append(f"log of their ratio past {low} words changes by {further} per word (exploratory)")
        decided = decide(share.low, share.high, criterion.smallest_effect)
        findings.append(conclude(part, of_model, paper, share, decided, reasons, notes, SCORED))
    return findings
