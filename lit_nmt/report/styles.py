"""How models look: an architecture keeps its colour in every figure of every report, its variants differ by line.

The palette is that of Okabe and Ito (2008), which colour-blind readers can tell apart, darkened until a label in it
is legible on white, and lightened for a dark page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# name, on white, on black
INKS = {
    "ink": ("#1c1f23", "#e8e6e1"),
    "soft": ("#5f656d", "#a3a9b0"),
    "rule": ("#dcdfe3", "#363b42"),
}
SERIES = [
    ("#0068a8", "#6bb8f0"),  # blue
    ("#b84e00", "#ff9a5c"),  # vermilion
    ("#007a5a", "#45cfa1"),  # bluish green
    ("#96488f", "#e0a0da"),  # reddish purple
    ("#866800", "#dfc04e"),  # ochre
    ("#7b4b2a", "#d2a47e"),  # brown
    ("#565c64", "#b5bbc2"),  # grey
    ("#3d6f8e", "#8fd3e8"),  # sky
]
ARCHITECTURES = {"Transformer": 0, "AttentionSeq2Seq": 1, "Seq2Seq": 2, "ConvS2S": 3, "FeedForward": 4}
LINES: list[tuple[str | tuple[int, tuple[float, ...]], str]] = [
    ("-", "o"),
    ((0, (4, 2)), "s"),
    ((0, (1, 1.5)), "D"),
    ((0, (6, 2, 1, 2)), "^"),
    ((0, (2, 1)), "v"),
    ((0, (8, 2)), "P"),
]


@dataclass(frozen=True)
class Style:
    """How one model is drawn everywhere: its label, its architecture's colour, its variant's line."""

    label: str
    colour: int
    line: int

    @property
    def ink(self) -> str:
        return SERIES[self.colour][0]

    @property
    def dashes(self) -> str | tuple[int, tuple[float, ...]]:
        return LINES[self.line % len(LINES)][0]

    @property
    def marker(self) -> str:
        return LINES[self.line % len(LINES)][1]


def model_styles(models: Mapping[str, Mapping[str, str]]) -> dict[str, Style]:
    """Gives each model of a study its style.

    Args:
        models: name -> {"architecture": class name, "title": printed name}, in the study's order.

    Returns:
        name -> Style. The shipped architectures have a colour of their own; others share the rest by name.
        Models that share a title are labelled by their names.
    """
    architectures = [entry["architecture"] for entry in models.values()]
    others = sorted(set(architectures) - set(ARCHITECTURES))
    free = range(len(ARCHITECTURES), len(SERIES))
    colours = ARCHITECTURES | {name: free[i % len(free)] for i, name in enumerate(others)}
    titles = [entry["title"] for entry in models.values()]
    seen: dict[str, int] = {}
    styles = {}
    for name, entry in models.items():
        variant = seen.get(entry["architecture"], 0)
        seen[entry["architecture"]] = variant + 1
        label = entry["title"] if titles.count(entry["title"]) == 1 else name
        styles[name] = Style(label, colours[entry["architecture"]], variant)
    return styles


def css_variables(dark: bool) -> str:
    """The palette as CSS declarations, for a light or a dark page."""
    inks = [f"--{name}: {pair[dark]};" for name, pair in INKS.items()]
    series = [f"--series-{i}: {pair[dark]};" for i, pair in enumerate(SERIES)]
    return " ".join(inks + series)
