"""Two arms set against each other: BLEU by parts of a text, by seeds and by resamples, and what is made of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lit_nmt.claims.verdicts import Floor, Tables, table
from lit_nmt.data.corpora import POOLED
from lit_nmt.errors import UserError
from lit_nmt.evaluation import ALL, Cell, cells
from lit_nmt.intervals import Interval, nested_interval, seeds_note
from lit_nmt.metrics import SEED, corpus_chrf

if TYPE_CHECKING:
    from lit_nmt.studies import Study

TINY = 0.01
"""BLEU below which a logarithm is cut off; a resample may match nothing."""

ONE_SEED = "one seed, so the spread over seeds is unknown"

LEAST_BLEU = 5.0
"""Where neither arm reaches so much, none has learned anything that a verdict could rest on."""


@dataclass(frozen=True)
class Contrast:
    """Two arms on the parts of a text: length bins, test sets or sizes of the training text.

    Attributes:
        arms: what the two are called.
        labels: of the parts, as "5-10".
        words: mean source words (parts,).
        sizes: sentences (parts,).
        seeds: that both arms have.
        few_seeds: why these cannot decide, as from `too_few_seeds`.
        bleu: (parts, 2 arms, seeds).
        resampled: (parts, 2 arms, seeds, resamples).
        chrf: as `bleu`.
    """

    arms: tuple[str, str]
    labels: list[str]
    words: np.ndarray
    sizes: np.ndarray
    seeds: list[int]
    few_seeds: list[str]
    bleu: np.ndarray
    resampled: np.ndarray
    chrf: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """BLEU over the seeds, (parts, 2 arms)."""
        return self.bleu.mean(axis=2)

    def log_ratio(self, weights: np.ndarray) -> Interval:
        """A weighted sum over the parts of log(BLEU of the first arm / of the second), over seeds and sentences."""
        return weighted(weights, log_ratio(self.bleu), log_ratio(self.resampled))

    def difference(self, weights: np.ndarray) -> Interval:
        """The same of BLEU of the first arm less that of the second."""
        return weighted(weights, self.bleu[:, 0] - self.bleu[:, 1], self.resampled[:, 0] - self.resampled[:, 1])

    def seeds_told(self, digits: int, values: np.ndarray) -> str:
        """What each seed says by itself, and how many there are, for the evidence.

        Args:
            values: (seeds,).
        """
        many = seeds_in_words(len(self.seeds))
        each = ", ".join(f"{seed}: {value:.{digits}f}" for seed, value in zip(self.seeds, values, strict=True))
        return f"by seed {each}; {many}" if len(self.seeds) > 1 else many

    def curve(self) -> str:
        """BLEU of both arms by part, for the evidence."""
        shown = [
            f"{label} {first:.1f} / {second:.1f}"
            for label, (first, second) in zip(self.labels, self.means, strict=True)
        ]
        return f"BLEU {self.arms[0]} / {self.arms[1]}: {', '.join(shown)}"

    def reasons(
        self,
        criterion: Floor,
        among: Sequence[str] = (),
        best: np.ndarray | None = None,
        in_logarithms: np.ndarray | None = None,
    ) -> list[str]:
        """Why these numbers cannot decide a claim, if they cannot.

        An arm that has learned little at any length shows a flat curve, or any curve. So in one part, that named as
        `floor_bin` (or, of several names, the first that is among the parts), else the one where the weaker arm does
        best, each arm must reach `floor` (a share, default 0.5) of the best arm's BLEU, and one `LEAST_BLEU`.

        Args:
            criterion: of the claim.
            among: labels of the parts where the floor may be looked for, default all.
            best: BLEU of the best arm in each part (parts,), where there are others than these two.
            in_logarithms: the weights of the parts (parts,) in a sum of logarithms, if it is one that decides.
        """
        found = list(self.few_seeds)
        labels = list(among) or self.labels
        floor, named = criterion.floor, criterion.floor_bin or []
        named = [named] if isinstance(named, str) else named
        known = [label for label in named if label in labels]
        top = self.means.max(axis=1) if best is None else best
        shares = dict(zip(self.labels, self.means.min(axis=1) / np.maximum(top, TINY), strict=True))
        place = known[0] if known else max(labels, key=lambda label: shares[label])
        where = f"the part named beforehand, {place}" if known else f"any part; the best, {place}"
        number = self.labels.index(place)
        if named and not known:
            found.append(f"the part named beforehand, {' or '.join(named)}, is not among {', '.join(labels)}")
        elif shares[place] < floor:
            weaker = self.arms[int(self.means[number].argmin())]
            found.append(f"{weaker} has less than {floor:g} of the best arm's BLEU in {where}: {shares[place]:.2f}")
        elif self.means[number].max() < LEAST_BLEU:
            found.append(f"neither arm reaches {LEAST_BLEU:g} BLEU in {where}")
        if in_logarithms is not None and (self.bleu[in_logarithms != 0] <= 0).any():
            found.append("a part scores 0 BLEU, which has no logarithm")
        return found


def slope_weights(x: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The weights (parts,) that make a sum over parts the least-squares slope against x, weighted by their sizes."""
    centred = x - np.average(x, weights=sizes)
    weights: np.ndarray = sizes * centred / (sizes * centred**2).sum()
    return weights


def weighted(weights: np.ndarray, values: np.ndarray, resampled: np.ndarray) -> Interval:
    """A weighted sum over parts, with its interval over seeds and sentences.

    Args:
        weights: (parts,).
        values: (parts, seeds).
        resampled: (parts, seeds, resamples).
    """
    return nested_interval(weights @ values, np.tensordot(weights, resampled, axes=1))


def log_ratio(bleu: np.ndarray) -> np.ndarray:
    """log(first arm / second arm) of BLEU (parts, 2 arms, ...)."""
    logarithms = np.log(np.maximum(bleu, TINY))
    ratio: np.ndarray = logarithms[:, 0] - logarithms[:, 1]
    return ratio


def contrast(
    study: Study,
    parts: Sequence[tuple[Cell, Cell]],
    models: tuple[str, str],
    arms: tuple[str, str] | None = None,
    labels: Sequence[str] = (),
    same_sentences: bool = False,
) -> Contrast | None:
    """Sets two arms against each other on the same sentences and the same resamples of them.

    Args:
        study: says which case BLEU has, and which seeds were planned.
        parts: for each part the cells of the first arm and of the second; one cell twice where both translated in one
            corpus.
        models: names of the arms in their cells.
        arms: what to call the arms, default the models' names.
        labels: of the parts, default their bins.
        same_sentences: whether all parts have the same sentences, which are then resampled alike in all.

    Returns:
        None where there are no parts, or no seed that both arms have in all of them.

    Raises:
        UserError: two cells that should have the same sentences have not.
    """
    for a, b in [*parts, *(((parts[0][0], a) for a, _ in parts) if same_sentences else ())]:
        if not np.array_equal(a.source_words, b.source_words):
            raise UserError(
                f"{a.corpus} and {b.corpus}: {a.test_set}, {a.bin}: one has other sentences; expected the same"
            )
    found = [cell.seeds(model) for pair in parts for cell, model in zip(pair, models, strict=True)]
    seeds = sorted(set.intersection(*map(set, found))) if found else []
    if not seeds:
        return None
    case = study.primary.case
    trained = {(cell.corpus, model) for pair in parts for cell, model in zip(pair, models, strict=True)}
    bleu, resampled, chrf = [], [], []
    for number, pair in enumerate(parts):
        # each part draws its own resamples
        draws = SEED if same_sentences else (SEED, number)
        drawn = [pair[0].resampled_bleu(seed=draws)[case]]
        drawn.append(drawn[0] if pair[1] is pair[0] else pair[1].resampled_bleu(seed=draws)[case])
        places = [[cell.seeds(model)[seed] for seed in seeds] for cell, model in zip(pair, models, strict=True)]
        bleu.append([cell.bleu(case)[place] for cell, place in zip(pair, places, strict=True)])
        resampled.append([values[place] for values, place in zip(drawn, places, strict=True)])
        chrf.append(
            [[corpus_chrf(cell.statistics[i]) for i in place] for cell, place in zip(pair, places, strict=True)]
        )
    return Contrast(
        arms or models,
        list(labels) or [a.bin for a, _ in parts],
        np.array([a.source_words.mean() for a, _ in parts]),
        np.array([len(a.source_words) for a, _ in parts]),
        seeds,
        too_few_seeds(study, seeds, trained),
        np.array(bleu),
        np.array(resampled),
        np.array(chrf),
    )


def primary_cells(
    study: Study,
    tables: Tables,
    models: Sequence[str] | None = None,
    bins: Sequence[Sequence[int]] | None = None,
) -> Mapping[str, list[Cell]]:
    """The study's primary decoding by corpus, default of all models in the study's bins: all bins and test sets."""
    sentences = table(tables, "sentences")
    if not len(sentences):
        return {}
    wanted = sentences["decoding"] == study.primary.decoding
    if models is not None:
        wanted &= sentences["model"].isin(models)
    pooled = POOLED in (study.primary.test_set, study.primary.length_set)
    found: dict[str, list[Cell]] = {}
    for cell in cells(sentences[wanted], study.bins if bins is None else bins, pooled):
        found.setdefault(cell.corpus, []).append(cell)
    return found


def length_bins(study: Study, found: Sequence[Cell]) -> list[Cell]:
    """The length bins that the study judges, from the shortest."""
    return [cell for cell in found if cell.test_set == study.primary.length_set and cell.bin != ALL]


def bounds(label: str) -> tuple[int, int]:
    """The lowest and highest source words of a bin's name."""
    low, _, high = label.partition("-")
    return int(low), int(high)


def spoken(interval: Interval, digits: int = 2) -> str:
    """A value with its interval, for the evidence."""
    return f"{interval.value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def too_few_seeds(study: Study, seeds: Collection[int], trained: Collection[tuple[str, str]]) -> list[str]:
    """Why these seeds cannot decide a claim, if they cannot: one alone, or fewer than the study plans.

    Whoever looks before all are there has more than one chance to see what they wish for; and were those left out
    whose training failed, a model would be judged by its luckier seeds.

    Args:
        seeds: that all have been translated with.
        trained: the (corpus, model) of which the claim is.
    """
    known = [pair for pair in trained if pair[0] in study.corpora and pair[1] in study.models]
    planned = [set(study.seeds_of(*pair)) for pair in known]
    absent = ", ".join(map(str, sorted(set.intersection(*planned) - set(seeds)) if planned else []))
    found = [f"not all planned seeds are there, or their training failed; without: {absent}"] if absent else []
    return found + ([ONE_SEED] if len(seeds) == 1 else [])


def seeds_in_words(seeds: int) -> str:
    """How many seeds there are, for the evidence."""
    return seeds_note(seeds) or f"{seeds} seeds"
