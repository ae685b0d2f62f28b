"""The part of a report about throughput and memory."""

from __future__ import annotations

import math

import pandas as pd

from lit_nmt.report import words
from lit_nmt.report.content import Cell, Column, Facts, Figure, Fold, Group, Paragraph, Section, Table
from lit_nmt.report.figures import draw_bars, draw_lengths
from lit_nmt.report.view import View, spoken_decoding

SETTING = ["device", "threads", "precision"]
TOKENS = "target tokens per second"
HOW = (
    "Tokens are target tokens without padding. Models take turns, so that a change of the machine's speed hits all "
    "alike; warm-up is not counted; intervals are over the measured windows."
)


def speed_section(view: View) -> Section:
    """Training and decoding throughput and peak memory, on the corpus and against length, per device and precision."""
    rows = view.results["throughput"]
    rows = rows[rows["model"].isin(list(view.styles)) & rows["tokens_per_second"].notna()]
    if rows.empty:
        text = "Throughput has not been measured yet; `lit-nmt bench` does it, on a machine that is otherwise idle."
        return Section("speed", "Speed and memory", [Paragraph(text, "missing")])
    blocks: list[object] = []
    alike = settings(rows)
    for place, group in enumerate(alike):
        label = spoken_setting(group)
        stem = f"throughput{place + 1}" if len(alike) > 1 else "throughput"
        for corpus, own in group[group["source_length"].isna()].groupby("corpus", sort=False):
            blocks.append(_corpus_figure(view, f"{stem}.{corpus}", str(corpus), label, own))
            blocks.append(_table(view, f"{corpus}: {label}", own))
        fixed = group[group["source_length"].notna()]
        if len(fixed):
            blocks.append(_length_figure(view, stem, label, fixed))
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
    if phase == "train":
        return "Training"
    return f"Decoding, {spoken_decoding(phase.removeprefix('decode-'))}"


def spoken_setting(rows: pd.DataFrame) -> str:
    """Device, threads and precision of rows that share them."""
    row = rows.iloc[0]
    parts = [str(row["device"] or "device not recorded")]
    if math.isfinite(row["threads"]):
        parts.append(words.count(int(row["threads"]), "thread"))
    return ", ".join([*parts, str(row["precision"] or "precision not recorded")])


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


def _corpus_figure(view: View, stem: str, corpus: str, label: str, rows: pd.DataFrame) -> Figure:
    panels = []
    for phase, group in rows.groupby("phase", sort=False):
        frame = group.drop_duplicates("model", keep="last")[["model", "low", "high"]].assign(
            y=group["tokens_per_second"]
        )
        panels.append(draw_bars(f"{stem}.{phase}", spoken_phase(str(phase)), TOKENS, frame, view.styles))
    caption = f"Throughput on {corpus} at its own sentence lengths; {label}. The line on a bar is its interval."
    return Figure(f"On {corpus}", panels, caption)


def _length_figure(view: View, stem: str, label: str, rows: pd.DataFrame) -> Figure:
    panels = []
    for phase, group in rows.groupby("phase", sort=False):
        frame = group[["model", "low", "high"]].assign(x=group["source_length"], y=group["tokens_per_second"])
        name = f"{stem}.{phase}-by-length"
        panels.append(draw_lengths(name, spoken_phase(str(phase)), TOKENS, frame, view.styles))
    for phase, group in rows[rows["peak_memory_bytes"].notna()].groupby("phase", sort=False):
        frame = group[["model"]].assign(
            x=group["source_length"], y=group["peak_memory_bytes"] / 2**20, low=math.nan, high=math.nan
        )
        title = f"{spoken_phase(str(phase))}: peak memory"
        panels.append(draw_lengths(f"{stem}.{phase}-memory-by-length", title, "MiB", frame, view.styles))
    caption = f"Throughput and peak memory at fixed source lengths; {label}. Bands are intervals over windows."
    numbers = _table(view, f"Fixed lengths: {label}", rows)
    return Figure("Against sentence length", panels, caption, numbers)


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
