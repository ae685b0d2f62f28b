"""What every claim needs: the form of its finding, and the rule by which an interval becomes a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

if TYPE_CHECKING:
    from lit_nmt.studies import Study

Decision = Literal["supported", "refuted", "inconclusive"]
Tables = Mapping[str, pd.DataFrame]
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """What a claim function returns: a verdict without the study's name and criterion.

    Attributes:
        part: What of the claim this judges, and where (corpus, device).
        statistic: What `value`, `low` and `high` (95 %) measure, with its unit.
        evidence: Why it is inconclusive, if it is; the numbers behind the verdict; the table they stand in.
    """

    part: str
    verdict: Decision
    statistic: str
    value: float
    low: float
    high: float
    paper: str
    evidence: str


Claim = Callable[["Study", Tables, Settings], list[Finding]]
"""From a study, its tables by name and the claim's own settings to one finding a part."""


def decide(low: float, high: float, smallest_effect: float) -> Decision:
    """The verdict on "the effect is larger than the smallest one of interest", from the effect's interval."""
    if low > smallest_effect:
        return "supported"
    return "refuted" if high < smallest_effect else "inconclusive"


def undecided(part: str, statistic: str, paper: str, reason: str) -> Finding:
    """Inconclusive without a number, for this reason."""
    nothing = float("nan")
    return Finding(part, "inconclusive", statistic, nothing, nothing, nothing, paper, reason)


def table(tables: Tables, name: str) -> pd.DataFrame:
    """The table of that name, empty where there is none."""
    return tables.get(name, pd.DataFrame())
