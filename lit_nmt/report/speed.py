"""The part of a report about throughput and memory."""

from __future__ import annotations

import math

import pandas as pd

from lit_nmt.benchmark.settings import SINGLE
from lit_nmt.report import words
from lit_nmt.report.content import Cell, Column, Facts, Figure, Fold, Group, Paragraph, Section, Table
from lit_nmt.report.figures import draw_bars, draw_curves, draw_lengths
from lit_nmt.report.view import View, spoken_decoding

SETTING = ["device", "threads", "precision"]
TOKENS = "target tokens per second"
HOW = (
    "Tokens are target tokens without padding. Models take turns, so that a change of the machine's speed hits all "
    "alike; warm-up is not counted; intervals are over the measured windows. Utilisation is the model's operations a "
    "second, without padding, over those of the fastest matrix product on the device; padding the share of positions "
    "in a batch that hold no token; outside the share of a training's time that is spent outside the model, about "
    "none where it comes out below 0."
)
COUNTING = (
    "Operations were counted while each model ran, on sentences whose source and target are equally long. An "
    "operation is a product of matrices, a sum, an activation or the like over whole tensors."
)


def speed_section(view: View) -> Section:
    """Throughput and peak memory per device and precision, and how many operations wait for one another."""
    rows = view.results["throughput"]
    rows = rows[rows["model"].isin(list(view.styles)) & rows["tokens_per_second"].notna()]
    if rows.empty:
        text = "Throughput has not been measured yet; `lit-nmt bench` does it, on a machine that is otherwise idle."
        return Section("speed", "Speed and memory", [Paragraph(text, "missing"), *_operations(view)])
    blocks: list[object] = []
    alike = settings(rows)
    spoken = [_spoken_parts(group) for group in alike]
    for place, group in enumerate(alike):
        label = spoken_setting(group)
        # the headings name what tells this setting from the others
        differing = [part for part, *others in zip(spoken[place], *spoken, strict=True) if len(set(others)) > 1]
        apart = f", {', '.join(differing)}" if differing else ""
        stem = f"throughput{place + 1}" if len(alike) > 1 else "throughput"
        for corpus, own in group[group["source_length"].isna()].groupby("corpus", sort=False):
            blocks.append(_corpus_figure(view, f"{stem}.{corpus}", f"On {corpus}{apart}", str(corpus), label, own))
            blocks.append(_table(view, f"{corpus}: {label}", own))
        fixed = group[group["source_length"].notna()]
        single = fixed["phase"].str.endswith(SINGLE)
        if not single.all():
            blocks.append(_length_figure(view, stem, f"Against sentence length{apart}", label, fixed[~single]))
        if single.any():
            blocks.append(_single_figure(view, stem, f"A sentence at a time{apart}", label, fixed[single]))
    blocks.extend(_scaling(view, rows))
    blocks.extend(_operations(view))
    blocks.insert(0, Paragraph(f"{HOW} Compare within one setting only."))
    if view.results.environment.get("warning"):
        blocks.insert(1, Paragraph(words.sentence(f"{view.results.environment['warning']}."), "warning"))
    environment = facts(view.results.environment)
    if environment:
        blocks.append(Fold("The machine these were measured on", [Facts(environment)]))
    return Section("speed", "Speed and memory", blocks)


def settings(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows of `throughput.csv` by device, threads and precision: what was measured alike."""
    return [group for _, group in rows.groupby(SETTING, sort=False, dropna=False)]


def spoken_phase(phase: str) -> str:
    """Says decode-beam5 as "Decoding, beam 5"."""
    base = phase.removesuffix(SINGLE)
    spoken = "Training" if base == "train" else f"Decoding, {spoken_decoding(base.removeprefix('decode-'))}"
    return spoken if base == phase else f"{spoken}, single sentences"


def spoken_setting(rows: pd.DataFrame) -> str:
    """Device, threads and precision of rows that share them."""
    return ", ".join(part for part in _spoken_parts(rows) if part)


def _spoken_parts(rows: pd.DataFrame) -> tuple[str, str, str]:
    row = rows.iloc[0]
    return (
        words.device(row["device"] or "device not recorded"),
        words.count(int(row["threads"]), "thread") if math.isfinite(row["threads"]) else "",
        str(row["precision"] or "precision not recorded"),
    )


def facts(content: dict[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested plain values as names and texts, one a line."""
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, dict):
            rows.extend(facts(value, f"{name}: "))
        elif key.endswith("_bytes") and isinstance(value, int | float):
            rows.append((name.removesuffix(" bytes"), words.memory(value)))
        elif value not in (None, "", []):
            values = value if isinstance(value, list) else [value]
            shown = [f"{item:.6g}" if isinstance(item, float) else str(item) for item in values]
            rows.append((name, ", ".join(shown)))
    return rows


def _corpus_figure(view: View, stem: str, title: str, corpus: str, label: str, rows: pd.DataFrame) -> Figure:
    panels = []
    for phase, group in rows.groupby("phase", sort=False):
        frame = group.drop_duplicates("model", keep="last")[["model", "low", "high"]].assign(
            y=group["tokens_per_second"]
        )
        panels.append(draw_bars(f"{stem}.{phase}", spoken_phase(str(phase)), TOKENS, frame, view.styles))
    caption = f"Throughput on {corpus} at its own sentence lengths; {label}. The line on a bar is its interval."
    return Figure(title, panels, caption)


def _length_figure(view: View, stem: str, title: str, label: str, rows: pd.DataFrame) -> Figure:
    panels = []
    for phase, group in rows.groupby("phase", sort=False):
        frame = group[["model", "low", "high"]].assign(x=group["source_length"], y=group["tokens_per_second"])
        name = f"{stem}.{phase}-by-length"
        panels.append(draw_lengths(name, spoken_phase(str(phase)), TOKENS, frame, view.styles))
    for phase, group in rows[rows["peak_memory_bytes"].notna()].groupby("phase", sort=False):
        frame = group[["model"]].assign(
            x=group["source_length"], y=group["peak_memory_bytes"] / 2**20, low=math.nan, high=math.nan
        )
        shown = f"{spoken_phase(str(phase))}: peak memory"
        panels.append(draw_lengths(f"{stem}.{phase}-memory-by-length", shown, "MiB", frame, view.styles))
    caption = (
        f"Throughput and peak memory at fixed source lengths; {label}. A batch has equally many target tokens at any "
        "length: the longer its sentences, the fewer at once. Bands are intervals over windows."
    )
    numbers = _table(view, f"Fixed lengths: {label}", rows)
    return Figure(title, panels, caption, numbers)


def _single_figure(view: View, stem: str, title: str, label: str, rows: pd.DataFrame) -> Figure:
    panels = []
    for phase, group in rows.groupby("phase", sort=False):
        tokens = 1000 * group["source_length"]
        frame = group[["model"]].assign(
            x=group["source_length"],
            y=tokens / group["tokens_per_second"],
            low=tokens / group["high"],
            high=tokens / group["low"],
        )
        doing = spoken_phase(str(phase))
        panels.append(draw_lengths(f"{stem}.{phase}-by-length", doing, "milliseconds a sentence", frame, view.styles))
    caption = (
        f"Time of a batch that is one sentence; {label}. A training step includes the update of all weights, which "
        "takes as long for any sentence. A flat line is constant time. Bands are intervals over windows."
    )
    return Figure(title, panels, caption, _table(view, f"Single sentences: {label}", rows))


def _scaling(view: View, rows: pd.DataFrame) -> list[Table]:
    """What more threads bring, where models were measured with several numbers of them."""
    tables = []
    where = rows["source_length"].map(lambda length: f"{length:.0f}", na_action="ignore").fillna(rows["corpus"])
    for (device, precision), alike in rows.assign(where=where).groupby(["device", "precision"], sort=False):
        least, *more = sorted(alike["threads"].dropna().unique())
        speeds = alike.pivot_table("tokens_per_second", ["phase", "model", "where"], "threads", sort=False)
        places = list(dict.fromkeys(alike["where"]))
        for count in more:
            ratios = (speeds[count] / speeds[least]).to_dict()
            groups = []
            for phase in dict.fromkeys(alike["phase"]):
                lines = []
                for model in view.styles:
                    own = [ratios.get((phase, model, place), math.nan) for place in places]
                    if any(map(math.isfinite, own)):
                        lines.append([view.name(model), *(Cell(words.number(ratio, 2), ratio) for ratio in own)])
                groups.append(Group(lines, spoken_phase(str(phase))))
            columns = [Column("model", number=False)]
            columns += [
                Column(place, hint="subwords" if place.isdigit() else "at its own lengths") for place in places
            ]
            counts = f"{words.count(int(count), 'thread')} over {words.count(int(least), 'thread')}"
            title = f"Tokens a second, {counts}, against sentence length: {words.device(device)}, {precision}"
            tables.append(Table(title, columns, groups))
    return tables


OPERATIONS = {
    "sequential-training": "Longest chain, reading and training",
    "sequential-decoding": "Longest chain, decoding",
    "path-source-target": "Longest path from a source word",
    "path-target-target": "Longest path from an earlier target word",
}
"""The quantities in `operations.csv` as a reader calls them."""


def _operations(view: View) -> list[Paragraph | Figure]:
    rows = view.results["operations"]
    rows = rows[rows["model"].isin(list(view.styles))]
    if rows.empty:
        return []
    text = (
        "Time is one thing, operations that wait for one another are another. What Vaswani et al. 2017 (Table 1) call "
        "O(1) in self-attention is the chain of operations each of which needs the result of the one before: it is as "
        "long for any sentence, where a recurrent network adds to it with every word. They do not say it of time. A "
        "longer sentence is more work in every architecture, in self-attention as the square of its length; only a "
        "machine that does all of it at once takes the same time for it. And a translation is written a word at a "
        "time, so that in decoding the chain grows with the length wherever a word is chosen with a view to those "
        "before it. A path is the shortest chain from one word to the prediction of another: the shorter the longest "
        "of them, the easier is it to learn what words far apart have to do with each other."
    )
    panels, groups = [], []
    lengths = sorted(rows["length"].unique())
    for quantity, title in OPERATIONS.items():
        own = rows[(rows["quantity"] == quantity) & rows["operations"].notna()]
        if own.empty:
            continue
        # a straight line is what grows by the same with every word
        frame = own[["model"]].assign(seed="", x=own["length"], y=own["operations"])
        name, axis = f"operations.{quantity}", "subwords in source and in target"
        panels.append(draw_curves(name, title, "operations, one after the other", frame, view.styles, axis))
        lines = []
        for model in view.styles:
            each = own[own["model"] == model].set_index("length")
            if len(each):
                counts = [each["operations"].get(length, math.nan) for length in lengths]
                apart = each["unconnected"].max() if quantity.startswith("path") else math.nan
                lines.append(
                    [
                        view.name(model),
                        *(Cell(words.number(number, 0), number) for number in counts),
                        Cell(_share(apart), apart),
                    ]
                )
        groups.append(Group(lines, title))
    columns = [Column("model", number=False), *(Column(f"{length:.0f} subwords") for length in lengths)]
    columns.append(
        Column("not joined", hint="pairs of positions that no path joins, at the length where they are most")
    )
    numbers = Table("Operations that wait for one another", columns, groups)
    return [Paragraph(text), Figure("Operations that wait for one another", panels, COUNTING, numbers)]


def _table(view: View, title: str, rows: pd.DataFrame) -> Table:
    groups = []
    for (phase, corpus, length), group in rows.groupby(["phase", "corpus", "source_length"], sort=False, dropna=False):
        lines = []
        for model in view.styles:
            for row in group[group["model"] == model].itertuples():
                lines.append(
                    [
                        view.name(model),
                        Cell(words.number(row.tokens_per_second, 0), row.tokens_per_second),
                        Cell(words.interval(row.low, row.high, 0), row.low),
                        Cell(words.rounded(row.sentences_per_second), row.sentences_per_second),
                        Cell(words.memory(row.peak_memory_bytes), row.peak_memory_bytes),
                        Cell(words.number(row.utilisation, 2), row.utilisation),
                        Cell(_share(row.padding_share), row.padding_share),
                        Cell(_share(row.outside_share), row.outside_share),
                    ]
                )
        where = f"{corpus}" if math.isnan(length) else f"sources of {length:.0f} subwords"
        groups.append(Group(lines, f"{spoken_phase(str(phase))}, {where}"))
    columns = [
        Column("model", number=False),
        Column("tokens/s", hint=TOKENS),
        Column("interval"),
        Column("sentences/s"),
        Column("peak memory", hint="of a fresh process"),
        Column("utilisation", hint="FLOP/s of the model over the fastest matrix product on the device"),
        Column("padding", hint="share of padded positions in a batch"),
        Column("outside", hint="share of the time spent outside the model"),
    ]
    return Table(title, columns, groups)


def _share(value: float) -> str:
    return words.NOTHING if not math.isfinite(value) else f"{words.number(100 * value, 1)}{words.THIN}%"
