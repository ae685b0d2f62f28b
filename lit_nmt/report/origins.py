"""The part of a report that lets a reader check it: where each number came from."""

from __future__ import annotations

from typing import Any

import yaml

from lit_nmt.report import words
from lit_nmt.report.content import Cell, Code, Column, Facts, Fold, Group, Paragraph, Section, Table
from lit_nmt.report.speed import facts
from lit_nmt.report.view import View


def sources_section(view: View) -> Section:
    """Signatures, machines, versions, and one fold per run with its configuration and how to repeat it."""
    results = view.results
    blocks: list[Any] = []
    signatures = sorted({part for text in results["scores"]["signature"] for part in text.split(" ") if part})
    if signatures:
        text = "Every BLEU and chrF is sacreBLEU's (Post 2018), with these signatures:"
        blocks += [Paragraph(text), Code("\n".join(signatures))]
    runs = results["runs"]
    provenance = {_key(run): run for run in results.provenance.get("runs") or []}
    if view.trains:
        blocks.append(_machines(view))
    rows = {(row["corpus"], row["model"], str(row["seed"])): row for row in runs.to_dict("records")}
    folds = [
        _run(view, key, rows.get(key, {}), provenance.get(key, {})) for key in dict.fromkeys([*rows, *provenance])
    ]
    if folds:
        blocks.append(Paragraph("Each run, with its resolved configuration and the command that repeats it:"))
        blocks.extend(folds)
    elif view.trains:
        blocks.append(Paragraph("No run has been recorded yet.", "missing"))
    else:
        name = results.study.get("name", "STUDY")
        blocks.append(
            Paragraph(f"Nothing was trained for this page. `./run_all.sh {name}` measures it all on your machine.")
        )
    written = (results.provenance.get("study") or {}).get("content")
    if written:
        blocks.append(Fold("The study as it was written down", [Code(_yaml(written))]))
    blocks.append(
        Paragraph(
            "The tables behind this page lie beside it in results/; with the path of that folder, "
            f"`lit-nmt report {results.study.get('name', 'STUDY')} --from FOLDER` draws it again, byte for byte."
        )
    )
    return Section("sources", "Where the numbers come from", blocks)


def _machines(view: View) -> Any:
    """One row per way of running: device, threads, precision, code."""
    runs = view.results["runs"]
    runs = runs[runs["status"] != "missing"]
    if runs.empty:
        return Paragraph("No run has been recorded yet.", "missing")
    rows = []
    for (device, threads, precision, commit), group in runs.groupby(
        ["device", "threads", "precision", "commit"], sort=False, dropna=False
    ):
        rows.append(
            [
                Cell(str(device) or words.NOTHING),
                Cell(words.number(threads, 0), threads),
                Cell(str(precision) or words.NOTHING),
                Cell(words.commit(str(commit))),
                Cell(str(len(group)), len(group)),
                Cell(words.duration(group["train_seconds"].sum()), group["train_seconds"].sum()),
            ]
        )
    columns = [
        Column("device", number=False),
        Column("threads"),
        Column("precision", number=False),
        Column("commit", number=False),
        Column("runs"),
        Column("training, in all"),
    ]
    dirty = any("+" in str(commit) for commit in runs["commit"])
    note = "A + after a commit: the code had changes that were not committed." if dirty else ""
    return Table("Where the models were trained", columns, [Group(rows)], note)


def _run(view: View, key: tuple[str, str, str], row: dict[str, Any], origin: dict[str, Any]) -> Fold:
    corpus, model, seed = key
    blocks: list[Any] = []
    command = origin.get("command")
    if command:
        commit = words.commit(str(row.get("commit") or origin.get("commit") or ""))
        changed = ", with the changes to it that were not committed, " if commit.endswith("+") else " "
        where = f"in a checkout of `{commit.rstrip('+')}`{changed}" if commit != words.NOTHING else ""
        study = view.results.study.get("name", "STUDY")
        blocks += [
            Paragraph(f"To repeat it, {where}where `./run_all.sh {study}` has begun (that alone repeats the study):"),
            Code(command if isinstance(command, str) else " ".join(map(str, command))),
        ]
    shown = {name: value for name, value in row.items() if name not in ("study", "corpus", "model", "seed")}
    shown = {name: _whole(value) for name, value in shown.items() if value == value}
    told = {"translations", "corpus", "model", "seed", "config", "command", *shown}
    blocks.append(Facts(facts(shown) + facts({name: value for name, value in origin.items() if name not in told})))
    translations = [
        (what, ", ".join(f"{name} {value}" for name, value in facts(told_of)))
        for what, told_of in (origin.get("translations") or {}).items()
    ]
    if origin.get("config"):
        blocks.append(Code(_yaml(origin["config"])))
    if translations:
        blocks.append(Fold("Its translations", [Facts(translations)]))
    status = str(row.get("status") or origin.get("status") or "not recorded")
    return Fold(f"{view.label(model)} on {corpus}, seed {seed}: {status}", blocks)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _key(run: dict[str, Any]) -> tuple[str, str, str]:
    return str(run.get("corpus", "")), str(run.get("model", "")), str(run.get("seed", ""))


def _yaml(content: Any) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)).rstrip("\n")
