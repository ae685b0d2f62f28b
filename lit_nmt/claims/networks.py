"""The claim about networks without recurrence and attention: what they cannot do at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lit_nmt.claims.contrasts import TINY, Contrast, contrast, primary_cells, seeds_in_words
from lit_nmt.claims.verdicts import SCORED, Criterion, Finding, Tables, conclude, decide, undecided
from lit_nmt.errors import UserError
from lit_nmt.evaluation import ALL, Cell
from lit_nmt.intervals import nested_interval

if TYPE_CHECKING:
    from lit_nmt.studies import Study

PAPER = "Sutskever et al. 2014, arXiv:1409.3215, abstract and section 1"
LACK = "share of the recurrent model's BLEU that the plain network lacks"
LOSS = "share of BLEU kept, recurrent model less plain network"

LONGEST = 9999
"""Words; the end of a bin without end."""


@dataclass(frozen=True)
class PlainNetworks(Criterion):
    """Of `plain_networks_cannot_map_sequences`; what is not set is not judged.

    Attributes:
        plain: Models, each judged by itself.
        recurrent: What they are measured against.
        floor: BLEU below which a share of it means nothing.
        smallest_loss: Of interest, for length and position.
        fits, past: For length: source words up to which sentences fit, and from which they do not.
        unshifted, shifted: For position: test sets of the same sentences; the first is by default the primary one.
    """

    plain: list[str] = field(default_factory=lambda: ["feed-forward"])
    recurrent: str = "seq2seq"
    floor: float = 5
    smallest_loss: float | None = None
    fits: int | None = None
    past: int | None = None
    unshifted: str | None = None
    shifted: str | None = None

    def check(self, place: str) -> None:
        for key in ("past", "shifted"):
            if getattr(self, key) is not None and self.smallest_loss is None:
                raise UserError(f"{place}: smallest_loss: nothing there; {key} needs it: write it down")
        if (self.fits is None) != (self.past is None):
            raise UserError(f"{place}: fits and past: one found without the other; write down both")

    def named(self) -> Mapping[str, Sequence[str]]:
        return {"plain": self.plain, "recurrent": [self.recurrent]}


def plain_networks_cannot_map_sequences(study: Study, tables: Tables, criterion: PlainNetworks) -> list[Finding]:
    """A plain deep network cannot map sequences to sequences.

    Source: Sutskever et al. 2014, abstract and section 1: its inputs and targets are vectors of fixed
    dimensionality. Said of principle; what can be measured is how much worse it translates than a recurrent
    encoder and decoder of as many parameters, and whether it fails where its fixed positions should make it
    fail: on sentences longer than its inputs, and on words that stand at other positions.

    Statistic: overall, the share of the recurrent model's BLEU that the network lacks, 1 - BLEU (network) /
    BLEU (recurrent), on the study's primary test set and decoding. For length and position, the share of its
    BLEU that each model keeps from sentences that fit to longer ones, or from a test set to the same one
    shifted; recurrent model less network. Interval over seeds (t, on the values of seeds that both models
    have) with sentences resampled; the same resamples for a test set and its shifted one.

    Supported where the whole interval lies above `smallest_effect` (overall) or `smallest_loss` (length and
    position), refuted where it lies below. Inconclusive with a single seed, and where a model has fewer than
    `floor` BLEU of which a share is taken: it has learned too little for the share to mean anything.
    """
    primary, recurrent, networks = study.primary, criterion.recurrent, criterion.plain
    bins = [(1, criterion.fits or 0), (criterion.past or 0, LONGEST)] if criterion.past is not None else []
    fits, past = (f"{low}-{high}" for low, high in bins) if bins else ("", "")
    smallest_loss = criterion.smallest_loss or 0.0
    found = []
    for corpus, cells in primary_cells(study, tables, [recurrent, *networks], bins).items():
        known = {(cell.test_set, cell.bin): cell for cell in cells}
        for network in networks:
            where = f"{network}, {corpus}, {primary.decoding}"
            pair = _Pair(study, network, recurrent, criterion.floor)
            found.append(
                pair.overall(
                    f"overall: {where}, {primary.test_set}",
                    known.get((primary.test_set, ALL)),
                    criterion.smallest_effect,
                )
            )
            if bins:
                found.append(
                    pair.kept(
                        f"length: {where}, {primary.test_set}",
                        {
                            f"up to {criterion.fits} words": known.get((primary.test_set, fits)),
                            f"from {criterion.past} words": known.get((primary.test_set, past)),
                        },
                        smallest_loss,
                        paired=False,
                    )
                )
            if criterion.shifted is not None:
                sets = [criterion.unshifted or primary.test_set, criterion.shifted]
                found.append(
                    pair.kept(
                        f"position: {where}, {sets[0]} to {sets[1]}",
                        {name: known.get((name, ALL)) for name in sets},
                        smallest_loss,
                        paired=True,
                    )
                )
    return found or [undecided("overall", LACK, PAPER, f"no translations by {' or '.join(networks)} and {recurrent}")]


class _Pair:
    """A plain network and a recurrent model, judged on cells of sentences that both translated."""

    def __init__(self, study: Study, network: str, recurrent: str, floor: float) -> None:
        self.study = study
        self.names = (network, recurrent)
        self.floor = floor

    def overall(self, part: str, cell: Cell | None, smallest_effect: float) -> Finding:
        """What the network lacks on all sentences."""
        measured = self._contrast([cell] if cell else [], paired=True)
        if measured is None:
            return undecided(part, LACK, PAPER, self._missing())
        lack, lacks = (1 - bleu[0, 0] / np.maximum(bleu[0, 1], TINY) for bleu in (measured.bleu, measured.resampled))
        told = f"BLEU {self._told(measured, 0)} on {measured.sizes[0]:,} sentences"
        return self._finding(part, LACK, lack, lacks, smallest_effect, self._reasons(measured, self.names[1:]), told)

    def kept(self, part: str, parts: dict[str, Cell | None], smallest_loss: float, paired: bool) -> Finding:
        """How much more the network loses than the recurrent model, from the first cell to the second."""
        found = [cell for cell in parts.values() if cell is not None]
        measured = self._contrast(found, paired) if len(found) == 2 else None
        if measured is None:
            reason = f"too few sentences {' or '.join(parts)}" if len(found) < 2 else self._missing()
            return undecided(part, LOSS, PAPER, reason)
        # of both models, (2, seeds) and (2, seeds, resamples)
        share, shares = (bleu[1] / np.maximum(bleu[0], TINY) for bleu in (measured.bleu, measured.resampled))
        told = "; ".join(
            f"BLEU {self._told(measured, number)} {name} ({measured.sizes[number]:,} sentences)"
            for number, name in enumerate(parts)
        )
        reasons = self._reasons(measured, self.names)
        return self._finding(part, LOSS, share[1] - share[0], shares[1] - shares[0], smallest_loss, reasons, told)

    def _finding(
        self,
        part: str,
        statistic: str,
        values: np.ndarray,
        resampled: np.ndarray,
        smallest_effect: float,
        reasons: list[str],
        told: str,
    ) -> Finding:
        interval = nested_interval(values, resampled)
        decided = decide(interval.low, interval.high, smallest_effect)
        notes = [told, seeds_in_words(len(values))]
        return conclude(part, statistic, PAPER, interval, decided, reasons, notes, SCORED)

    def _contrast(self, found: list[Cell], paired: bool) -> Contrast | None:
        """Network and recurrent model on these cells; `paired`: the cells have the same sentences."""
        return contrast(self.study, [(cell, cell) for cell in found], self.names, same_sentences=paired)

    def _reasons(self, measured: Contrast, names: tuple[str, ...]) -> list[str]:
        """Why these numbers decide nothing: too few seeds, or too little learned, by the first part."""
        means = dict(zip(self.names, measured.means[0], strict=True))
        return measured.few_seeds + [
            f"{name} has {means[name]:.1f} BLEU, fewer than {self.floor:g}: a share of it means nothing"
            for name in names
            if means[name] < self.floor
        ]

    def _told(self, measured: Contrast, part: int) -> str:
        return ", ".join(f"{name} {mean:.1f}" for name, mean in zip(self.names, measured.means[part], strict=True))

    def _missing(self) -> str:
        return f"no translations by {' and '.join(self.names)} with the same seed"
