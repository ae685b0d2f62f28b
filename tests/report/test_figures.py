"""Figures: the same drawing each time, colours that belong to architectures, labels that do not overlap."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes

from lit_nmt.report.figures import draw_bars, draw_bins, draw_curves, draw_lengths, share_a_colour, spread
from lit_nmt.report.styles import INKS, SERIES, css_variables, model_styles

STYLES = model_styles(
    {
        "transformer": {"architecture": "Transformer", "title": "Transformer"},
        "rotary": {"architecture": "Transformer", "title": "Transformer"},
        "seq2seq": {"architecture": "Seq2Seq", "title": "Seq2seq"},
    }
)
BINS = pd.DataFrame(
    [
        {"model": m, "seed": s, "bin": b, "sentences": 150, "value": v + s, "low": v - 1, "high": v + 2}
        for m, v in (("transformer", 40), ("seq2seq", 30))
        for s in (1, 2)
        for b in ("5-10", "11-60")
    ]
)


def test_a_piece_of_line_stands_before_a_label_only_where_colours_do_not_tell() -> None:
    three = [STYLES[name] for name in ("transformer", "rotary", "seq2seq")]
    assert share_a_colour(three)
    assert not share_a_colour([three[0], three[2]])
    frame = pd.DataFrame([{"model": m, "seed": "", "x": x, "y": float(x)} for m in STYLES for x in (1, 2, 3)])
    shared = draw_curves("a", "Learning", "BLEU", frame, STYLES, "updates").svg
    alone = draw_curves("a", "Learning", "BLEU", frame[frame["model"] != "rotary"], STYLES, "updates").svg
    # the dashes of the one that is not whole: of its line, and of the piece before its label
    count = lambda svg: svg.count("stroke-dasharray")
    assert count(shared) >= count(alone) + 2


@pytest.fixture(scope="module")
def panels() -> list:
    nan = float("nan")
    curve = pd.DataFrame([{"model": "seq2seq", "seed": s, "x": x, "y": x * s} for s in (1, 2) for x in (1, 2, 3)])
    lengths = pd.DataFrame([{"model": "rotary", "x": x, "y": 100 * x, "low": nan, "high": nan} for x in (8, 16, 128)])
    bars = pd.DataFrame([{"model": "rotary", "y": 10.0, "low": nan, "high": nan}])
    return [
        draw_bins("one", "BLEU", "BLEU", BINS, STYLES, 35.0),
        draw_bins("two", "BLEU", "BLEU", BINS, STYLES),
        draw_curves("three", "Loss", "nats", curve, STYLES, "tokens"),
        draw_lengths("four", "Speed", "tokens/s", lengths, STYLES),
        draw_bars("five", "Speed", "tokens/s", bars, STYLES),
    ]


def test_every_form_is_well_made(panels) -> None:
    for panel in panels:
        for drawing in (panel.inline, panel.svg):
            root = ElementTree.fromstring(drawing)
            assert root.attrib["role"] == "img"
            assert panel.title in root.attrib["aria-label"]
            assert "viewBox" in root.attrib
        assert panel.png.startswith(b"\x89PNG")


def test_where_a_seed_is_missing_a_doubling_axis_has_the_mean_of_the_others(monkeypatch) -> None:
    thick, plot = [], Axes.plot

    def seen(axes: Axes, *arguments, **options):
        if options["linewidth"] == 2:
            thick.append(arguments)
        return plot(axes, *arguments, **options)

    monkeypatch.setattr(Axes, "plot", seen)
    points = [(1, 1000, 10), (1, 3000, 20), (1, 9000, 30), (2, 1000, 12), (2, 9000, 34)]
    frame = pd.DataFrame([{"model": "seq2seq", "seed": s, "x": x, "y": float(y)} for s, x, y in points])
    draw_curves("six", "BLEU", "BLEU", frame, STYLES, "pairs", doubling=True)
    ((x, y),) = thick
    assert x.tolist() == [1000, 3000, 9000]
    assert y.tolist() == [11, 20, 32]


def test_inline_colours_follow_the_page(panels) -> None:
    fixed = {ink[0] for ink in (*INKS.values(), *SERIES)}
    for panel in panels:
        assert not fixed & set(re.findall(r"#[0-9a-f]{6}", panel.inline))
        used = set(re.findall(r"var\(--((?:series|ink|soft|rule)[\w-]*)\)", panel.inline))
        assert {"soft"} < used
        assert all(f"--{name}:" in css_variables(dark) for name in used for dark in (False, True))
        # A file of its own must be legible anywhere: fixed colours on white.
        assert "var(--series" not in panel.svg
        assert 'fill="#ffffff"' in panel.svg


def test_a_panel_shows_what_is_drawn() -> None:
    def heights(*values: float) -> set[str]:
        rows = pd.DataFrame({"model": "seq2seq", "seed": 1, "x": [1.0, 2.0, 3.0], "y": values})
        drawing = ElementTree.fromstring(draw_curves("six", "Curve", "unit", rows, STYLES, "tokens").inline)
        return {text.strip() for text in drawing.itertext() if text.strip()}

    assert "1.0" in heights(0.01, 0.02, 0.03), "noise would fill the panel"
    assert "−6" in heights(-2.0, -4.0, -6.0), "powers of ten lie below 0"


def test_identifiers_are_unique_over_panels(panels) -> None:
    found = [name for panel in panels for name in re.findall(r'\bid="([^"]*)"', panel.inline)]
    assert len(found) == len(set(found))
    for panel in panels:
        own = set(re.findall(r'\bid="([^"]*)"', panel.inline))
        assert set(re.findall(r'(?:url\(#|href="#)([^)"]*)', panel.inline)) <= own


def test_drawing_again_gives_the_same_bytes(panels) -> None:
    assert draw_bins("one", "BLEU", "BLEU", BINS, STYLES, 35.0) == panels[0]


def test_numbers_and_sizes_are_written_out(panels) -> None:
    texts = re.findall(r">([^<>\n]+)</text>", panels[0].inline)
    assert {"5–10", "11–60", "150", "sentences", "Seq2seq", "BLEU"} <= set(texts)


def test_an_architecture_keeps_its_colour_and_variants_differ_by_line() -> None:
    alone = model_styles({"any": {"architecture": "Seq2Seq", "title": "Seq2seq"}})
    assert alone["any"].colour == STYLES["seq2seq"].colour
    assert STYLES["rotary"].colour == STYLES["transformer"].colour
    assert STYLES["rotary"].dashes != STYLES["transformer"].dashes
    assert [STYLES[name].label for name in ("transformer", "rotary", "seq2seq")] == [
        "transformer",
        "rotary",
        "Seq2seq",
    ]
    new = model_styles({name: {"architecture": name, "title": name} for name in ("Convolution", "Seq2Seq", "Mixer")})
    assert len({style.colour for style in new.values()}) == 3


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(10, 30)), min_size=1, max_size=8))
def test_labels_keep_order_and_distance(labels: list[tuple[float, float]]) -> None:
    wanted, sizes = [y for y, _ in labels], [size for _, size in labels]
    placed = spread(wanted, sizes, 200)
    order = sorted(range(len(labels)), key=lambda i: wanted[i])
    for below, above in pairwise(order):
        assert placed[above] - placed[below] >= (sizes[below] + sizes[above]) / 2 - 1e-6
    if sum(sizes) <= 200:
        assert all(size / 2 - 1e-6 <= y <= 200 - size / 2 + 1e-6 for y, size in zip(placed, sizes, strict=True))


def test_labels_that_fit_stay_where_they_are() -> None:
    assert spread([20.0, 100.0, 60.0], [10.0, 10.0, 10.0], 200) == [20.0, 100.0, 60.0]
