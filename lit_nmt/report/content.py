"""What a report is made of, before it is HTML or Markdown: sections of paragraphs, tables, figures and folds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lit_nmt.report.figures import Panel


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: what is read.
        key: what a column is sorted by; the text where None.
        tone: "supported", "refuted", "inconclusive", "failed", "best" or nothing.
        colour: number of the model's colour for a swatch before the text.
        note: a second line in small print.
        link: an address that the text leads to, of a page; in Markdown that of its `report.md`.
    """

    text: str
    key: float | None = None
    tone: str = ""
    colour: int | None = None
    note: str = ""
    link: str = ""


@dataclass(frozen=True)
class Column:
    """A column's heading; numbers stand right-aligned, and `hint` explains it; `group` spans."""

    title: str
    number: bool = True
    hint: str = ""
    group: str = ""


@dataclass(frozen=True)
class Group:
    """Rows that belong together under a heading of their own, with a note, sorted among themselves; `id` for links."""

    rows: list[list[Cell]]
    title: str = ""
    note: str = ""
    id: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row names it."""

    title: str
    columns: list[Column]
    groups: list[Group]
    note: str = ""
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Paragraph:
    """Prose, commands between backticks; `tone` "missing": something is not there, "warning": care is due."""

    text: str
    tone: str = ""
    kind: str = field(default="paragraph", init=False)


@dataclass(frozen=True)
class Figure:
    """Panels side by side with what they show, and their numbers as a table to unfold; `again`: of another place."""

    title: str
    panels: list[Panel]
    caption: str
    numbers: Table | None = None
    again: bool = False
    kind: str = field(default="figure", init=False)


@dataclass(frozen=True)
class Code:
    """Text as a machine reads it: a configuration, a command."""

    text: str
    kind: str = field(default="code", init=False)


@dataclass(frozen=True)
class Facts:
    """Names and values, one a line."""

    rows: list[tuple[str, str]]
    kind: str = field(default="facts", init=False)


@dataclass(frozen=True)
class Fold:
    """Blocks behind a line that unfolds them; `printed`: on paper they stand open."""

    title: str
    blocks: list[Any]
    printed: bool = False
    kind: str = field(default="fold", init=False)


@dataclass(frozen=True)
class Attention:
    """What a model looked at: `weights` (target words + 1, source words + 1) in hundredths, ends of sentences last."""

    source: list[str]
    target: list[str]
    weights: list[list[int]]


@dataclass(frozen=True)
class Translation:
    """One model's hypothesis; `pieces` are (text, whether the reference lacks it)."""

    label: str
    colour: int | None
    pieces: list[tuple[str, bool]]
    scores: str = ""
    attention: Attention | None = None


@dataclass(frozen=True)
class Example:
    """A sentence, its reference and its translations side by side."""

    title: str
    source: str
    reference: str
    translations: list[Translation]


@dataclass(frozen=True)
class Explorer:
    """All translated sentences, to be searched by `explorer.js`, and a few of them that are read without it.

    Attributes:
        examples: those few.
        content: what the script reads: `models` (label and colour), `sets` (corpus, test set and decoding), and
            `sentences`, each [set, id, source words, source, reference, translations], a translation [model,
            hypothesis, BLEU, chrF, attention]; sets and models are meant by their places.
        bins: to choose from, as (value, text): "5-10" and what is read.
    """

    examples: list[Example]
    content: dict[str, Any]
    bins: list[tuple[str, str]]
    kind: str = field(default="explorer", init=False)

    @property
    def attended(self) -> bool:
        """Whether the attention of some translations is known, and not of all."""
        known = {translation[4] is not None for sentence in self.content["sentences"] for translation in sentence[5]}
        return len(known) > 1


@dataclass(frozen=True)
class Section:
    """A part of the page with an address of its own."""

    id: str
    title: str
    blocks: list[Any]


@dataclass(frozen=True)
class Report:
    """A whole report: what was asked, the answer in plain words, and the parts that carry it."""

    name: str
    title: str
    question: str
    summary: list[str]
    warnings: list[str]
    sections: list[Section]

    def panels(self) -> list[Panel]:
        """All panels in the order of the page."""
        blocks = [block for section in self.sections for block in section.blocks]
        return [panel for block in blocks if isinstance(block, Figure) for panel in block.panels]
