"""The part of a report that shows translations: the same sentences through every model, to search and compare."""

from __future__ import annotations

import difflib
from typing import Any

from lit_nmt.report import words
from lit_nmt.report.content import Attention, Example, Explorer, Paragraph, Section, Translation
from lit_nmt.report.view import View, spoken_bin, spoken_decoding, spoken_test_set

SHOWN = 12
"""Sentences, per corpus, that stand on the page as they are; all of them are there for its script."""

Sentence = dict[str, dict[str, Any]]
"""The rows of `examples.jsonl` of one sentence, by model."""


def examples_section(view: View) -> Section:
    """Translations of the same sentences side by side."""
    blocks: list[Any] = []
    sentences = {corpus: _sentences(view, corpus) for corpus in view.corpora}
    if any(sentences.values()):
        blocks += [*_how_to_read(view, sentences), _explorer(view, sentences)]
    for corpus in view.corpora:
        hidden = view.results.left_out.get(corpus)
        if hidden is not None:
            blocks.append(Paragraph(_left_out(view, corpus, hidden), "missing"))
    if not blocks:
        blocks.append(Paragraph("No translations yet; `lit-nmt translate` makes them.", "missing"))
    return Section("examples", "Example translations", blocks)


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


def _sentences(view: View, corpus: str) -> list[Sentence]:
    """The translated sentences of a corpus, in the order of their test sets; the first seed stands for a model."""
    rows = [row for row in view.results.examples if row.get("corpus") == corpus]
    decodings = {row.get("decoding") for row in rows}
    decoding = next((name for name in view.decodings if name in decodings), None)
    found: dict[tuple[str, Any], Sentence] = {}
    for row in rows:
        if row.get("decoding") == decoding:
            found.setdefault((row.get("test_set", ""), row["id"]), {}).setdefault(row["model"], row)
    order = list(dict.fromkeys(test_set for test_set, _ in found))
    return [found[key] for key in sorted(found, key=lambda key: (order.index(key[0]), key[1]))]


def _sample(sentences: list[Sentence]) -> list[Sentence]:
    """A few sentences from short to long: of those whose attention is known, if any, chosen for their length alone."""
    attended = [by_model for by_model in sentences if any(row.get("attention") for row in by_model.values())]
    ordered = sorted(attended or sentences, key=_source_words)
    step = max(1.0, len(ordered) / SHOWN)
    return [ordered[int(place * step)] for place in range(min(SHOWN, len(ordered)))]


def _how_to_read(view: View, sentences: dict[str, list[Sentence]]) -> list[Paragraph]:
    every = [row for own in sentences.values() for by_model in own for row in by_model.values()]
    text = (
        "The same sentences through every model, by its first seed. Underlined words do not stand in the reference, "
        "which does not make them wrong."
    )
    if any("bleu" in row for row in every):
        text += " BLEU and chrF of a single sentence"
        signature = (view.results.provenance.get("signatures") or {}).get("sentence")
        text += f" (`{signature}`)" if signature else ""
        text += " are coarse: they tell sentences apart, and do not average to the scores of a test set."
    if any("attention" in row for row in every):
        text += (
            " Attention, in hundredths, is where in the source (across) a model looked when it said each of its words "
            "(down), over its heads or layers together. It is kept of some sentences of each test set, from the "
            "shortest to the longest."
        )
    paragraphs = [Paragraph(text)]
    shown, known = sum(len(_sample(own)) for own in sentences.values()), sum(map(len, sentences.values()))
    if shown < known:
        paragraphs.append(
            Paragraph(
                f"{shown} of {known:,} sentences stand here; all of them are in results/examples.jsonl.", "static"
            )
        )
    return paragraphs


def _explorer(view: View, sentences: dict[str, list[Sentence]]) -> Explorer:
    every = [by_model for own in sentences.values() for by_model in own]
    named = {model: None for by_model in every for model in by_model}
    models = [
        *(model for model in view.styles if model in named),
        *(name for name in named if name not in view.styles),
    ]
    places = {model: place for place, model in enumerate(models)}
    sets = list(dict.fromkeys(_set(by_model) for by_model in every))
    shown = [_example(view, by_model, models) for own in sentences.values() for by_model in _sample(own)]
    content = {
        "models": [{"label": cell.text, "colour": cell.colour} for cell in map(view.name, models)],
        "sets": sets,
        "sentences": [
            [
                sets.index(_set(by_model)),
                _first(by_model)["id"],
                _source_words(by_model),
                _first(by_model)["source"],
                _first(by_model)["reference"],
                [
                    [
                        places[model],
                        by_model[model]["hypothesis"],
                        by_model[model].get("bleu"),
                        by_model[model].get("chrf"),
                        by_model[model].get("attention"),
                    ]
                    for model in models
                    if model in by_model
                ],
            ]
            for by_model in every
        ],
    }
    bins = [f"{low}-{high}" for low, high in view.results.study.get("bins") or []]
    return Explorer(shown, content, [(name, spoken_bin(name)) for name in bins])


def _example(view: View, by_model: Sentence, models: list[str]) -> Example:
    first = _first(by_model)
    translations = []
    for model in models:
        if model in by_model:
            row, name = by_model[model], view.name(model)
            attention = Attention(**row["attention"]) if row.get("attention") else None
            pieces = mark_differences(row["hypothesis"], first["reference"])
            translations.append(Translation(name.text, name.colour, pieces, _scores(row), attention))
    title = f"{_set(by_model)}, sentence {first['id']}: {_source_words(by_model)} words"
    return Example(title, first["source"], first["reference"], translations)


def _scores(row: dict[str, Any]) -> str:
    known = [(name, row.get(key)) for name, key in (("BLEU", "bleu"), ("chrF", "chrf"))]
    return ", ".join(f"{name} {words.number(value)}" for name, value in known if value is not None)


def _first(by_model: Sentence) -> dict[str, Any]:
    return next(iter(by_model.values()))


def _source_words(by_model: Sentence) -> int:
    return int(_first(by_model).get("source_words") or 0)


def _set(by_model: Sentence) -> str:
    """Where a sentence stands and how it was translated."""
    row = _first(by_model)
    parts = [row["corpus"], spoken_test_set(row.get("test_set", "")), spoken_decoding(row.get("decoding") or "")]
    return ", ".join(part for part in parts if part)


def _left_out(view: View, corpus: str, hidden: int) -> str:
    name = view.results.study.get("name", "STUDY")
    sentences = words.sentence(words.count(hidden, "translated sentence"))
    verb = "is" if hidden == 1 else "are"
    return (
        f"{corpus}: the text belongs to its owners and may not be passed on. {sentences} {verb} left out of this "
        f"page; scores, figures and verdicts are complete. To see them, make the report on your own machine: "
        f"`./run_all.sh {name}` fetches the corpus and writes reports/{name}/index.html."
    )
