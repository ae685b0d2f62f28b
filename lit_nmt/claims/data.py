"""Claims about the size of the training text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from lit_nmt.claims.contrasts import contrast, primary_cells, slope_weights, spoken
from lit_nmt.claims.verdicts import SCORED, Finding, Floor, Tables, conclude, decide, undecided
from lit_nmt.errors import UserError
from lit_nmt.evaluation import ALL

if TYPE_CHECKING:
    from lit_nmt.studies import Study


@dataclass(frozen=True)
class MoreData(Floor):
    """Of `transformers_need_more_data`; its floor is at the largest size.

    Attributes:
        pairs: Corpora and their training pairs, as {town-1k: 1000, town: 29000}.
        transformers: Models, each judged by itself.
        recurrent: What they are measured against.
    """

    pairs: dict[str, int] = field(default_factory=dict)
    transformers: list[str] = field(default_factory=lambda: ["transformer"])
    recurrent: str = "attention-seq2seq"

    def check(self, place: str) -> None:
        if len(self.pairs) < 2 or min(self.pairs.values()) < 1:
            raise UserError(f"{place}: pairs: expected two corpora or more, each with its training pairs, 1 or more")

    def named(self) -> Mapping[str, Sequence[str]]:
        return {"pairs": list(self.pairs), "transformers": self.transformers, "recurrent": [self.recurrent]}


def transformers_need_more_data(study: Study, tables: Tables, criterion: MoreData) -> list[Finding]:
    """Transformers need more data than recurrent models with attention.

    Source: a common belief. Against it Araabi & Monz 2020 (arXiv:2011.02266): with settings for small data the
    Transformer gains up to 7.3 BLEU over its default there. So each Transformer named is judged, a part each.
    If the claim holds, the Transformer gains more from every doubling of the text than the other does.

    Statistic: the interaction of log2(sentence pairs) and architecture on BLEU: the least-squares slope of BLEU
    Transformer less BLEU attention seq2seq against log2 of the pairs, all sizes alike. Interval over seeds (t, on
    the slopes of seeds that both have at every size), with the test sentences resampled, alike at every size.

    Supported where the whole interval lies above `smallest_effect` (BLEU per doubling), refuted where it lies
    below. Inconclusive where an arm does not reach `floor` of the other's BLEU at the largest size, or neither 5 BLEU
    there, and with a single seed or fewer than the study plans. How far apart the two are at each size stands in the
    evidence: more gained may also be a lead that grows, or a single step.
    """
    statistic = "BLEU that the Transformer gains more per doubling of the pairs"
    paper = "a common belief; against it Araabi & Monz 2020, arXiv:2011.02266"
    recurrent = criterion.recurrent
    pairs = sorted(criterion.pairs.items(), key=lambda item: item[1])
    found = []
    for transformer in criterion.transformers:
        cells = {
            corpus: cell
            for corpus, own in primary_cells(study, tables, [transformer, recurrent]).items()
            for cell in own
            if cell.test_set == study.primary.test_set and cell.bin == ALL
        }
        sizes = [(corpus, count) for corpus, count in pairs if corpus in cells]
        part = f"{transformer} against {recurrent}, {study.primary.test_set}, {study.primary.decoding}"
        measured = contrast(
            study,
            [(cells[corpus], cells[corpus]) for corpus, _ in sizes],
            (transformer, recurrent),
            labels=[f"{count:,} pairs" for _, count in sizes],
            same_sentences=True,
        )
        if measured is None or len(sizes) < len(pairs) or len(sizes) < 2:
            reason = (
                "no seed with which both models were translated at every size"
                if len(sizes) == len(pairs) > 1
                else f"{len(sizes)} of {len(pairs)} sizes have translations; all are needed, two at least"
            )
            found.append(undecided(part, statistic, paper, reason))
            continue
        doublings = np.log2([count for _, count in sizes])
        weights = slope_weights(doublings, np.ones(len(sizes)))
        gain = measured.difference(weights)
        gaps = [measured.difference(one) for one in np.eye(len(sizes))]
        reasons = measured.reasons(replace(criterion, floor_bin=measured.labels[-1]))
        notes = [
            measured.curve(),
            f"{transformer} less {recurrent}, BLEU: "
            + ", ".join(f"{spoken(gap, 1)} at {label}" for label, gap in zip(measured.labels, gaps, strict=True))
            + " (exploratory)",
            f"log of their ratio changes by {spoken(measured.log_ratio(weights), 3)} per doubling (exploratory)",
            measured.seeds_told(2, weights @ (measured.bleu[:, 0] - measured.bleu[:, 1])),
        ]
        found.append(
            conclude(
                part,
                statistic,
                paper,
                gain,
                decide(gain.low, gain.high, criterion.smallest_effect),
                reasons,
                notes,
                SCORED,
            )
        )
    return found
