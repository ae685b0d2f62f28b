"""Figures: a tidy frame in, a panel out, drawn once for the page (SVG), for papers (SVG) and for GitHub (PNG).

A panel is small enough to be read on a phone and shows one quantity. The page's copy takes its colours from CSS
variables, hence follows a dark page. The same frame gives the same bytes: no date, a fixed salt for identifiers, the
typeface that Matplotlib brings.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from lit_nmt.report.styles import INKS, SERIES, Style
from lit_nmt.report.words import rounded

WIDTH, HEIGHT = 440, 286
TOP, BOTTOM, LEFT, RIGHT = 34, 46, 44, 16
TEXT, SMALL = 12.5, 11.5
SAMPLE = 26
SVG = "http://www.w3.org/2000/svg"
XLINK = "{http://www.w3.org/1999/xlink}href"
SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lit_nmt",
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    "text.color": INKS["ink"][0],
    "axes.unicode_minus": True,
    "path.simplify": False,
}


@dataclass(frozen=True)
class Panel:
    """One drawn figure: `inline` for the page, `svg` and `png` for files of the stem `name`."""

    name: str
    title: str
    inline: str
    svg: str
    png: bytes

    @property
    def view_box(self) -> str:
        """Of the drawing on the page, which another place on it can show again by `name`."""
        found = re.search(r'viewBox="([^"]*)"', self.inline)
        return found[1] if found else ""


def draw_bins(
    name: str,
    title: str,
    unit: str,
    frame: pd.DataFrame,
    styles: Mapping[str, Style],
    reference: float | None = None,
) -> Panel:
    """Draws a score against source length: means joined by lines, intervals as bars, seeds as dots.

    Args:
        frame: model, seed, bin ("5-10"), sentences, value and, where known, low, high: one row per seed. Bins
            come in the order of reading.
        reference: a level worth a line of its own, 1 for length ratios.
    """
    bins = list(dict.fromkeys(frame["bin"]))
    sizes = frame.groupby("bin")["sentences"].max()
    drawn = [model for model in styles if model in set(frame["model"])]

    def paint(axes: Axes, labels: _Labels) -> None:
        shift = 0.09 if len(drawn) < 5 else 0.4 / len(drawn)
        several = frame.groupby("model")["seed"].nunique().max() > 1
        for i, model in enumerate(drawn):
            style, rows = styles[model], frame[frame["model"] == model]
            x = np.arange(len(bins)) + (i - (len(drawn) - 1) / 2) * shift
            means = rows.groupby("bin")[["value", "low", "high"]].mean().reindex(bins)
            axes.plot(x, means["value"], color=style.ink, linestyle=style.dashes, linewidth=2, zorder=3)
            axes.plot(x, means["value"], style.marker, color=style.ink, markersize=5.5, zorder=4)
            axes.vlines(x, means["low"], means["high"], color=style.ink, linewidth=4, alpha=0.28, zorder=2)
            if several and len(drawn) < 5:
                dots = x[[bins.index(name) for name in rows["bin"]]]
                axes.plot(dots, rows["value"], ".", color=style.ink, markersize=3, alpha=0.65, zorder=5)
            labels.add(means["value"].to_numpy(), style, style.marker)
        if reference is not None:
            axes.axhline(reference, color=INKS["soft"][0], linewidth=1, linestyle=(0, (2, 3)), zorder=1)
            low, high = axes.get_ylim()
            # So that noise does not fill the panel.
            axes.set_ylim(min(low, 0.95 * reference), max(high, 1.05 * reference))
        _a_whole_point(axes)
        axes.set_xlim(-0.4, len(bins) - 0.6)
        axes.xaxis.set_major_locator(FixedLocator(list(range(len(bins)))))
        axes.xaxis.set_major_formatter(FixedFormatter([name.replace("-", "–") for name in bins]))
        room = axes.get_position().width * WIDTH / len(bins)
        axes.tick_params(axis="x", labelsize=min(TEXT, room / 3.5))
        for i, name in enumerate(bins):
            _below(axes, 1, f"{sizes[name]:,.0f}", i)
        for line, text in enumerate(("source words", "sentences")):
            _below(axes, line, text, axes.get_xlim()[1], 7)

    return _panel(name, title, unit, paint, [styles[m] for m in drawn], rows=len(drawn))


def _a_whole_point(axes: Axes) -> None:
    """Draws scores that are all next to nothing from 0 to 1, lest noise fill the panel; what falls below 0 is none."""
    if axes.dataLim.ymin >= 0 and axes.get_ylim()[1] < 1:
        axes.set_ylim(0, 1)


def draw_curves(
    name: str,
    title: str,
    unit: str,
    frame: pd.DataFrame,
    styles: Mapping[str, Style],
    axis: str,
    from_0: bool = True,
    doubling: bool = False,
) -> Panel:
    """Draws curves, as of learning: one thin line per seed, thick the mean of the seeds.

    Of seeds with equally many points each point of the mean is that of theirs; else it goes as far as all have come.
    On a doubling axis each x has the mean of the seeds that are there.

    Args:
        frame: model, seed, x, y. `x` is in the unit that `axis` names.
        from_0: whether the axis begins at 0.
        doubling: whether the axis is logarithmic; it then names each x.
    """
    drawn = [model for model in styles if model in set(frame["model"])]

    def paint(axes: Axes, labels: _Labels) -> None:
        for model in drawn:
            style, seeds = styles[model], []
            for _, rows in frame[frame["model"] == model].groupby("seed"):
                rows = rows.sort_values("x")
                seeds.append((rows["x"].to_numpy(float), rows["y"].to_numpy(float)))
            for x, y in seeds if len(seeds) > 1 else []:
                axes.plot(x, y, color=style.ink, linewidth=0.8, alpha=0.4, linestyle=style.dashes)
            if doubling:
                points = frame[frame["model"] == model].groupby("x")["y"].mean()
                common, mean = points.index.to_numpy(float), points.to_numpy(float)
            elif len({len(x) for x, _ in seeds}) == 1:
                common, mean = np.mean(seeds, axis=0)
            else:
                low, high = max(x[0] for x, _ in seeds), min(x[-1] for x, _ in seeds)
                common = np.unique(np.concatenate([x for x, _ in seeds]))
                common = common[(common >= low) & (common <= high)]
                mean = np.mean([np.interp(common, x, y) for x, y in seeds], axis=0)
            if len(common):
                marker = style.marker if doubling or len(common) == 1 else ""
                axes.plot(
                    common,
                    mean,
                    color=style.ink,
                    linewidth=2,
                    linestyle=style.dashes,
                    marker=marker,
                    zorder=3,
                )
                labels.add(mean, style, marker)
        _a_whole_point(axes)
        if doubling:
            _double(axes, frame["x"])
        else:
            if from_0:
                axes.set_xlim(left=0)
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        _below(axes, 1, axis)

    return _panel(name, title, unit, paint, [styles[m] for m in drawn], rows=len(drawn))


def draw_lengths(name: str, title: str, unit: str, frame: pd.DataFrame, styles: Mapping[str, Style]) -> Panel:
    """Draws speed or memory against a fixed source length, doubling along the axis.

    Args:
        frame: model, x (tokens), y and, where known, low, high.
    """
    drawn = [model for model in styles if model in set(frame["model"])]
    values = frame["y"][frame["y"] > 0]
    logarithmic = len(values) > 0 and values.max() / values.min() > 8

    def paint(axes: Axes, labels: _Labels) -> None:
        if logarithmic:
            axes.set_yscale("log")
        for model in drawn:
            style, rows = styles[model], frame[frame["model"] == model].sort_values("x")
            axes.plot(
                rows["x"],
                rows["y"],
                color=style.ink,
                linestyle=style.dashes,
                linewidth=2,
                marker=style.marker,
                markersize=5,
                zorder=3,
            )
            axes.fill_between(rows["x"], rows["low"], rows["high"], color=style.ink, alpha=0.16, linewidth=0, zorder=2)
            labels.add(rows["y"].to_numpy(), style, style.marker)
        _double(axes, frame["x"])
        if logarithmic:
            axes.yaxis.set_major_locator(FixedLocator(_round_levels(values.min(), values.max())))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.set_ylim(values.min() / 1.4, values.max() * 1.3)
        else:
            axes.set_ylim(0, frame[["y", "high"]].max().max() * 1.08)
        _below(axes, 1, "subwords in the source")

    note = ", logarithmic" if logarithmic else ""
    return _panel(name, title, unit + note, paint, [styles[m] for m in drawn], rows=len(drawn))


def _double(axes: Axes, x: pd.Series) -> None:
    """Makes every doubling as wide as the next, with a tick at each x."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted(x.unique())))
    axes.xaxis.set_minor_locator(NullLocator())


def draw_bars(name: str, title: str, unit: str, frame: pd.DataFrame, styles: Mapping[str, Style]) -> Panel:
    """Draws one value per model as a bar from 0, its interval, and the number itself.

    Args:
        frame: model, y and, where known, low, high.
    """
    frame = frame.set_index("model")
    drawn = [model for model in styles if model in frame.index]
    top = float(np.nanmax(frame[["y", "high"]].to_numpy(float)))

    def paint(axes: Axes, _: _Labels) -> None:
        for i, model in enumerate(drawn):
            style, row = styles[model], frame.loc[model]
            axes.barh(i, row["y"], height=0.34, color=style.ink, alpha=0.9, zorder=2)
            axes.hlines(i, row["low"], row["high"], color=INKS["ink"][0], linewidth=1.6, zorder=3)
            axes.text(0, i - 0.27, style.label, va="bottom", ha="left", color=style.ink, fontsize=TEXT)
            end = max(row["y"], row["high"]) if row["high"] == row["high"] else row["y"]
            axes.text(end + top * 0.02, i, rounded(row["y"]), va="center", ha="left", fontsize=TEXT)
        axes.set_xlim(0, top * 1.18)
        axes.set_ylim(len(drawn) - 0.6, -0.75)
        axes.xaxis.set_visible(False)
        axes.yaxis.set_visible(False)
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)
        axes.spines["left"].set_visible(True)
        axes.spines["left"].set_color(INKS["rule"][0])

    return _panel(name, title, unit, paint, [], height=TOP + 12 + 48 * len(drawn), left=4, bottom=12)


class _Labels:
    """Names lines at their right ends, in their colours, moved apart where they would overlap.

    A label that had to move is led to its line; where lines share a colour, a piece of each stands before its label.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[float, Style, str]] = []

    def add(self, values: np.ndarray, style: Style, marker: str) -> None:
        finite = values[np.isfinite(values)]
        if len(finite):
            self.entries.append((float(finite[-1]), style, marker))

    def draw(self, axes: Axes) -> None:
        box = axes.get_position()
        size = axes.figure.get_size_inches() * 72  # type: ignore[union-attr]
        height, right, bottom = box.height * size[1], box.x1 * size[0], box.y0 * size[1]
        to_points = lambda y: (axes.transData.transform((1, y))[1] - axes.bbox.y0) / axes.bbox.height * height
        samples = share_a_colour([style for _, style, _ in self.entries])
        texts = [_wrap(style.label) for _, style, _ in self.entries]
        wanted = [to_points(y) for y, *_ in self.entries]
        sizes = [14.0 * (1 + text.count("\n")) for text in texts]
        places = spread(wanted, sizes, height)
        for (_, style, marker), text, end, y in zip(self.entries, texts, wanted, places, strict=True):
            if abs(y - end) > 5:
                self._line(axes, [(right + 1, bottom + end), (right + 6, bottom + y)], color=style.ink, linewidth=0.7)
            if samples:
                ends = [(right + 8, bottom + y), (right + 6 + SAMPLE, bottom + y)]
                self._line(axes, ends, color=style.ink, linewidth=2, linestyle=style.dashes)
                middle = [(right + 7 + SAMPLE / 2, bottom + y)]
                self._line(axes, middle, color=style.ink, linewidth=0, marker=marker, markersize=5)
            axes.annotate(
                text,
                (1, y / height),
                xycoords="axes fraction",
                xytext=(7 + (SAMPLE + 3 if samples else 0), 0),
                textcoords="offset points",
                va="center",
                ha="left",
                color=style.ink,
                fontsize=SMALL,
                linespacing=1.15,
                annotation_clip=False,
            )

    @staticmethod
    def _line(axes: Axes, points: Sequence[tuple[float, float]], **options: Any) -> None:
        """Draws on the figure, beside the axes; places in points from its lower left corner."""
        x, y = np.array(points).T / 72
        axes.figure.add_artist(Line2D(x, y, transform=axes.figure.dpi_scale_trans, **options))


def share_a_colour(styles: Sequence[Style]) -> bool:
    """Whether a label's colour alone does not tell whose it is."""
    return len({style.colour for style in styles}) < len(styles)


def spread(wanted: Sequence[float], sizes: Sequence[float], height: float) -> list[float]:
    """Moves labels apart as little as their sizes ask for, keeping their order and, if they fit, the frame.

    Args:
        wanted: the centres that the labels would like to have, in points.
        sizes: their heights, in points.
        height: of the frame, which begins at 0.

    Returns:
        Centres in the order of `wanted`; neighbours are at least half of both sizes apart.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    # Blocks of labels that touch: [lowest edge, [labels]]; a block stands where its members want it on average.
    blocks: list[tuple[float, list[int]]] = []
    for i in order:
        members = [i]
        while True:
            total = sum(sizes[m] for m in members)
            offsets = np.cumsum([0.0] + [sizes[m] for m in members[:-1]]) + [sizes[m] / 2 for m in members]
            start = float(np.mean([wanted[m] for m in members] - offsets))
            start = max(0.0, min(start, height - total)) if total <= height else start
            if not blocks or blocks[-1][0] + sum(sizes[m] for m in blocks[-1][1]) <= start:
                break
            members = blocks.pop()[1] + members
        blocks.append((start, members))
    centres = [0.0] * len(wanted)
    for start, members in blocks:
        for member in members:
            centres[member] = start + sizes[member] / 2
            start += sizes[member]
    return centres


def _panel(
    name: str,
    title: str,
    unit: str,
    paint: Callable[[Axes, _Labels], None],
    labelled: Sequence[Style],
    height: float | None = None,
    left: float = LEFT,
    bottom: float = BOTTOM,
    rows: int = 0,
) -> Panel:
    """Sets up axes of the house style, lets `paint` fill them, and renders the three forms."""
    # below bins "source words" stands there as well
    texts = [*(_wrap(style.label) for style in labelled), "source words"] if labelled else []
    longest = max((len(line) for text in texts for line in text.split("\n")), default=0)
    right = RIGHT + longest * 6.6 + (SAMPLE if share_a_colour(labelled) else 0)
    height = height or max(HEIGHT, TOP + bottom + 30 * rows)
    with rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        axes = figure.add_axes(
            (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, (height - TOP - bottom) / height)
        )
        figure.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        axes.set_axisbelow(True)
        axes.grid(axis="y", color=INKS["rule"][0], linewidth=0.8)
        for side in ("top", "left", "right"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(INKS["soft"][0])
        axes.tick_params(axis="both", length=0, pad=5, labelcolor=INKS["ink"][0], labelsize=TEXT)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        direct = _Labels()
        paint(axes, direct)
        for axis in (axes.xaxis, axes.yaxis):
            if not isinstance(axis.get_major_formatter(), FixedFormatter):
                axis.set_major_formatter(FuncFormatter(_tick_format(axis.get_majorticklocs())))
        numbers = axes.yaxis.get_tightbbox()
        if numbers is not None and numbers.x0 < 0:  # those of five digits would be cut
            frame = axes.get_position()
            frame.x0 -= numbers.x0 / figure.bbox.width
            axes.set_position(frame)
        direct.draw(axes)
        figure.text(4 / WIDTH, 1 - 15 / height, unit, va="center", ha="left", color=INKS["soft"][0])
        drawing, picture = io.StringIO(), io.BytesIO()
        figure.savefig(drawing, format="svg", metadata={"Date": None, "Creator": None})
        figure.patch.set(alpha=1, facecolor="white")
        figure.savefig(picture, format="png", dpi=144, metadata={"Software": None})
    inline, svg = _clean(drawing.getvalue(), name, f"{title}: {unit}")
    return Panel(name, title, inline, svg, picture.getvalue())


def _clean(drawing: str, name: str, description: str) -> tuple[str, str]:
    """Turns Matplotlib's SVG into one for the page (CSS variables, unique identifiers) and one for files."""
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(drawing.encode("utf-8"))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    used = set(re.findall(r"#([A-Za-z_][\w.-]*)", " ".join(v for e in root.iter() for v in e.attrib.values())))
    for element in root.iter():
        if element.attrib.get("id") not in used:
            element.attrib.pop("id", None)
        if XLINK in element.attrib:
            element.set("href", element.attrib.pop(XLINK))
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key == "href" or "url(#" in value:
                element.set(key, re.sub(r"#(?=[A-Za-z_])", f"#{name}-", value))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", description)
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt")
    plain = ElementTree.tostring(root, encoding="unicode")
    names = {pair[0]: f"var(--{ink})" for ink, pair in INKS.items()}
    names |= {pair[0]: f"var(--series-{i})" for i, pair in enumerate(SERIES)}
    inline = re.sub(r"#[0-9a-f]{6}\b", lambda match: names.get(match[0], match[0]), plain)
    inline = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", inline)
    _, _, width, height = root.attrib["viewBox"].split()
    inline = inline.replace("<svg ", f'<svg id="{name}" ', 1)
    paper = f'<rect width="{width}" height="{height}" fill="#ffffff" />'
    svg = re.sub(r"^(<svg[^>]*>)", lambda match: match[1] + paper, plain)
    return inline, svg + "\n"


def _below(axes: Axes, line: int, text: str, x: float | None = None, shift: float | None = None) -> None:
    """Writes soft text under the axis: centred on `x`, or `shift` points to its right, or from the left edge."""
    figure = axes.figure
    at = axes.transAxes if x is None else axes.transData
    offset = -LEFT + 4 if x is None else shift or 0
    drop = ScaledTranslation(offset / 72, -(12.5 + 17 * line) / 72, figure.dpi_scale_trans)
    axes.text(
        0 if x is None else x,
        0,
        text,
        transform=blended_transform_factory(at, axes.transAxes) + drop,
        ha="center" if shift is None and x is not None else "left",
        va="center",
        color=INKS["soft"][0],
        fontsize=SMALL,
    )


def _wrap(label: str) -> str:
    return "\n".join(textwrap.wrap(label, 15)) or label


def _round_levels(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten inside a range, at least one of them."""
    powers = range(int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1)
    levels = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    return [level for level in levels if low / 1.4 <= level <= high * 1.3] or [low]


def _tick_format(ticks: np.ndarray) -> Callable[[float, object], str]:
    """Writes the numbers of an axis with as many decimals as tell them apart, all alike, and no exponent."""
    digits = next((d for d in range(9) if np.allclose(np.round(ticks, d), ticks, rtol=0, atol=1e-9)), 9)
    return lambda value, _: f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")
