"""The parts of a report about translation quality: scores, sentence length, learning."""

from __future__ import annotations

import pandas as pd

from lit_nmt.evaluation import ALL
from lit_nmt.intervals import ENOUGH_SEEDS
from lit_nmt.report import words
from lit_nmt.report.content import Cell, Column, Figure, Group, Paragraph, Section, Table
from lit_nmt.report.figures import Panel, draw_bins, draw_curves
from lit_nmt.report.tables import over_seeds
from lit_nmt.report.view import View, best, spoken_bin, spoken_decoding, spoken_test_set

BY = (
    "BLEU and chrF by sacreBLEU on detokenised text, cased; lc: lower-cased, as many papers score; length: hypothesis "
    "tokens per reference token. The best of each column is bold."
)
NO_SCORES = "No translations have been scored yet; `lit-nmt score` does it once runs have finished."


def quality_section(view: View) -> Section:
    """The main table: every test set, decoding and score, and the paired differences."""
    blocks: list[object] = []
    for corpus in view.corpora:
        if view.test_sets(corpus):
            blocks.append(_headline(view, corpus))
            blocks.append(_scores(view, corpus))
            blocks.extend(_contrasts(view, corpus))
        else:
            blocks.append(Paragraph(f"{corpus}: {_lower(NO_SCORES)}", "missing"))
    return Section("quality", "Translation quality", blocks or [Paragraph(NO_SCORES, "missing")])


def length_section(view: View) -> Section:
    """BLEU, chrF and length ratio against source length."""
    blocks: list[object] = []
    for corpus in view.corpora:
        scores = view.length_scores(corpus)
        if scores.empty:
            text = "no scores by length" if view.test_sets(corpus) else _lower(NO_SCORES)
            blocks.append(Paragraph(f"{corpus}: {text}", "missing"))
            continue
        blocks.append(_length_figure(view, corpus, scores))
    return Section("length", "Quality against sentence length", blocks or [Paragraph(NO_SCORES, "missing")])


def learning_section(view: View) -> Section:
    """Validation BLEU and loss against target tokens and wall-clock time."""
    curves = view.results["curves"]
    blocks: list[object] = []
    for corpus in view.corpora:
        panels = _curve_panels(view, corpus, curves[curves["corpus"] == corpus])
        if panels:
            caption = (
                "Scores on the validation split during training, by greedy search, against what was spent: target "
                "tokens, and time on the machine named below, where trainings side by side slow each other: which "
                "model trains faster, the throughput alone tells. Thick: mean of the seeds; thin: each seed. Loss is "
                "the negative log-likelihood per target token, without label smoothing."
            )
            if cutting := view.cutting(corpus):
                caption += (
                    f" That of {words.listing([view.label(model) for model in cutting])} holds the same for every "
                    "target token beyond the outputs, which cannot be said, and does not compare with the others'."
                )
            blocks.append(Figure(corpus, panels, caption))
        else:
            blocks.append(
                Paragraph(f"{corpus}: no learning curves yet; they come with the first finished run.", "missing")
            )
    return Section("learning", "Learning curves", blocks or [Paragraph("No runs yet.", "missing")])


def _headline(view: View, corpus: str) -> Table:
    runs = view.results["runs"]
    runs = runs[(runs["corpus"] == corpus) & (runs["status"] == "finished")]
    ranking = view.ranking(corpus)
    validation = over_seeds(runs, ["model"], ["best_validation_bleu"]).set_index("model")
    cased = "cased" if view.case == "mixed" else "lower-cased"
    rows = []
    for rank, row in ranking.iterrows():
        model = row["model"]
        own = runs[runs["model"] == model]
        known = validation.loc[model] if model in validation.index else None
        rows.append(
            [
                view.name(model),
                Cell(words.number(row["bleu"]), row["bleu"], "best" if rank == 0 and len(ranking) > 1 else ""),
                Cell(words.interval(row["bleu_low"], row["bleu_high"]), row["bleu_low"]),
                Cell(words.NOTHING)
                if known is None
                else Cell(words.number(known["best_validation_bleu"]), known["best_validation_bleu"]),
                Cell(words.large(own["parameters"].mean()), own["parameters"].mean()),
                Cell(words.duration(own["train_seconds"].mean()), own["train_seconds"].mean()),
                Cell(str(row["seeds"]), float(row["seeds"])),
            ]
        )
    test_set, decoding = spoken_test_set(view.primary_set(corpus)), spoken_decoding(view.decodings[0])
    note = (
        f"BLEU on {test_set}, {decoding}, {cased}: mean over the seeds. The interval (95 %) counts both chances: "
        "which seeds were trained and which sentences were tested."
    )
    if 1 < ranking["seeds"].max() < ENOUGH_SEEDS:
        note += " With so few seeds it is wide, and says little."
    if ranking["seeds"].max() == 1:
        note += " With one seed it counts sentences alone."
    columns = [
        Column("model", number=False),
        Column("BLEU"),
        Column("95 % interval"),
        Column("validation BLEU", hint="of the weights that are scored, greedy, on the validation split"),
        Column("parameters"),
        Column("training", hint="wall-clock time of a run, mean"),
        Column("seeds"),
    ]
    return Table(f"{corpus}: the main result", columns, [Group(rows)], note)


def _scores(view: View, corpus: str) -> Table:
    """Rows are models, grouped by test set; columns are scores, by decoding."""
    columns = [Column("model", number=False)]
    for decoding in view.decodings:
        spoken = spoken_decoding(decoding)
        for title, hint in (
            ("BLEU", "cased"),
            ("BLEU lc", "lower-cased, as many papers score"),
            ("chrF", "character n-gram F-score, cased"),
            ("length", "hypothesis tokens per reference token"),
        ):
            columns.append(Column(title, hint=hint, group=spoken))
    cased = _summary(view, corpus, "mixed", ["bleu", "chrf", "length_ratio"])
    lowered = _summary(view, corpus, "lc", ["bleu"])
    groups = []
    for test_set in view.test_sets(corpus):
        models = [name for name in view.styles if (test_set, view.decodings[0], name) in cased.index]
        rows = [[view.name(model)] for model in models]
        for decoding in view.decodings:
            for frame, value, digits in (
                (cased, "bleu", 1),
                (lowered, "bleu", 1),
                (cased, "chrf", 1),
                (cased, "length_ratio", 2),
            ):
                cells = []
                for model in models:
                    key = (test_set, decoding, model)
                    if key not in frame.index:
                        cells.append(Cell(words.NOTHING))
                        continue
                    mean, spread = frame.loc[key, value], frame.loc[key, f"{value}_spread"]
                    shown = words.number(mean, 2) if digits == 2 else words.with_spread(mean, spread)
                    cells.append(Cell(shown, mean))
                top = best(cell.key for cell in cells if cell.key is not None)
                for row, cell in zip(rows, cells, strict=True):
                    winner = digits == 1 and len(cells) > 1 and cell.key == top
                    row.append(Cell(cell.text, cell.key, "best") if winner else cell)
        sentences = view.scores()
        sentences = sentences[(sentences["corpus"] == corpus) & (sentences["test_set"] == test_set)]
        size = sentences[sentences["bin"] == ALL]["sentences"].max()
        groups.append(Group(rows, f"{spoken_test_set(test_set)} ({words.number(size, 0)} sentences)"))
    return Table(f"{corpus}: all scores", columns, groups, _spread_note(view, corpus))


def _spread_note(view: View, corpus: str) -> str:
    seeds = int(view.ranking(corpus)["seeds"].max())
    if seeds == 1:
        return f"One seed a model. {BY}"
    if seeds == 2:
        spread = "Means over two seeds, too few for an interval"
    else:
        spread = f"Means over {words.count(seeds, 'seed')} with the 95 % t interval over seeds"
    return f"{spread}. {BY}"


def _summary(view: View, corpus: str, case: str, values: list[str]) -> pd.DataFrame:
    scores = view.scores(case)
    scores = scores[(scores["corpus"] == corpus) & (scores["bin"] == ALL)]
    key = ["test_set", "decoding", "model"]
    return over_seeds(scores, key, values).set_index(key)


def _contrasts(view: View, corpus: str) -> list[Table]:
    contrasts = view.contrasts(corpus)
    if contrasts.empty:
        return []
    rows = [
        [
            Cell(f"{view.label(row.model_a)} less {view.label(row.model_b)}"),
            Cell(words.number(row.difference), row.difference),
            Cell(words.interval(row.low, row.high), row.low),
            Cell(_probability(row.p_value), row.p_value),
            Cell(words.number(row.seeds, 0), row.seeds),
            Cell(str(row.method)),
        ]
        for row in contrasts.itertuples()
    ]
    columns = [
        Column("models", number=False),
        Column("BLEU difference"),
        Column("95 % interval"),
        Column("p", hint="two-sided, of no difference"),
        Column("seeds"),
        Column("method", number=False),
    ]
    where = f"{spoken_test_set(view.primary_set(corpus))}, {spoken_decoding(view.decodings[0])}"
    note = f"Compared seed by seed on the same sentences ({where}). An interval that holds 0 shows nothing."
    return [Table(f"{corpus}: differences between models", columns, [Group(rows)], note)]


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.001 else words.number(value, 3)


def _length_figure(view: View, corpus: str, scores: pd.DataFrame) -> Figure:
    bins = list(dict.fromkeys(scores["bin"]))
    panels, groups = [], []
    for stem, title, value, low, high, reference in (
        ("bleu", "BLEU against source length", "bleu", "bleu_low", "bleu_high", None),
        ("chrf", "chrF against source length", "chrf", "chrf_low", "chrf_high", None),
        ("length-ratio", "Hypothesis length against source length", "length_ratio", None, None, 1.0),
    ):
        own = view.length_scores(corpus, view.case) if stem == "bleu" else scores
        frame = own[["model", "seed", "bin", "sentences"]].assign(
            value=own[value],
            low=own[low] if low else float("nan"),
            high=own[high] if high else float("nan"),
        )
        frame = frame[frame["value"].notna()]
        if frame.empty:
            continue
        name = f"{corpus}.{stem}-by-length"
        bleu = "BLEU, cased" if view.case == "mixed" else "BLEU, lower-cased"
        unit = {"bleu": bleu, "chrf": "chrF, cased"}.get(stem, "tokens per reference token")
        panels.append(draw_bins(name, title, unit, frame, view.styles, reference))
        means = over_seeds(frame, ["model", "bin"], ["value"]).set_index(["model", "bin"])
        bounds = frame.groupby(["model", "bin"])[["low", "high"]].mean()
        rows = []
        for model in view.styles:
            if model not in set(frame["model"]):
                continue
            row = [view.name(model)]
            for part in bins:
                mean = means.loc[(model, part), "value"] if (model, part) in means.index else float("nan")
                known = (model, part) in bounds.index and bounds.loc[(model, part)].notna().all()
                note = words.interval(*bounds.loc[(model, part)]) if known else ""
                row.append(Cell(words.number(mean, 2 if value == "length_ratio" else 1), mean, note=note))
            rows.append(row)
        groups.append(Group(rows, title))
    sizes = scores.groupby("bin")["sentences"].max()
    columns = [Column("model", number=False)]
    columns += [Column(spoken_bin(part), hint=f"{sizes[part]:,.0f} sentences") for part in bins]
    numbers = Table(f"{corpus}: scores by source length", columns, groups)
    caption = (
        f"{words.sentence(spoken_test_set(view.length_set(corpus)))}, {spoken_decoding(view.decodings[0])}; corpus "
        "scores of the sentences in each bin, whose sizes stand beneath. Points: means over seeds; bars: 95 % "
        "bootstrap interval over sentences; dots: single seeds."
    )
    return Figure(corpus, panels, caption, numbers)


def _curve_panels(view: View, corpus: str, curves: pd.DataFrame) -> list[Panel]:
    panels = []
    tokens, seconds = curves["target_tokens"].max(), curves["train_seconds"].max()
    million = tokens >= 2e6
    minutes = seconds >= 240
    for value, stem, title, unit in (
        ("validation_bleu", "bleu", "Validation BLEU", "BLEU"),
        ("validation_loss", "loss", "Validation loss", "nats per target token"),
    ):
        for axis, by, label, scale in (
            (
                "target_tokens",
                "tokens",
                "million target tokens" if million else "thousand target tokens",
                1e6 if million else 1e3,
            ),
            (
                "train_seconds",
                "time",
                "minutes of training" if minutes else "seconds of training",
                60 if minutes else 1,
            ),
        ):
            frame = curves[["model", "seed"]].assign(x=curves[axis] / scale, y=curves[value])
            frame = frame[frame["x"].notna() & frame["y"].notna() & frame["model"].isin(list(view.styles))]
            if len(frame):
                against = "tokens" if axis == "target_tokens" else "time"
                panels.append(
                    draw_curves(
                        f"{corpus}.{stem}-by-{by}",
                        f"{title} against {against}",
                        unit,
                        frame,
                        view.styles,
                        label,
                    )
                )
    return panels


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
