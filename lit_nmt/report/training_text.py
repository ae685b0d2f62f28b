"""The part of a report about the text that was trained on: BLEU against its size, and past its longest sentences."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lit_nmt.report import words
from lit_nmt.report.content import Cell, Column, Figure, Group, Section, Table
from lit_nmt.report.figures import Panel, draw_bins, draw_curves
from lit_nmt.report.styles import Style
from lit_nmt.report.tables import over_seeds
from lit_nmt.report.view import View, spoken_bin, spoken_decoding, spoken_test_set


def training_text_sections(view: View) -> list[Section]:
    """BLEU over the sizes and the longest sentences that claims compare; no section where none does."""
    blocks = [*_by_size(view), *_past_the_caps(view)]
    return [Section("training-text", "Quality against the training text", blocks)] if blocks else []


def _numbers(view: View, claim: str, key: str) -> list[tuple[str, int]]:
    """Corpora and their numbers from a claim's criterion, from the smallest; of corpora that have been scored."""
    criterion: dict[str, Any] = (view.results.study.get("claims") or {}).get(claim) or {}
    known = [(corpus, int(number)) for corpus, number in (criterion.get(key) or {}).items() if view.test_sets(corpus)]
    # only of one test set are scores comparable
    alike = len({(view.primary_set(corpus), view.length_set(corpus)) for corpus, _ in known}) == 1
    return sorted(known, key=lambda item: item[1]) if alike else []


def _by_size(view: View) -> list[Figure]:
    sizes = _numbers(view, "transformers-need-more-data", "pairs")
    if len(sizes) < 2:
        return []
    parts = [view.primary_scores(corpus, view.case).assign(x=pairs) for corpus, pairs in sizes]
    scores = pd.concat(parts, ignore_index=True)
    frame = scores[["model", "seed", "x"]].assign(y=scores["bleu"])
    title = "BLEU against the size of the training text"
    panel = draw_curves(
        "bleu-by-pairs", title, "BLEU", frame, view.styles, "pairs that were trained on", doubling=True
    )
    rankings = [view.ranking(corpus).set_index("model") for corpus, _ in sizes]
    rows = []
    for model in view.styles:
        if model not in set(frame["model"]):
            continue
        known = [ranking.reindex([model]).iloc[0] for ranking in rankings]
        cells = [
            Cell(words.number(own["bleu"]), own["bleu"], note=words.interval(own["bleu_low"], own["bleu_high"]))
            for own in known
        ]
        rows.append([view.name(model), *cells])
    columns = [Column("model", number=False), *(Column(f"{pairs:,} pairs", hint=corpus) for corpus, pairs in sizes)]
    numbers = Table(
        title, columns, [Group(rows)], "Means over seeds, with the 95 % interval over seeds and sentences."
    )
    test_set = spoken_test_set(view.primary_set(sizes[0][0]))
    caption = (
        f"{words.sentence(test_set)}, {spoken_decoding(view.decodings[0])}; the same sentences at every size. Thick: "
        "mean of the seeds; thin: each seed."
    )
    return [Figure("Size of the training text", [panel], caption, numbers)]


def _past_the_caps(view: View) -> list[Figure]:
    caps = _numbers(view, "attention-carries-to-untrained-lengths", "caps")
    if len(caps) != 2:
        return []
    labels = {corpus: f"up to {cap} words" for corpus, cap in caps}
    parts = [view.length_scores(corpus, view.case).assign(corpus=corpus) for corpus, _ in caps]
    scores = pd.concat(parts, ignore_index=True)
    bins = list(dict.fromkeys(scores["bin"]))
    scores = scores.rename(columns={"bleu": "value", "bleu_low": "low", "bleu_high": "high"})
    panels, groups = _kept(view, scores, *labels), []
    for model in view.styles:
        own = scores[scores["model"] == model]
        if own.empty:
            continue
        drawn = own[["seed", "bin", "sentences", "value", "low", "high"]].assign(model=own["corpus"].map(labels))
        colour = view.styles[model].colour
        # the higher cap as the model is drawn everywhere, the lower one dashed
        styles = {label: Style(label, colour, 1 - number) for number, label in enumerate(labels.values())}
        panels.append(draw_bins(f"{model}.bleu-by-cap", view.label(model), "BLEU", drawn, styles))
        means = over_seeds(drawn, ["model", "bin"], ["value"]).set_index(["model", "bin"])["value"]
        rows = [
            [Cell(label), *(Cell(words.number(mean), mean) for mean in means[label].reindex(bins))]
            for label in labels.values()
            if label in set(drawn["model"])
        ]
        groups.append(Group(rows, view.label(model)))
    columns = [Column("trained", number=False), *(Column(spoken_bin(part)) for part in bins)]
    test_set = spoken_test_set(view.length_set(caps[0][0]))
    low, high = labels.values()
    caption = (
        f"{words.sentence(test_set)}, {spoken_decoding(view.decodings[0])}; as in Figure 2 of Bahdanau et al. 2015, "
        f"every model was trained on sentences of {low} and again of {high}. BLEU kept: of the former over that of "
        "the latter, seed by seed, so that 1 is no loss; the verdict leaves out the bins just below a cap. Points: "
        "means over seeds; bars: 95 % bootstrap interval over sentences; dots: single seeds."
    )
    return [Figure("Longest sentences of training", panels, caption, Table("BLEU by cap", columns, groups))]


def _kept(view: View, scores: pd.DataFrame, low: str, high: str) -> list[Panel]:
    """BLEU of each model with the lower cap over that with the higher one; none where no seed has both."""
    key = ["model", "seed", "bin"]
    capped, other = (scores[scores["corpus"] == corpus] for corpus in (low, high))
    both = capped.merge(other[[*key, "value"]], on=key, suffixes=("", "_other"))
    both = both[both["value_other"] > 0]
    unknown = {"low": float("nan"), "high": float("nan")}
    frame = both[[*key, "sentences"]].assign(value=both["value"] / both["value_other"], **unknown)
    drawn = not frame.empty
    return [draw_bins("bleu-kept", "BLEU kept", "ratio of BLEU", frame, view.styles, 1.0)] if drawn else []
