"""Claims about memory: what recurrence loses over distance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from lit_nmt.claims.contrasts import LEAST_BLEU, length_bins, primary_cells, seeds_in_words, too_few_seeds
from lit_nmt.claims.verdicts import Criterion, Finding, Tables, conclude, decide, table, undecided
from lit_nmt.evaluation import ALL, Cell
from lit_nmt.intervals import Interval, nested_interval, resampled_sums
from lit_nmt.metrics import SEED, is_exact

if TYPE_CHECKING:
    from lit_nmt.studies import Study

PAPER = (
    "Bengio et al. 1994, doi:10.1109/72.279181; Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; "
    "Pascanu et al. 2013, arXiv:1211.5063"
)
SLOPE = "slope of the log gradient norm per subword of distance"
LOSS = "share of sentences recalled after the shortest delay less after the longest"


@dataclass(frozen=True)
class Forgetting(Criterion):
    """Of `recurrent_nets_forget`.

    Attributes:
        recurrent: Models, each judged by itself.
        recall: The corpus that asks to recall a word.
        smallest_loss: Of interest, of the share of sentences recalled.
        floor: Share recalled after the shortest delay.
    """

    recurrent: list[str] = field(default_factory=lambda: ["seq2seq"])
    recall: str = "recall"
    smallest_loss: float = 0.1
    floor: float = 0.5

    def named(self) -> Mapping[str, Sequence[str]]:
        return {"recurrent": self.recurrent}


def recurrent_nets_forget(study: Study, tables: Tables, criterion: Forgetting) -> list[Finding]:
    """A recurrent network forgets: what it has read long ago has no influence left, and is not learned from.

    Source: Bengio et al. 1994 and Pascanu et al. 2013, section 2, for plain recurrence, whose gradients fall (or
    grow) exponentially with the steps between; Hochreiter & Schmidhuber 1997 for the LSTM as the remedy. So each
    model that is named is judged by itself, on two things.

    Statistic: first, the slope of the logarithm of the gradient's norm (of the loss of the last target word, with
    respect to each source word) against the distance of the two, within sentences; before and after training.
    Second, how much smaller the share of sentences is in which a word is recalled after the longest delay than
    after the shortest. Intervals over seeds (t), with sentences resampled. Each is judged by itself.

    Supported where the gradient falls by more than `smallest_effect` (0.05: by 5 % a subword), or the share by more
    than `smallest_loss`, with the whole interval; refuted where it falls by less. Inconclusive with a single seed;
    after training, of a model that translates that text with less than 5 BLEU, which may keep what it has read and
    make nothing of it; and of recall where not even the shortest delay is mastered (`floor`). Before training the
    gradient is that of the weights as they were drawn: between states orthogonal, and the LSTM's forget gate open by
    a bias of 1.
    """
    gradients = slopes(table(tables, "gradients"))
    delays = length_bins(study, primary_cells(study, tables).get(criterion.recall, []))
    bleu = _bleu(study, tables)
    found = [
        _gradient_finding(study, slope, gradients, criterion, bleu)
        for slope in gradients
        if slope.model in criterion.recurrent
    ]
    found += [_recall_finding(study, delays, model, criterion) for model in criterion.recurrent if len(delays) > 1]
    for part, statistic, reason in (
        ("gradients", SLOPE, "no gradients of these models; the study's key `probe` asks for them"),
        ("recall", LOSS, f"no two delays in the corpus {criterion.recall}"),
    ):
        if not any(finding.statistic.startswith(statistic) for finding in found):
            found.append(undecided(part, statistic, PAPER, reason))
    return found


def _bleu(study: Study, tables: Tables) -> dict[tuple[str, str], float]:
    """BLEU of the primary score by corpus and model, the mean of its seeds."""
    return {
        (corpus, model): bleu
        for corpus, own in primary_cells(study, tables).items()
        for cell in own
        if cell.test_set == study.primary.test_set and cell.bin == ALL
        for model, bleu in cell.mean_bleu(study.primary.case).items()
    }


def _gradient_finding(
    study: Study,
    slope: Slope,
    gradients: list[Slope],
    criterion: Forgetting,
    bleu: dict[tuple[str, str], float],
) -> Finding:
    value, low, high, _ = slope.interval
    reasons = too_few_seeds(study, slope.seeds, [(slope.corpus, slope.model)])
    own = bleu.get((slope.corpus, slope.model), math.nan)
    if slope.training == "after" and not own >= LEAST_BLEU:
        reasons.append(
            f"{slope.model} does not reach {LEAST_BLEU:g} BLEU on {slope.corpus}"
            + (f": {own:.1f}" if own == own else ", of which it has no translations")
        )
    verdict = decide(-high, -low, criterion.smallest_effect)
    beside = [
        f"{other.model} {other.interval.value:.3f}"
        for other in gradients
        if other.model not in criterion.recurrent and (other.corpus, other.training) == (slope.corpus, slope.training)
    ]
    notes = [
        f"the norm {'falls' if value < 0 else 'grows'} by {abs(math.expm1(value)):.1%} a subword"
        + (f", to half in {math.log(2) / -value:.1f}" if high < 0 else ""),
        *([f"beside it {', '.join(beside)}"] if beside else []),
        seeds_in_words(len(slope.seeds)),
    ]
    part = f"{slope.model}, gradients {slope.training} training, {slope.corpus}"
    statistic = f"{SLOPE}, {slope.training} training"
    return conclude(part, statistic, PAPER, slope.interval, verdict, reasons, notes, "gradients.parquet")


def _recall_finding(study: Study, delays: list[Cell], model: str, criterion: Forgetting) -> Finding:
    part = f"{model}, recall, {delays[0].corpus}"
    seeds = delays[0].seeds(model)
    places = [*seeds.values()]
    if not places:
        return undecided(part, LOSS, PAPER, f"no translations by {model}")
    # (delays, systems, sentences of the delay, 1)
    right = [is_exact(cell.statistics)[..., None] for cell in delays]
    shares = np.array([exact.mean(axis=(1, 2)) for exact in right])
    resampled = [
        resampled_sums(right[end], seed=(SEED, number))[..., 0] / right[end].shape[1]
        for number, end in enumerate((0, -1))
    ]
    interval = nested_interval((shares[0] - shares[-1])[places], (resampled[0] - resampled[1])[places])
    own, floor = shares[:, places].mean(axis=1), criterion.floor
    reasons = too_few_seeds(study, seeds, [(delays[0].corpus, model)])
    if own[0] < floor:
        reasons.append(f"less than {floor:g} of the sentences are right after the shortest delay, {delays[0].bin}")
    curve = ", ".join(f"{share:.0%} at {cell.bin}" for cell, share in zip(delays, own, strict=True))
    others = [name for name in dict.fromkeys(name for name, _ in delays[0].systems) if name not in criterion.recurrent]
    beside = [f"{name} {shares[-1][[*delays[-1].seeds(name).values()]].mean():.0%}" for name in others]
    notes = [
        f"right: {curve} source words",
        *([f"beside it, at {delays[-1].bin}: {', '.join(beside)}"] if beside else []),
        seeds_in_words(len(places)),
    ]
    decided = decide(interval.low, interval.high, criterion.smallest_loss)
    return conclude(part, LOSS, PAPER, interval, decided, reasons, notes, "sentences.parquet")


class Slope(NamedTuple):
    """How the log norm of a model's gradients changes with distance; `interval` as in `nested_interval`."""

    corpus: str
    model: str
    training: str
    seeds: list[int]
    interval: Interval


def slopes(gradients: pd.DataFrame) -> list[Slope]:
    """The slope of the log norm against distance of each model, before and after training.

    Least squares with an intercept for each sentence, so that sentences are not compared with one another. It is a
    ratio of two sums over sentences, which are resampled whole.

    Args:
        gradients: the content of `gradients.parquet`.
    """
    found: list[Slope] = []
    if gradients.empty:
        return found
    for (corpus, model, training), rows in gradients.groupby(
        ["corpus", "model", "training"], sort=False, observed=True
    ):
        sentence = rows.groupby(["seed", "id"])
        far = rows["distance"] - sentence["distance"].transform("mean")
        products = rows.assign(products=far * rows["log_norm"].astype(float), squares=far**2)
        sums = products.groupby(["id", "seed"])[["products", "squares"]].sum().unstack("seed").dropna()
        # (seeds, sentences, 2)
        statistics = np.stack([sums[name].to_numpy().T for name in ("products", "squares")], axis=-1)
        resampled = resampled_sums(statistics, seed=SEED)
        totals = statistics.sum(axis=1)
        interval = nested_interval(totals[:, 0] / totals[:, 1], resampled[..., 0] / resampled[..., 1])
        found.append(Slope(str(corpus), str(model), str(training), list(sums["products"].columns), interval))
    return found
