"""The page of a study that is made of others: the verdicts of all of them, each with a link to its evidence."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lit_nmt.claims import CLAIMS
from lit_nmt.report import words
from lit_nmt.report.content import Cell, Column, Group, Paragraph, Report, Section, Table
from lit_nmt.report.tables import Results
from lit_nmt.report.verdicts import SYMBOLS, claim_id, titled, told, verdict_cells


def make_whole(results: Results) -> Report:
    """Everything that the page says, from `claims.csv` of all parts and from what `study.json` tells of each."""
    study, claims = results.study, results["claims"]
    parts = study.get("parts") or []
    absent = [part["title"] for part in parts if not part["link"]]
    return Report(
        str(study.get("name")),
        str(study.get("title") or study.get("name")),
        " ".join(str(study.get("question") or "").split()),
        _summary(claims),
        [f"Not there yet: {words.listing(absent)}."] if absent else [],
        [
            _verdicts_section(results),
            _open_section(set(claims["claim"]), study.get("not_judged") or []),
            _studies_section(parts),
        ],
    )


def _summary(claims: pd.DataFrame) -> list[str]:
    if claims.empty:
        return ["Nothing has been judged yet: this page fills as its studies finish."]
    judged = words.count(claims["claim"].nunique(), "claim has", "claims have")
    studies = words.count(claims["study"].nunique(), "study", "studies")
    return [
        f"{words.sentence(judged)} been judged, by {studies}. What a verdict is worth depends on what was "
        "measured, and on what: the same claim may hold of one text, model or machine and not of another."
    ]


def _verdicts_section(results: Results) -> Section:
    claims = results["claims"]
    if claims.empty:
        return Section("verdicts", "Verdicts", [Paragraph("No verdicts yet.", "missing")])
    parts = {part["name"]: part for part in results.study.get("parts") or []}
    groups = []
    for claim, own in claims.groupby("claim", sort=False):
        rows = [
            [
                _linked(parts.get(row.study), str(row.study), f"#{claim_id(str(claim))}", str(row.part)),
                *verdict_cells(row),
                Cell(words.device(row.statistic)),
            ]
            for row in own.itertuples()
        ]
        stated, sources, _, rule = told(str(claim))
        criteria = [
            f"Criterion of {words.listing(list(of['study'].unique()))}: {criterion}"
            for criterion, of in own.groupby("criterion", sort=False)
        ]
        note = " ".join([stated, *criteria, f"Said of it: {sources}" if sources else "", rule]).replace("`", "")
        groups.append(Group(rows, titled(str(claim), own), note, claim_id(str(claim))))
    columns = [
        Column("evidence", number=False, hint="the study that judged, and where"),
        Column("verdict", number=False),
        Column("value", hint="with its 95 % interval"),
        Column("what was measured", number=False),
    ]
    return Section("verdicts", "Verdicts", [_at_a_glance(claims), Table("Claims on trial", columns, groups)])


def _at_a_glance(claims: pd.DataFrame) -> Table:
    groups = []
    for claim, own in claims.groupby("claim", sort=False):
        rows = []
        for statistic, measured in own.groupby("statistic", sort=False):
            counts = {verdict: int((measured["verdict"] == verdict).sum()) for verdict in SYMBOLS}
            cells = [Cell(f"{n:,}", n, verdict) if n else Cell(words.NOTHING, 0) for verdict, n in counts.items()]
            rows.append([Cell(words.judged(statistic), link=f"#{claim_id(str(claim))}"), *cells])
        groups.append(Group(rows, told(str(claim))[0]))
    columns = [
        Column("what was measured", number=False),
        *(Column(f"{symbol} {name}") for name, symbol in SYMBOLS.items()),
    ]
    note = (
        "How many verdicts there are, one for each text, model or machine on which it was measured, or for each "
        "way of looking at the same translations: they are no votes, and need not agree. Refuted says that the effect "
        "is smaller than the smallest of interest, which need not be none at all. A criterion of several conditions "
        "is judged one by one. Each interval is one of 95 %, of speeds the range that was measured, none widened for "
        "how many there are. What else limits a study, as models that were still learning, its own page tells first."
    )
    return Table("At a glance", columns, groups, note)


def _open_section(judged: set[str], not_judged: list[str]) -> Section:
    open_claims = [told(claim)[0] for claim in CLAIMS if claim not in judged]
    open_claims += [" ".join(str(text).split()) for text in not_judged]
    rows = [[Cell(text)] for text in open_claims]
    blocks: list[Any] = [Table("Claims without a verdict", [Column("claim", number=False)], [Group(rows)])]
    return Section("open", "Not judged yet", blocks if rows else [Paragraph("None: every claim has its verdict.")])


def _studies_section(parts: list[dict[str, Any]]) -> Section:
    rows = [[_linked(part, part["title"], "", part["question"]), Cell(part["state"])] for part in parts]
    columns = [Column("study", number=False), Column("state", number=False)]
    return Section("studies", "The studies", [Table("What this page is made of", columns, [Group(rows)])])


def _linked(part: dict[str, Any] | None, name: str, place: str, note: str) -> Cell:
    link = part["link"] + place if part and part["link"] else ""
    return Cell(str(part["title"]) if part else name, note=words.judged(note), link=link)
