"""The part of a report about memory: how far back gradients reach, and what is recalled after a delay."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lit_nmt.claims.memory import Forgetting, slopes
from lit_nmt.evaluation import ALL, POOLED, cells
from lit_nmt.intervals import percentile_interval, resampled_sums
from lit_nmt.metrics import is_exact
from lit_nmt.report import words
from lit_nmt.report.content import Cell, Column, Figure, Group, Paragraph, Section, Table
from lit_nmt.report.figures import draw_bins, draw_curves
from lit_nmt.report.tables import over_seeds
from lit_nmt.report.view import View, spoken_bin, spoken_decoding, spoken_test_set

FEWEST = 5
"""Sentences that a point of a curve needs."""
PROBED = (
    "A gradient is that of the loss of the last subword of the target that has a letter or digit, with respect to the "
    "embedding of a source subword, in double precision and without dropout; before training, of the weights that it "
    "began with."
)
RECALLED = "A translation is right that says what the reference says, word by word."
TRAINING = {"before": "Before training", "after": "After training"}


def memory_sections(view: View) -> list[Section]:
    """Gradients over distance and recall after a delay; no section where neither was measured."""
    blocks = [*_gradients(view), *_recall(view)]
    return [Section("memory", "Memory over distance", blocks)] if blocks else []


def _gradients(view: View) -> list[Paragraph | Figure]:
    rows = view.results["gradients"]
    if rows.empty:
        return []
    text = (
        "How strongly does the last word of a translation still depend on a word of the source? The figures show the "
        "gradient of its loss with respect to the source word: how much the loss would change with a small change of "
        "that word. Where it is close to nothing, the source word has no influence, and training learns nothing from "
        "it. In a recurrent network each step multiplies the gradient once more, so that it tends to vanish "
        "exponentially, a straight line here (Bengio et al. 1994; Pascanu et al. 2013); the gates of the LSTM were "
        "made against that (Hochreiter & Schmidhuber 1997), and attention reaches every word at once. After training, "
        "a gradient that falls is by itself no sign of forgetting: attention may have learned to look at few words, "
        "and hardly depends on the others."
    )
    return [Paragraph(text), *(_gradient_figure(view, str(name), own) for name, own in rows.groupby("corpus"))]


def _gradient_figure(view: View, corpus: str, rows: pd.DataFrame) -> Figure:
    panels = []
    for training, title in TRAINING.items():
        own = rows[rows["training"] == training].astype({"seed": str})
        parts = [
            at_each_distance(one).assign(model=model, seed=seed)
            for (model, seed), one in own.groupby(["model", "seed"], observed=True)
            if model in view.styles
        ]
        frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
        if frame.empty:
            continue
        name, axis = f"{corpus}.gradients-{training}", "subwords from the source word to the last target word"
        unit = "norm of the gradient, as a power of ten"
        panels.append(draw_curves(name, title, unit, frame, view.styles, axis, from_0=False))
    sentences, seeds = rows["id"].nunique(), rows["seed"].nunique()
    caption = (
        f"{words.sentence(words.count(sentences, 'sentence'))} of {corpus}, {words.count(seeds, 'seed')}; geometric "
        f"means of distances that at least {words.count(FEWEST, 'sentence')} have, of which each counts for what it "
        "has by itself: differences between sentences are taken out, as from the slopes in the table. Thick: mean of "
        f"the seeds; thin: each seed. {PROBED}"
    )
    return Figure(f"{corpus}: gradients over distance", panels, caption, _slope_table(view, corpus, rows))


def at_each_distance(rows: pd.DataFrame) -> pd.DataFrame:
    """The log10 of the norm in the average sentence, at each distance: x and y.

    By least squares with a term for each sentence and one for each distance, as other sentences have other distances.
    Where no distance that both have joins two groups of sentences, only the larger one can be told.

    Args:
        rows: of `gradients.parquet`, of one model and seed.
    """
    rows = rows[rows.groupby("distance")["id"].transform("size") >= FEWEST]
    if rows.empty:
        return pd.DataFrame({"x": [], "y": []})
    sentence, ids = pd.factorize(rows["id"])
    distance, _ = pd.factorize(rows["distance"])
    size = len(ids) + len(set(distance))
    edges = coo_array((np.ones(len(rows)), (sentence, len(ids) + distance)), shape=(size, size))
    _, group = connected_components(edges, directed=False)
    rows = rows[group[sentence] == np.bincount(group[sentence]).argmax()]
    sentences, distances = (pd.get_dummies(rows[name], dtype=float) for name in ("id", "distance"))
    terms, *_ = np.linalg.lstsq(np.hstack([sentences, distances]), rows["log_norm"].to_numpy(float))
    level = terms[: sentences.shape[1]].mean()
    return pd.DataFrame(
        {"x": distances.columns.astype(float), "y": (level + terms[sentences.shape[1] :]) / math.log(10)}
    )


def _slope_table(view: View, corpus: str, rows: pd.DataFrame) -> Table:
    known = {(slope.model, slope.training): slope for slope in slopes(rows)}
    lines = []
    for model in view.styles:
        line = [view.name(model)]
        for training in TRAINING:
            slope = known.get((model, training))
            if slope is None:
                line += [Cell(words.NOTHING)] * 2
                continue
            change, low, high = (100 * math.expm1(value) for value in slope.interval[:3])
            half = -math.log(2) / slope.interval.value if slope.interval.high < 0 else math.nan
            line += [
                Cell(words.number(change), change, note=words.interval(low, high)),
                Cell(words.rounded(half), half),
            ]
        if any(cell.text != words.NOTHING for cell in line[1:]):
            lines.append(line)
    columns = [Column("model", number=False)]
    for title in TRAINING.values():
        columns.append(Column("change, %", hint="of the norm with each subword of distance", group=title))
        columns.append(Column("halved in", hint="subwords; none where the norm may not fall at all", group=title))
    note = "Change of the norm with each further subword, within sentences, with its 95 % interval."
    return Table(f"{corpus}: how fast gradients vanish", columns, [Group(lines)], note)


def asks_to_recall(view: View) -> str:
    """The corpus that asks to recall a word; empty where the study has none."""
    criterion = (view.results.study.get("claims") or {}).get("recurrent-nets-forget")
    return str(criterion.get("recall", Forgetting.recall)) if criterion is not None else ""


def recall_in_words(view: View) -> list[str]:
    """How much is right after the longest delay, in a sentence; none where nothing was measured."""
    frame = _recalled(view)
    if frame.empty:
        return []
    longest = list(dict.fromkeys(frame["bin"]))[-1]
    means = over_seeds(frame[frame["bin"] == longest], ["model"], ["value"]).sort_values("value", ascending=False)
    shares = [f"{view.label(row.model)} {words.number(row.value, 0)} %" for row in means.itertuples()]
    return [
        f"On {asks_to_recall(view)}, the share of lists whose first word is named after {spoken_bin(longest)}: "
        f"{words.listing(shares)}."
    ]


def _recalled(view: View) -> pd.DataFrame:
    """The share of sentences that are right in %, with its interval over sentences, by model, seed and delay."""
    corpus, decoding, sentences = asks_to_recall(view), view.decodings[0], view.results["sentences"]
    columns = ["model", "seed", "bin", "sentences", "value", "low", "high"]
    if not corpus or sentences.empty:
        return pd.DataFrame(columns=columns)
    bins, test_set = view.results.study.get("bins") or [], view.length_set(corpus)
    own = sentences[(sentences["corpus"] == corpus) & (sentences["decoding"] == decoding)]
    rows = []
    for cell in cells(own, bins, pooled=test_set == POOLED):
        if cell.bin == ALL or cell.test_set != test_set:
            continue
        right = is_exact(cell.statistics)
        resampled = resampled_sums(right[..., None])[..., 0] / right.shape[1]
        for (model, seed), share, samples in zip(cell.systems, right.mean(axis=1), resampled, strict=True):
            interval = percentile_interval(float(share), samples)
            rows.append((model, str(seed), cell.bin, right.shape[1], *(100 * np.array(interval[:3]))))
    frame = pd.DataFrame(rows, columns=columns)
    return frame[frame["model"].isin(list(view.styles))]


def _recall(view: View) -> list[Paragraph | Figure]:
    frame, corpus, decoding = _recalled(view), asks_to_recall(view), view.decodings[0]
    if frame.empty:
        return []
    test_set = view.length_set(corpus)
    text = (
        f"In {corpus} the translation is to repeat the first word of the source, and nothing else of it matters: the "
        "longer the source, the longer that word has to be remembered."
    )
    panel = draw_bins(f"{corpus}.recall", "Recall after a delay", "sentences that are right, %", frame, view.styles)
    caption = (
        f"{words.sentence(spoken_test_set(test_set))}, {spoken_decoding(decoding)}. Points: means over seeds; bars: "
        f"95 % bootstrap interval over sentences; dots: single seeds. {RECALLED}"
    )
    return [Paragraph(text), Figure(f"{corpus}: recall", [panel], caption, _recall_table(view, corpus, frame))]


def _recall_table(view: View, corpus: str, frame: pd.DataFrame) -> Table:
    bins = list(dict.fromkeys(frame["bin"]))
    means = over_seeds(frame, ["model", "bin"], ["value"]).set_index(["model", "bin"])["value"]
    lines = [
        [view.name(model), *(Cell(words.number(means[model, part]), means[model, part]) for part in bins)]
        for model in view.styles
        if model in set(frame["model"])
    ]
    columns = [Column("model", number=False), *(Column(spoken_bin(part)) for part in bins)]
    return Table(f"{corpus}: sentences that are right, %", columns, [Group(lines)])
