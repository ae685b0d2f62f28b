"""A report and its opening: the answer in plain words, what calls for care, and what was compared."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from lit_nmt.configuration import merge
from lit_nmt.data.corpora import POOLED
from lit_nmt.evaluation import ALL
from lit_nmt.intervals import ENOUGH_SEEDS
from lit_nmt.report import words
from lit_nmt.report.content import Cell, Column, Group, Paragraph, Report, Section, Table
from lit_nmt.report.examples import examples_section
from lit_nmt.report.memory import asks_to_recall, memory_sections, recall_in_words
from lit_nmt.report.origins import sources_section
from lit_nmt.report.quality import learning_section, length_section, quality_section
from lit_nmt.report.speed import speed_section, spoken_setting
from lit_nmt.report.tables import Results
from lit_nmt.report.training_text import training_text_sections
from lit_nmt.report.verdicts import SYMBOLS, verdicts_section
from lit_nmt.report.view import View, spoken_bin, spoken_decoding, spoken_test_set

STILL_LEARNING = 0.05
"""The share of its validation BLEU by which a model that is trained to the end gains less in the last fifth."""


def make_report(results: Results) -> Report:
    """Everything that a page says, from the tables alone."""
    view = View.of(results)
    name = str(results.study.get("name") or results.folder.parent.name)
    if view.trains:
        middle = [
            quality_section(view),
            *training_text_sections(view),
            length_section(view),
            *memory_sections(view),
            learning_section(view),
            speed_section(view),
            examples_section(view),
        ]
    else:
        middle = [speed_section(view)]
    others = [compared_section(view), *middle, sources_section(view)]
    return Report(
        name,
        str(results.study.get("title") or name),
        " ".join(str(results.study.get("question") or "").split()),
        summary(view),
        warnings(view),
        [verdicts_section(view, others), *others],
    )


def summary(view: View) -> list[str]:
    """The outcome in a few sentences, each left out where its numbers are missing."""
    paragraphs = []
    for corpus in view.corpora:
        if corpus == asks_to_recall(view):  # BLEU of its answers, of which one word is asked for, says little
            sentences = recall_in_words(view)
        else:
            sentences = [*_ranking_in_words(view, corpus), *_length_in_words(view, corpus)]
        if sentences:
            paragraphs.append(" ".join(sentences))
    speed = _speed_in_words(view)
    speed += counted_verdicts(view.results["claims"])
    if speed:
        paragraphs.append(" ".join(speed))
    return paragraphs or ["Nothing has been measured yet: this page fills as runs finish."]


def counted_verdicts(claims: pd.DataFrame) -> list[str]:
    """How the verdicts came out, as a sentence; none where nothing was judged."""
    if claims.empty:
        return []
    counts = {name: int((claims["verdict"] == name).sum()) for name in SYMBOLS}
    said = words.listing([words.count(n, name, name) for name, n in counts.items() if n])
    judged = words.count(claims["claim"].nunique(), "claim")
    return [f"Of {words.count(len(claims), 'verdict')} on {judged}, {said}."]


def warnings(view: View) -> list[str]:
    """What a reader must know before believing the page: runs that failed or are missing, few seeds, unequal sizes."""
    study, runs = view.results.study, view.results["runs"]
    found = []
    finished = runs[runs["status"] == "finished"]
    planned = [(str(c), str(m), str(s)) for c, m, s in study.get("planned") or []]
    have = set(zip(finished["corpus"], finished["model"], finished["seed"].astype(str), strict=True))
    failed = runs[runs["status"] == "failed"]
    if len(failed):
        names = [f"{view.label(r.model)} on {r.corpus}, seed {r.seed} ({r.stopped_by})" for r in failed.itertuples()]
        found.append(f"{words.sentence(words.count(len(names), 'run'))} failed: {'; '.join(names)}.")
    lost = {(r.corpus, r.model, str(r.seed)) for r in failed.itertuples()}
    missing = [run for run in planned if run not in have and run not in lost]
    if missing:
        text = f"{len(planned) - len(missing) - len(lost & set(planned))} of {len(planned)} planned runs have finished"
        found.append(f"{text}; the others are not in this report.")
    scores = view.scores()
    if len(scores):
        scored = set(zip(scores["corpus"], scores["model"], scores["seed"].astype(str), strict=True))
        waiting = [run for run in planned if run in have - scored]
        if waiting:
            found.append(f"{words.sentence(words.count(len(waiting), 'run'))} trained, but not translated yet.")
        finished = finished[[(r.corpus, r.model, str(r.seed)) in scored for r in finished.itertuples()]]
    few: dict[str, list[str]] = {}
    for corpus in view.corpora:
        counts = finished[finished["corpus"] == corpus].groupby("model")["seed"].nunique()
        if len(counts) and counts.min() < ENOUGH_SEEDS:
            seeds = words.count(int(counts.max()), "seed")
            if counts.min() < counts.max():
                seeds = f"{words.number(counts.min(), 0)} to {words.number(counts.max(), 0)} seeds"
            few.setdefault(seeds, []).append(corpus)
    for seeds, corpora in few.items():
        found.append(f"Few seeds: {seeds} a model on {words.listing(corpora)}. Differences may be those of chance.")
    tolerance = study.get("parameters_tolerance", 0.05)
    for corpus in view.corpora:
        sizes = runs[runs["corpus"] == corpus]["parameters"].dropna()
        if len(sizes) and sizes.min() > 0 and sizes.max() / sizes.min() - 1 > tolerance + 1e-9:
            share = words.number(100 * (sizes.max() / sizes.min() - 1), 0)
            found.append(
                f"On {corpus} the largest model has {share} % more parameters than the smallest; the study allows "
                f"{words.number(100 * tolerance, 0)} %."
            )
    for told, names in _cut_sentences(view).items():
        found.append(f"Too long for {words.listing(names)}, and cut: {told}.")
    return found + [told for corpus in view.corpora for told in _still_learning(view, corpus)]


def _still_learning(view: View, corpus: str) -> list[str]:
    """The models whose validation BLEU rose by more than `STILL_LEARNING` of it in the last fifth of the budget."""
    if corpus == asks_to_recall(view):  # whose BLEU says little
        return []
    curves = view.results["curves"]
    rows = curves[(curves["corpus"] == corpus) & curves["validation_bleu"].notna()].sort_values("step")
    risen, lasts = [], []
    for model in view.styles:
        seeds = [own["validation_bleu"].to_numpy() for _, own in rows[rows["model"] == model].groupby("seed")]
        seeds = [bleu for bleu in seeds if len(bleu) > 1]
        if not seeds:
            continue
        last = [max(1, len(bleu) // 5) for bleu in seeds]
        end = float(np.mean([bleu[-1] for bleu in seeds]))
        gain = end - float(np.mean([bleu[-1 - n] for bleu, n in zip(seeds, last, strict=True)]))
        if gain > STILL_LEARNING * end:
            risen.append(f"{view.label(model)} by {words.number(gain)} to {words.number(end)}")
            lasts.append(last[0] / len(seeds[0]))
    if not risen:
        return []
    return [
        f"Still learning on {corpus}: in the last {words.number(100 * max(lasts), 0)} % of the budget validation BLEU "
        f"rose, of {words.listing(risen)}. With more training they may compare otherwise."
    ]


def _cut_sentences(view: View) -> dict[str, list[str]]:
    """How many sentences are cut, in words: told -> the labels of the models of which it is so."""
    runs = view.results.provenance.get("runs") or []
    found: dict[str, list[str]] = {}
    for corpus in view.corpora:
        for model in view.styles:
            own = [run for run in runs if (run["corpus"], run["model"]) == (corpus, model) and "cut" in run]
            if not own:
                continue
            # the same for all seeds
            texts = {"the training text": own[0]["cut"]}
            records = own[0].get("translations") or {}
            texts |= {spoken_test_set(name): _cut_in(records, name) for name in view.test_sets(corpus)}
            parts = [
                f"{cut['sources']:,} of {cut['sentences']:,} sources and {cut['targets']:,} targets of {name}"
                for name, cut in texts.items()
                if cut
            ]
            if parts:
                found.setdefault(f"on {corpus}, {words.listing(parts)}", []).append(view.label(model))
    return found


def _cut_in(records: dict[str, Any], test_set: str) -> dict[str, int]:
    """The count in the record of any translation of a test set; no decoding changes it."""
    cuts = [record.get("cut") for name, record in records.items() if name.rsplit(".", 1)[0] == test_set]
    return next((cut for cut in cuts if cut), {})


def compared_section(view: View) -> Section:
    """Models, parameters, corpora and budget."""
    study = view.results.study
    blocks: list[Any] = []
    if view.styles:
        blocks.append(_models_table(view))
    if view.corpora:
        blocks.append(_corpora_table(view))
    blocks += _budget(view)
    if study.get("tuning"):
        blocks.append(_tuning(view, study["tuning"]))
    return Section("compared", "What was compared", blocks or [Paragraph("No runs yet.", "missing")])


def _budget(view: View) -> list[Paragraph]:
    study, runs = view.results.study, view.results["runs"]
    own = [bool((entry or {}).get("fit")) for entry in (study.get("models") or {}).values()]
    tokens = {
        corpus: merge(study.get("fit") or {}, (entry or {}).get("fit") or {}).get("data", {}).get("target_tokens")
        for corpus, entry in (study.get("corpora") or {}).items()
    }
    if any(own) or not all(tokens.values()) or not tokens:
        return []
    shown = {corpus: f"{words.large(float(budget))} target tokens" for corpus, budget in tokens.items()}
    if len(set(shown.values())) == 1:
        text = f"Every run has the same budget, {next(iter(shown.values()))}"
    else:
        each = ", ".join(f"{budget} on {corpus}" for corpus, budget in shown.items())
        text = f"Every run on a corpus has the same budget ({each})"
    spent = runs[runs["status"] == "finished"].groupby("corpus")["target_tokens"].agg(["min", "max"])
    uneven = spent[spent["max"] - spent["min"] > 0.02 * spent["max"]]
    for corpus, (least, most) in uneven.iterrows():
        text += f"; on {corpus}, between {words.large(least)} and {words.large(most)} were spent"
    if uneven.empty:
        text += ", and never stops early"
    text += (
        ". The weights of a run that are scored were chosen on the validation split; its test sets are decoded once."
    )
    return [Paragraph(text)]


def _models_table(view: View) -> Table:
    if not view.trains:
        return _measured_models_table(view)
    runs = view.results["runs"]
    rows = []
    for model in view.styles:
        own = runs[runs["model"] == model]
        done = own[own["status"] == "finished"]
        sizes = sorted(own["parameters"].dropna().unique())
        size = " / ".join(words.large(value) for value in sizes) or words.NOTHING
        state = f"{len(done)} of {len(own)}" if len(own) else "none"
        rows.append(
            [
                view.name(model),
                Cell(view.papers.get(model) or words.NOTHING),
                Cell(view.built.get(model) or words.NOTHING),
                Cell(size, sizes[0] if sizes else math.nan),
                Cell(words.duration(done["train_seconds"].mean()), done["train_seconds"].mean()),
                Cell(words.number(done["tokens_per_second"].mean(), 0), done["tokens_per_second"].mean()),
                Cell(words.memory(done["peak_memory_bytes"].max()), done["peak_memory_bytes"].max()),
                Cell(state, len(done), "" if len(done) == len(own) and len(own) else "failed"),
            ]
        )
    columns = [
        Column("model", number=False),
        Column("after", number=False, hint="the paper that the architecture is after; not each of its settings"),
        Column("as built", number=False),
        Column("parameters", hint="per corpus, where they differ by vocabulary"),
        Column("training", hint="wall-clock time of a run, mean"),
        Column("tokens/s", hint="target tokens per second during training, mean"),
        Column("peak memory"),
        Column("runs finished"),
    ]
    note = "Times and tokens/s of trainings are those beside whatever else ran: they do not compare architectures."
    return Table("Models", columns, [Group(rows)], note)


def _measured_models_table(view: View) -> Table:
    """Models that were measured and not trained."""
    measured = view.results["throughput"]
    rows = []
    for model in view.styles:
        sizes = measured[measured["model"] == model]["parameters"].dropna()
        size = sizes.iloc[0] if len(sizes) else math.nan
        told = [Cell(text.get(model) or words.NOTHING) for text in (view.papers, view.built)]
        rows.append([view.name(model), *told, Cell(words.large(size), size)])
    columns = [*(Column(name, number=False) for name in ("model", "after", "as built")), Column("parameters")]
    return Table("Models", columns, [Group(rows)])


def _tuning(view: View, tuning: dict[str, Any]) -> Table | Paragraph:
    """Every trial by which a model's settings were chosen, with its validation BLEU; the one chosen stands out."""
    note = " ".join(tuning["note"].split())
    if not tuning.get("trials"):
        return Paragraph(f"Tuning: {note}")
    models = tuning["trials"]
    best = {model: max(scores.values()) for model, scores in models.items()}
    rows = [
        [
            Cell(trial),
            *(
                Cell(words.number(scores[trial]), scores[trial], "best" if scores[trial] == best[model] else "")
                if trial in scores
                else Cell(words.NOTHING)
                for model, scores in models.items()
            ),
        ]
        for trial in dict.fromkeys(trial for scores in models.values() for trial in scores)
    ]
    columns = [
        Column("trial", number=False),
        *(Column(view.label(model), hint="validation BLEU") for model in models),
    ]
    return Table("Tuning: validation BLEU of each trial", columns, [Group(rows)], note)


def _corpora_table(view: View) -> Table:
    details = view.results.study.get("corpus_details") or {}
    rows = []
    for corpus in view.corpora:
        detail = details.get(corpus) or {}
        scores = view.scores()
        sizes = scores[(scores["corpus"] == corpus) & (scores["bin"] == ALL)].groupby("test_set", sort=False)
        tests = [f"{name} ({int(size):,})" for name, size in sizes["sentences"].max().items() if name != POOLED]
        seeds = view.seeds(corpus)
        direction = f"{detail.get('source', '?')} → {detail.get('target', '?')}" if detail else words.NOTHING
        rows.append(
            [
                Cell(corpus),
                Cell(direction),
                Cell(", ".join(tests) or words.NOTHING),
                Cell(", ".join(seeds) or words.NOTHING),
                Cell(_passed_on(detail)),
            ]
        )
    columns = [
        Column("corpus", number=False),
        Column("languages", number=False),
        Column("test sets (sentences)", number=False),
        Column("seeds", number=False),
        Column("text", number=False),
    ]
    return Table("Corpora", columns, [Group(rows)])


def _passed_on(detail: dict[str, Any]) -> str:
    if "redistribute" not in detail:
        return words.NOTHING
    return "may be passed on" if detail["redistribute"] else "may not be passed on"


def _ranking_in_words(view: View, corpus: str) -> list[str]:
    ranking = view.ranking(corpus) if view.test_sets(corpus) else pd.DataFrame()
    if ranking.empty:
        return []
    cased = "" if view.case == "mixed" else "lower-cased "
    where = f"{spoken_test_set(view.primary_set(corpus))}, {spoken_decoding(view.decodings[0])}"
    first = ranking.iloc[0]
    labels = [view.label(row.model) for row in ranking.itertuples()]
    scores = [words.number(row.bleu) for row in ranking.itertuples()]
    told = [f"{label} {bleu}" for label, bleu in zip(labels, scores, strict=True)]
    if first["bleu"] < 1:
        return [f"On {corpus} ({where}), no model has learned to translate: {words.listing(told)} {cased}BLEU."]
    equal = scores.count(scores[0])
    top, others = labels[:equal], told[equal:]
    alone = len(top) == 1
    verb = ("translates best, at" if alone else "translate best, at") if others else "reaches" if alone else "reach"
    text = f"On {corpus} ({where}), {words.listing(top)} {verb} {scores[0]} {cased}BLEU"
    sentences = ["; ".join([text, *([words.listing(others)] if others else [])]) + "."]
    sentences += _lead_in_words(view, corpus, ranking) if alone and others else []
    return sentences + _published_in_words(view, ranking)


def _published_in_words(view: View, ranking: pd.DataFrame) -> list[str]:
    """How far a model is from what a paper reports of it."""
    published = (view.results.study.get("primary") or {}).get("published") or {}
    sentences = []
    for row in ranking[ranking["model"].isin(list(published))].itertuples():
        bleu = published[row.model]
        inside = row.bleu_low <= bleu <= row.bleu_high
        sentences.append(
            f"Of {view.label(row.model)} {words.number(bleu, 2)} has been published: a difference of "
            f"{words.number(abs(bleu - row.bleu), 1)}, {'inside' if inside else 'outside'} the 95 % interval, "
            f"{words.interval(row.bleu_low, row.bleu_high)}."
        )
    return sentences


def _lead_in_words(view: View, corpus: str, ranking: pd.DataFrame) -> list[str]:
    """By how much the best is ahead of the second; nothing where the seeds that both have make another difference."""
    first, second = ranking.iloc[0], ranking.iloc[1]
    for row in view.contrasts(corpus).itertuples():
        if {row.model_a, row.model_b} != {first["model"], second["model"]} or not math.isfinite(row.low):
            continue
        sign = 1 if row.model_a == first["model"] else -1
        if abs(sign * row.difference - (first["bleu"] - second["bleu"])) > 0.05:
            continue
        bounds = sorted((sign * row.low, sign * row.high))
        lead = f"its lead over {view.label(second['model'])}, {words.number(abs(row.difference))} BLEU"
        verb = "is more than the choice of sentences explains" if bounds[0] > 0 else "may be chance"
        return [words.sentence(f"{lead} (95 % interval {words.interval(*bounds)}), {verb}.")]
    return []


def _length_in_words(view: View, corpus: str) -> list[str]:
    scores = view.length_scores(corpus, view.case)
    bins = list(dict.fromkeys(scores["bin"]))
    if len(bins) < 2:
        return []
    means = scores.groupby(["model", "bin"])["bleu"].mean()
    changes = []
    for model in view.styles:
        if (model, bins[0]) in means.index and (model, bins[-1]) in means.index:
            change = means[(model, bins[-1])] - means[(model, bins[0])]
            verb = "gains" if change > 0 else "loses"
            changes.append((change, f"{view.label(model)} {verb} {words.number(abs(change))}"))
    if not changes:
        return []
    said = words.listing([text for _, text in sorted(changes)])
    test_set = view.length_set(corpus)
    where = f"on {spoken_test_set(test_set)}, " if test_set != view.primary_set(corpus) else ""
    text = f"{where}from sources of {spoken_bin(bins[0])} to those of {spoken_bin(bins[-1])}, {said} BLEU."
    return [words.sentence(text)]


def _speed_in_words(view: View) -> list[str]:
    rows = view.results["throughput"]
    rows = rows[rows["source_length"].isna() & rows["tokens_per_second"].notna()]
    sentences = []
    for phase, doing in (("train", "training"), (f"decode-{view.decodings[0]}", "decoding")):
        group = rows[rows["phase"] == phase]
        if group.empty:
            continue
        setting = ["device", "threads", "precision", "corpus"]
        first = group[(group[setting].astype(str) == group[setting].astype(str).iloc[0]).all(axis=1)]
        ordered = first.sort_values("tokens_per_second", ascending=False, kind="stable")
        said = [f"{view.label(r.model)} {words.number(r.tokens_per_second, 0)}" for r in ordered.itertuples()]
        how = f" ({spoken_setting(ordered)})" if doing == "training" else f" with {spoken_decoding(phase[7:])}"
        sentences.append(f"Target tokens per second in {doing}{how}: {words.listing(said)}.")
    return sentences
