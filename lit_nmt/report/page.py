"""A report as a page: one HTML file that needs nothing else, and Markdown with pictures for a repository's viewer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from lit_nmt.report.content import (
    Attention,
    Code,
    Column,
    Example,
    Explorer,
    Facts,
    Figure,
    Fold,
    Paragraph,
    Report,
    Table,
    Translation,
)
from lit_nmt.report.styles import css_variables

HERE = Path(__file__).parent


BLANK = Example("", "", "", [Translation("", 0, [], "", Attention([], [], []))])
"""What the script fills in for each sentence."""


@dataclass(frozen=True)
class Entry:
    """A study on the page of all studies."""

    link: str
    title: str
    question: str
    state: str


def render_html(report: Report, others: str) -> str:
    """The whole report as one HTML document, every text in it escaped.

    Args:
        report: what it says.
        others: the link to the page of all reports.
    """
    scripts = [(HERE / name).read_text(encoding="utf-8") for name in ("sort.js", "explorer.js")]
    template = _environment().get_template("page.html.jinja")
    return template.render(
        report=report,
        others=others,
        style=_style(),
        scripts=scripts,
        spans=_spans,
        options=_options,
        data=_data,
        blank=BLANK,
    )


def render_index(title: str, groups: list[tuple[str, list[Entry]]]) -> str:
    """A page of links to studies, in groups with headings."""
    return _environment().get_template("index.html.jinja").render(title=title, groups=groups, style=_style())


def render_markdown(report: Report) -> str:
    """The same tables and figures as Markdown; pictures are taken from `figures/`."""
    lines = [f"# {_escape(report.title)}", ""]
    if report.question:
        lines += [f"*{_escape(report.question)}*", ""]
    for paragraph in report.summary:
        lines += [_escape(paragraph), ""]
    for warning in report.warnings:
        lines += [f"> **Note:** {_escape(warning)}", ""]
    for section in report.sections:
        lines += [f"## {_escape(section.title)}", ""]
        for block in section.blocks:
            lines += _markdown(block)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip("\n") + "\n"


def _markdown(block: Any) -> list[str]:
    if isinstance(block, Paragraph):
        return [_prose(block.text), ""]
    if isinstance(block, Table):
        return _markdown_table(block)
    if isinstance(block, Figure):
        pictures = [f"![{_escape(f'{panel.title}')}](figures/{panel.name}.png)" for panel in block.panels]
        lines = [f"### {_escape(block.title)}", ""]
        for panel, picture in zip(block.panels, pictures, strict=True):
            lines += [f"**{_escape(panel.title)}**", "", picture, ""]
        lines += [_escape(block.caption), ""]
        if block.numbers:
            lines += _folded("The numbers", _markdown_table(block.numbers))
        return lines
    if isinstance(block, Explorer):
        return [line for example in block.examples for line in _markdown_example(example)]
    if isinstance(block, Code):
        fence = "`" * (max((len(run) for run in re.findall(r"`+", block.text)), default=2) + 1)
        fence = max(fence, "```", key=len)
        return [fence, block.text, fence, ""]
    if isinstance(block, Facts):
        return ["| | |", "|---|---|", *(f"| {_escape(a)} | {_prose(b)} |" for a, b in block.rows), ""]
    if isinstance(block, Fold):
        return _folded(block.title, [line for inner in block.blocks for line in _markdown(inner)])
    raise TypeError(f"no Markdown for {type(block).__name__}")


def _markdown_example(example: Example) -> list[str]:
    rows = [("source", _escape(example.source)), ("reference", _escape(example.reference))]
    for translation in example.translations:
        text = "".join(_escape(piece) for piece, _ in translation.pieces) or "*nothing*"
        scores = f"<br><sub>{_escape(translation.scores)}</sub>" if translation.scores else ""
        rows.append((f"**{_escape(translation.label)}**", text + scores))
    return ["| " + _escape(example.title) + " | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows), ""]


def _prose(text: str) -> str:
    """Text with code between backticks."""
    pieces = enumerate(text.split("`"))
    return "".join(f"`{piece}`" if place % 2 else _escape(piece) for place, piece in pieces)


def _folded(title: str, lines: list[str]) -> list[str]:
    return ["<details>", f"<summary>{_escape(title)}</summary>", "", *lines, "</details>", ""]


def _markdown_table(table: Table) -> list[str]:
    titles = [f"{column.group}: {column.title}" if column.group else column.title for column in table.columns]
    lines = [f"### {_escape(table.title)}", ""]
    for group in table.groups:
        if group.title:
            anchor = f'<a id="{group.id}"></a>' if group.id else ""
            lines += [f"{anchor}**{_escape(group.title)}**", ""]
        if group.note:
            lines += [_escape(group.note), ""]
        lines.append("| " + " | ".join(map(_escape, titles)) + " |")
        lines.append("|" + "|".join("---:" if column.number else "---" for column in table.columns) + "|")
        for row in group.rows:
            cells = []
            for cell in row:
                text = _escape(cell.text)
                text = f"**{text}**" if cell.tone == "best" else text
                text = f"[{text}]({cell.link.replace('index.html', 'report.md')})" if cell.link else text
                cells.append(f"{text}<br><sub>{_escape(cell.note)}</sub>" if cell.note else text)
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return [*lines, _escape(table.note), ""] if table.note else lines


def _escape(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, one line."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", text)
    return re.sub(r"[\r\n\v\f\x85\u2028\u2029]+", " ", text)


def _options(texts: Iterable[str], before: str = "") -> list[tuple[str, str]]:
    """What a reader chooses from, by place."""
    return [(str(place), before + text) for place, text in enumerate(texts)]


def _data(content: Any) -> Markup:
    """Content as JSON that no text in it can end."""
    return htmlsafe_json_dumps(content, ensure_ascii=False, separators=(",", ":"))


def _spans(columns: list[Column]) -> list[tuple[str, int]]:
    """The headings over headings: (text, columns that it spans)."""
    return [(group, len(list(members))) for group, members in groupby(columns, key=lambda column: column.group)]


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def _style() -> str:
    dark = f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {css_variables(dark=True)} }} }}"
    style = (HERE / "style.css").read_text(encoding="utf-8").rstrip("\n")
    return f":root {{ {css_variables(dark=False)} }}\n{dark}\n{style}"
