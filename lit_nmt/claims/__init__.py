"""The claims on trial: one function each, from a study's tables to verdicts with effect sizes and intervals.

A claim's docstring states the claim, its source, and what would refute it. Its criterion and smallest effect
of interest stand in the study's YAML, committed before the first test set is decoded:

    claims:
      constant-time: {criterion: "exponent of wall time in length below 0.2", smallest_effect: 0.2}

`judge(study, tables, commits)` gives `claims.csv`. All claims decide alike (`decide`): supported when the whole 95 %
interval lies beyond the smallest effect of interest, refuted when it lies wholly on the other side, and
inconclusive otherwise or when a stated condition fails, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from lit_nmt.claims.data import MoreData, transformers_need_more_data
from lit_nmt.claims.length import (
    FixedVector,
    LongSentences,
    UntrainedLengths,
    attention_carries_to_untrained_lengths,
    fixed_vector_bottleneck,
    transformer_learns_long_sentences,
)
from lit_nmt.claims.memory import Forgetting, recurrent_nets_forget
from lit_nmt.claims.networks import PlainNetworks, plain_networks_cannot_map_sequences
from lit_nmt.claims.speed import ConstantTime, TrainingSpeed, constant_time, recurrence_is_slower_to_train
from lit_nmt.claims.verdicts import Claim, Criterion, Decision, Floor, Tables
from lit_nmt.code import git
from lit_nmt.configuration import build, suggestion
from lit_nmt.errors import UserError

if TYPE_CHECKING:
    from lit_nmt.studies import Study

CLAIMS: dict[str, Claim] = {
    "plain-networks-cannot-map-sequences": Claim(PlainNetworks, plain_networks_cannot_map_sequences),
    "fixed-vector-bottleneck": Claim(FixedVector, fixed_vector_bottleneck),
    "attention-carries-to-untrained-lengths": Claim(UntrainedLengths, attention_carries_to_untrained_lengths),
    "recurrent-nets-forget": Claim(Forgetting, recurrent_nets_forget),
    "recurrence-is-slower-to-train": Claim(TrainingSpeed, recurrence_is_slower_to_train),
    "constant-time": Claim(ConstantTime, constant_time),
    "transformers-need-more-data": Claim(MoreData, transformers_need_more_data),
    "transformer-learns-long-sentences": Claim(LongSentences, transformer_learns_long_sentences),
}
"""The claims by their names in a study's YAML; the docstring of each function is what a report prints about it."""


@dataclass(frozen=True)
class Verdict:
    """A row of `claims.csv`.

    Attributes:
        claim: Its name in `CLAIMS`.
        part, verdict, statistic, value, low, high, paper, evidence, reason: As in `Finding`.
        criterion: What decides, as it stands in the study's YAML, and how it was amended.
        criterion_commit: The commit since which nothing of that YAML changed on which the claim rests.
    """

    claim: str
    part: str
    study: str
    verdict: Decision
    statistic: str
    value: float
    low: float
    high: float
    criterion: str
    criterion_commit: str
    paper: str
    evidence: str
    reason: str


def criteria(study: Study) -> dict[str, Criterion]:
    """What decides each claim that a study names.

    Raises:
        UserError: a claim that is not known, or a criterion that lacks a key, has an unknown one or a wrong value.
    """
    found = {}
    for name, content in study.claims.items():
        if name not in CLAIMS:
            raise UserError(f"{study.path}: claims: unknown claim {name}{suggestion(name, CLAIMS)}")
        place = f"{study.path}: claims.{name}"
        found[name] = build(CLAIMS[name].criterion, content, place)
        found[name].check(place)
    return found


def check_claims(study: Study) -> None:
    """Refuses claims of a study that cannot be judged, in one line.

    Raises:
        UserError: as `criteria`, or a criterion that names what the study does not have.
    """
    known = [*study.models, *study.corpora]
    for claim, criterion in criteria(study).items():
        for key, names in criterion.named().items():
            for name in names:
                if name not in known:
                    place = f"{study.path}: claims.{claim}: {key}"
                    raise UserError(f'{place}: no "{name}" in this study{suggestion(name, known)}')
        parts = criterion.floor_bin if isinstance(criterion, Floor) else []
        for part in [parts] if isinstance(parts, str) and parts else parts:
            there = [f"{low}-{high}" for low, high in study.bins]
            there += [name for corpus in study.corpora for name in study.test_sets_of(corpus)]
            if part not in there:
                place = f"{study.path}: claims.{claim}: floor_bin"
                raise UserError(f'{place}: no bin or test set "{part}"{suggestion(part, there)}')


def judge(study: Study, tables: Tables, commits: Mapping[str, str]) -> pd.DataFrame:
    """`claims.csv`: the verdicts on the claims that a study names.

    Args:
        study: has `name`, `path`, `claims` (a criterion each), `models`, `corpora`, `seeds_of`, `bins` and `primary`.
        tables: results by file stem: "throughput", "operations", "gradients", "sentences" (a missing table counts
            as an empty one).
        commits: of the criteria, as from `criterion_commits`.

    Returns:
        The columns of `Verdict`, in the order of the study's claims; a study without claims gives no row.

    Raises:
        UserError: a claim that cannot be judged.
    """
    rows = []
    for name, criterion in criteria(study).items():
        for finding in CLAIMS[name].judge(study, tables, criterion):
            rows.append(
                Verdict(
                    claim=name,
                    study=study.name,
                    criterion=criterion.told(),
                    criterion_commit=commits.get(name, ""),
                    **asdict(finding),
                )
            )
    return pd.DataFrame(rows, columns=[field.name for field in fields(Verdict)])


_WORDS = ("title", "question", "tuning", "estimate_minutes")
"""Keys of a study that change nothing of what is measured or judged."""

_OF_SPEED = ("recurrence-is-slower-to-train", "constant-time")
"""The claims that rest on a study's `bench`."""


def criterion_commits(study: Study) -> dict[str, str]:
    """Of each claim the commit since which nothing of the study's YAML changed on which it rests.

    Its words do not count, nor what it tells of amendments, nor other claims, nor `bench` but for claims about speed.
    A "+" follows where it was edited since. Empty outside git, in a shallow clone, whose first commit says nothing,
    and for a file that was never committed.
    """

    def design(text: str, claim: str) -> dict[str, Any]:
        words = _WORDS if claim in _OF_SPEED else (*_WORDS, "bench")
        try:
            content = {key: value for key, value in yaml.safe_load(text).items() if key not in words}
            return {**content, "claims": {**content["claims"][claim], "amended": ""}}
        except (yaml.YAMLError, AttributeError, KeyError, TypeError):  # an earlier commit may hold anything
            return {}

    folder, name = study.path.parent, study.path.name
    shallow = git(folder, "rev-parse", "--is-shallow-repository") == "true"
    commits = [] if shallow else git(folder, "log", "--format=%H", "--", name).split()
    now = study.path.read_text(encoding="utf-8")
    earlier = {commit: git(folder, "show", f"{commit}:./{name}") for commit in commits}

    def since(claim: str) -> str:
        own = design(now, claim)
        same = [*takewhile(lambda commit: design(earlier[commit], claim) == own, commits)]
        return same[-1] if same else f"{commits[0]}+" if commits else ""

    return {claim: since(claim) for claim in study.claims}
