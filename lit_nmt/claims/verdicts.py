"""What every claim needs: the form of its finding, and the rule by which an interval becomes a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pandas as pd

from lit_nmt.intervals import Interval

if TYPE_CHECKING:
    from lit_nmt.studies import Study

Decision = Literal["supported", "refuted", "inconclusive"]
Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Finding:
    """What a claim function returns: a verdict without the study's name and criterion.

    Attributes:
        part: What of the claim this judges, and where (corpus, device).
        statistic: What `value`, `low` and `high` (95 %) measure, with its unit.
        evidence: The numbers behind the verdict, and the tables they stand in.
        reason: Why it is inconclusive, if it is.
    """

    part: str
    verdict: Decision
    statistic: str
    value: float
    low: float
    high: float
    paper: str
    evidence: str
    reason: str


SCORED = "sentences.parquet, scores.csv"
"""Where BLEU stands."""


@dataclass(frozen=True)
class Criterion:
    """What decides a claim, as a study's YAML says it; each claim adds the keys that its docstring names.

    Attributes:
        criterion: In words, for the pages.
        smallest_effect: Of interest, in the unit of the claim's statistic.
        amended: What of it was changed after which results were known, and what that changed.
    """

    criterion: str
    smallest_effect: float
    amended: str = ""

    def told(self) -> str:
        """What decides, and what of it was changed with results in sight: never the one without the other."""
        return f"{self.criterion} Amended: {self.amended}" if self.amended else self.criterion

    def check(self, place: str) -> None:
        """Refuses values that mean nothing together.

        Args:
            place: where the criterion stands, for messages.

        Raises:
            UserError: such a value.
        """

    def named(self) -> Mapping[str, Sequence[str]]:
        """The models and corpora of the study that it names, by the key under which it does."""
        return {}


@dataclass(frozen=True)
class Floor(Criterion):
    """A criterion that asks of each arm to have learned something, see `Contrast.reasons`.

    Attributes:
        floor: Share of the best arm's BLEU.
        floor_bin: Of which part, or of which parts the first that is there; nothing for any part.
    """

    floor: float = 0.5
    floor_bin: str | list[str] = ""


class Claim(NamedTuple):
    """A claim on trial.

    Attributes:
        criterion: What a study says of it.
        judge: From a study, its tables by name and that criterion to one finding a part; its docstring states the
            claim.
    """

    criterion: type[Criterion]
    judge: Callable[[Study, Tables, Any], list[Finding]]


def decide(low: float, high: float, smallest_effect: float) -> Decision:
    """The verdict on "the effect is larger than the smallest one of interest", from the effect's interval."""
    if low > smallest_effect:
        return "supported"
    return "refuted" if high < smallest_effect else "inconclusive"


def conclude(
    part: str,
    statistic: str,
    paper: str,
    interval: Interval,
    verdict: Decision,
    reasons: Sequence[str],
    notes: Sequence[str],
    places: str,
) -> Finding:
    """A verdict from an interval; inconclusive, whatever that says, where there are reasons.

    Args:
        part, statistic, paper: as in `Finding`.
        interval: of the effect.
        verdict: what it says by itself.
        reasons: why it decides nothing.
        notes: the numbers behind the verdict.
        places: the tables they stand in.
    """
    final: Decision = "inconclusive" if reasons else verdict
    finite = math.isfinite(interval.low) and math.isfinite(interval.high)
    straddles = "the interval reaches to both sides of the smallest effect" if finite else "no interval"
    reason = "; ".join(reasons) or (straddles if final == "inconclusive" else "")
    return Finding(part, final, statistic, *interval[:3], paper, f"{'; '.join(notes)} ({places})", reason)


def undecided(part: str, statistic: str, paper: str, reason: str) -> Finding:
    """Inconclusive without a number, for this reason."""
    nothing = float("nan")
    return Finding(part, "inconclusive", statistic, nothing, nothing, nothing, paper, "", reason)


def table(tables: Tables, name: str) -> pd.DataFrame:
    """The table of that name, empty where there is none."""
    return tables.get(name, pd.DataFrame())
