"""The parts of a report that let a reader check it: example translations, and where each number came from."""

from __future__ import annotations

import difflib
from typing import Any

import yaml

from lit_nmt.report import words
from lit_nmt.report.content import (
    Cell,
    Code,
    Column,
    Example,
    Facts,
    Fold,
    Group,
    Paragraph,
    Section,
    Table,
    Translation,
)
from lit_nmt.report.speed import facts
from lit_nmt.report.view import View, spoken_decoding, spoken_test_set

SHOWN = 12
"""Examples on the page, per corpus; all of them are in `results/examples.jsonl`."""


def examples_section(view: View) -> Section:
    """Translations of the same sentences side by side, short sources first."""
    blocks: list[Any] = []
    if view.results.examples:
        blocks.append(
            Paragraph(
                "The same sentences through every model: first seed, sources from short to long, chosen for their "
                "length alone. Underlined words do not stand in the reference, which does not make them wrong."
            )
        )
    for corpus in view.corpora:
        rows = [row for row in view.results.examples if row.get("corpus") == corpus]
        blocks.extend(_examples(view, corpus, rows))
        hidden = view.results.left_out.get(corpus)
        if hidden is not None:
            blocks.append(Paragraph(_left_out(view, corpus, hidden), "missing"))
    if not blocks:
        blocks.append(Paragraph("No example translations yet; `lit-nmt score` picks them.", "missing"))
    return Section("examples", "Example translations", blocks)


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
    blocks.append(_machines(view))
    rows = {(row["corpus"], row["model"], str(row["seed"])): row for row in runs.to_dict("records")}
    folds = [
        _run(view, key, rows.get(key, {}), provenance.get(key, {})) for key in dict.fromkeys([*rows, *provenance])
    ]
    if folds:
        blocks.append(Paragraph("Each run, with its resolved configuration and the command that repeats it:"))
        blocks.extend(folds)
    else:
        blocks.append(Paragraph("No run has been recorded yet.", "missing"))
    written = (results.provenance.get("study") or {}).get("content")
    if written:
        blocks.append(Fold("The study as it was written down", [Code(_yaml(written))]))
    blocks.append(
        Paragraph(
            "The tables behind this page lie beside it in results/; "
            f"`lit-nmt report {results.study.get('name', 'STUDY')} --from results` draws it again, byte for byte."
        )
    )
    return Section("sources", "Where the numbers come from", blocks)


def mark_differences(hypothesis: str, reference: str) -> list[tuple[str, bool]]:
    """Cuts a hypothesis into pieces (text, whether the reference lacks it); joined, they are the hypothesis.

    Words are matched as the longest common runs, in order (difflib).
    """
    ours, theirs = hypothesis.split(" "), reference.split(" ")
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    pieces: list[tuple[str, bool]] = []
    for tag, start, end, _, _ in matcher.get_opcodes():
        if start == end:
            continue
        if pieces:
            pieces.append((" ", False))
        pieces.append((" ".join(ours[start:end]), tag != "equal"))
    return pieces


def _examples(view: View, corpus: str, rows: list[dict[str, Any]]) -> list[Example]:
    decodings = {row.get("decoding") for row in rows}
    decoding = next((name for name in view.decodings if name in decodings), None)
    sentences: dict[tuple[str, Any], dict[str, dict[str, Any]]] = {}
    for row in rows:
        if row.get("decoding") == decoding:
            # The first seed of each model stands for it.
            sentences.setdefault((row.get("test_set", ""), row["id"]), {}).setdefault(row["model"], row)
    ordered = sorted(sentences.items(), key=lambda item: (_words(item[1]), str(item[0])))
    step = max(1.0, len(ordered) / SHOWN)
    chosen = [ordered[int(place * step)] for place in range(min(SHOWN, len(ordered)))]
    examples = []
    for (test_set, number), by_model in chosen:
        first = next(iter(by_model.values()))
        translations = []
        for model in [*view.styles, *(name for name in by_model if name not in view.styles)]:
            if model in by_model:
                name = view.name(model)
                pieces = mark_differences(by_model[model]["hypothesis"], first["reference"])
                translations.append(Translation(name.text, name.colour, pieces))
        title = f"{corpus}, {spoken_test_set(test_set)}, sentence {number}: {_words(by_model)} words"
        if decoding:
            title += f", {spoken_decoding(decoding)}"
        examples.append(Example(title, first["source"], first["reference"], translations))
    return examples


def _words(by_model: dict[str, dict[str, Any]]) -> int:
    return int(next(iter(by_model.values())).get("source_words") or 0)


def _left_out(view: View, corpus: str, hidden: int) -> str:
    name = view.results.study.get("name", "STUDY")
    examples = words.sentence(words.count(hidden, "example translation"))
    verb = "is" if hidden == 1 else "are"
    return (
        f"{corpus}: the text belongs to its owners and may not be passed on. {examples} {verb} left out of this page; "
        f"scores, figures and verdicts are complete. To see them, make the report on your own machine: "
        f"`./run_all.sh {name}` fetches the corpus and writes reports/{name}/index.html."
    )


def _machines(view: View) -> Any:
    """One row per way of running: device, threads, precision, code."""
    runs = view.results["runs"]
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
        blocks.append(Code(command if isinstance(command, str) else " ".join(map(str, command))))
    shown = {name: value for name, value in row.items() if name not in ("study", "corpus", "model", "seed")}
    shown = {name: _whole(value) for name, value in shown.items() if value == value}
    for what, told_of in (origin.get("translations") or {}).items():
        shown[f"translation of {what}"] = ", ".join(f"{name} {value}" for name, value in facts(told_of))
    told = {"translations", "corpus", "model", "seed", "config", "command", *shown}
    blocks.append(Facts(facts(shown) + facts({name: value for name, value in origin.items() if name not in told})))
    if origin.get("config"):
        blocks.append(Code(_yaml(origin["config"])))
    status = str(row.get("status") or origin.get("status") or "not recorded")
    return Fold(f"{view.label(model)} on {corpus}, seed {seed}: {status}", blocks)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _key(run: dict[str, Any]) -> tuple[str, str, str]:
    return str(run.get("corpus", "")), str(run.get("model", "")), str(run.get("seed", ""))


def _yaml(content: Any) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)).rstrip("\n")
