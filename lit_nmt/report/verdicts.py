"""The part of a report that judges: the verdicts at a glance, then each claim with all that its verdict rests on."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from lit_nmt.benchmark.settings import SINGLE
from lit_nmt.claims import CLAIMS
from lit_nmt.claims.length import Slopes, UntrainedLengths
from lit_nmt.claims.speed import EXACT
from lit_nmt.report import words
from lit_nmt.report.content import Cell, Column, Facts, Figure, Fold, Group, Paragraph, Section, Table
from lit_nmt.report.memory import PROBED, RECALLED
from lit_nmt.report.speed import COUNTING, HOW, settings, spoken_setting
from lit_nmt.report.view import View, spoken_decoding, spoken_test_set

SYMBOLS = {"supported": "\N{CHECK MARK}", "refuted": "\N{MULTIPLICATION X}", "inconclusive": "?"}
SEEN_IN = {
    "fixed-vector-bottleneck": r".+\.bleu-by-length",
    "transformer-learns-long-sentences": r".+\.bleu-by-length",
    "attention-carries-to-untrained-lengths": r"bleu-kept|.+\.bleu-by-cap",
    "recurrence-is-slower-to-train": r"throughput\d*\..+\.(train|decode-\w+)",
    "constant-time": rf"throughput\d*\.[\w-]+{SINGLE}-by-length|operations\..+",
    "recurrent-nets-forget": r".+\.(gradients-\w+|recall)",
    "transformers-need-more-data": "bleu-by-pairs",
}
"""The names of the panels, elsewhere on the page, in which a claim can be seen."""


def verdicts_section(view: View, others: Sequence[Section]) -> Section:
    """Claims with their verdicts; `others` are the sections with the figures."""
    claims = view.results["claims"]
    if claims.empty:
        text = "This study puts no claim on trial; its results are exploratory."
        return Section("verdicts", "Verdicts", [Paragraph(text)])
    parts = [(str(claim), rows) for claim, rows in claims.groupby("claim", sort=False)]
    groups = []
    for claim, rows in parts:
        own, shared = told_apart([str(part) for part in rows["part"]])
        lines = [
            [Cell(words.judged(where)), *verdict_cells(row)] for where, row in zip(own, rows.itertuples(), strict=True)
        ]
        title = ": ".join(text for text in (titled(claim, rows), words.device(shared)) if text)
        groups.append(Group(lines, title, id=claim_id(claim)))
    columns = [
        Column("where", number=False),
        Column("verdict", number=False),
        Column("value", hint="with its 95 % interval"),
    ]
    note = "Everything else on this page is exploratory: no criterion was set for it beforehand."
    figures = [block for section in others for block in section.blocks if isinstance(block, Figure)]
    folds = [_fold(view, claim, rows, figures) for claim, rows in parts]
    return Section("verdicts", "Verdicts", [Table("Claims on trial", columns, groups, note), *folds])


def told_apart(parts: Sequence[str]) -> tuple[list[str], str]:
    """What tells the parts of a claim from one another, and what they have in common, to be said once."""
    pieces = [part.split(", ") for part in parts]
    shared = [piece for piece in pieces[0] if all(piece in others for others in pieces)]
    own = [", ".join(piece for piece in part if piece not in shared) for part in pieces]
    return (own, ", ".join(shared)) if all(own) else (list(parts), "")


def claim_id(claim: str) -> str:
    """Where a claim's verdicts stand on a page, for links."""
    return f"claim-{claim}"


def titled(claim: str, rows: pd.DataFrame) -> str:
    """A claim's name and who made it."""
    papers = "; ".join(_different(rows["paper"]))
    return f"{_spoken(claim)} ({papers})" if papers else _spoken(claim)


def verdict_cells(row: Any) -> list[Cell]:
    """A verdict, with the reason where it is none, and the value behind it with its interval."""
    verdict = str(row.verdict)
    return [
        Cell(f"{SYMBOLS.get(verdict, '')} {verdict}".strip(), tone=verdict, note=words.sentence(row.reason)),
        Cell(words.rounded(row.value), row.value, note=_bounds(row)),
    ]


def _fold(view: View, claim: str, rows: pd.DataFrame, figures: list[Figure]) -> Fold:
    """What the verdicts on a claim rest on."""
    first = rows.iloc[0]
    stated, sources, statistic, rule = told(claim)
    facts = [
        ("criterion", f"{first['criterion']} ({_committed(str(first['criterion_commit']))})"),
        ("decision", f"{rule} {_settings(view, claim)}".strip()),
        ("statistic", statistic or words.listing(_different(rows["statistic"]))),
        ("sources", sources or "; ".join(_different(rows["paper"]))),
        ("how this was measured", _measured(view, claim, " ".join(map(str, rows["evidence"])))),
    ]
    found = []
    for row in rows.itertuples():
        numbers = f"{words.rounded(row.value)} ({_bounds(row)})"
        verdict = f"{row.verdict} ({row.reason})" if row.reason else str(row.verdict)
        text = f"{verdict}: {row.statistic} {numbers}"
        found.append((words.judged(row.part), f"{text}; {row.evidence}" if row.evidence else text))
    blocks: list[Any] = [Paragraph(stated)] if stated else []
    for figure in figures:
        panels = [panel for panel in figure.panels if re.fullmatch(SEEN_IN.get(claim, ""), panel.name)]
        if panels:
            blocks.append(Figure(figure.title, panels, figure.caption, again=True))
    blocks += [Facts([(name, words.sentence(text)) for name, text in facts if text]), Facts(found)]
    return Fold(f"{_spoken(claim)}: what the verdict rests on", blocks, printed=True)


def told(claim: str) -> tuple[str, str, str, str]:
    """What a claim's docstring says: the claim, its sources, the statistic, and what decides."""
    text = inspect.getdoc(CLAIMS[claim].judge) if claim in CLAIMS else None
    stated, *others = [" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n")]
    labelled = {"Source": "", "Statistic": "", "": ""}
    for paragraph in others:
        label, colon, rest = paragraph.partition(": ")
        known = label if colon and label in labelled else ""
        labelled[known] = f"{labelled[known]} {rest if known else paragraph}".strip()
    return stated, labelled["Source"], labelled["Statistic"], labelled[""]


def _settings(view: View, claim: str) -> str:
    """The numbers that a study sets for a claim."""
    own = (view.results.study.get("claims") or {}).get(claim) or {}
    return "; ".join(f"`{name}`: {value}" for name, value in own.items() if name not in ("criterion", "amended"))


def _measured(view: View, claim: str, evidence: str) -> str:
    """How the tables that the evidence names came about."""
    told = []
    if "scores.csv" in evidence:
        over_lengths = claim in CLAIMS and issubclass(CLAIMS[claim].criterion, Slopes | UntrainedLengths)
        told += [_scored(view, corpus, over_lengths) for corpus in view.corpora if view.test_sets(corpus)]
        told += sorted({text.split(" ")[0] for text in view.primary_scores(view.corpora[0], view.case)["signature"]})
    throughput = view.results["throughput"]
    if "throughput.csv" in evidence and len(throughput):
        told += [f"On {spoken_setting(rows)}." for rows in settings(throughput)]
        told.append(HOW)
        commit = str(view.results.environment.get("commit") or "")
        told += [f"With the code of commit {words.commit(commit)}."] if commit else []
    others = (("operations.csv", COUNTING), ("gradients.parquet", PROBED), ("(sentences.parquet)", RECALLED))
    told += [how for place, how in others if place in evidence]
    return " ".join(told)


def _scored(view: View, corpus: str, over_lengths: bool) -> str:
    test_set = view.length_set(corpus) if over_lengths else view.primary_set(corpus)
    whole = view.whole_scores(corpus, test_set, view.case)
    seeds = words.count(int(whole.groupby("model")["seed"].nunique().max()), "seed")
    cased = "cased" if view.case == "mixed" else "lower-cased"
    sentences = f"{whole['sentences'].max():,.0f} sentences"
    return (
        f"On {corpus}, {cased} BLEU of {spoken_decoding(view.decodings[0])} on {sentences} "
        f"({spoken_test_set(test_set)}), up to {seeds} a model."
    )


def _different(column: pd.Series) -> list[str]:
    return list(dict.fromkeys(str(text) for text in column if text))


def _spoken(claim: str) -> str:
    return words.sentence(claim.replace("-", " "))


def _bounds(row: Any) -> str:
    if not (math.isfinite(row.low) and math.isfinite(row.high)):
        return "no interval"
    return EXACT if EXACT in row.statistic else f"{words.rounded(row.low)} to {words.rounded(row.high)}"


def _committed(commit: str) -> str:
    since = ", changed since" if commit.endswith("+") else ""
    return f"committed as {words.commit(commit.rstrip('+'))}{since}" if commit else "not committed"
