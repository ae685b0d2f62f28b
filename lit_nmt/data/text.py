"""Parallel text: pairs of lines that end at a line feed and nowhere else.

Python's text mode and `str.splitlines` also break lines at carriage returns, form feeds, U+0085 and U+2028,
which occur within sentences of crawled text and would shift the alignment. Everything here reads bytes.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

from lit_nmt.errors import UserError

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ParallelText(Protocol):
    """Sentence pairs that can be read more than once."""

    def __iter__(self) -> Iterator[tuple[str, str]]: ...


@dataclass(frozen=True)
class ParallelFiles:
    """Pairs of lines of two files (plain or gzip, by content), or of several such couples one after another.

    Iterating raises `UserError` for line counts that differ, bytes that are not UTF-8, a truncated gzip file.
    """

    couples: Sequence[tuple[Path, Path]]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for source, target in self.couples:
            yield from _pairs(source, target)

    @property
    def paths(self) -> list[Path]:
        """All files, couple by couple."""
        return [path for couple in self.couples for path in couple]


@dataclass(frozen=True)
class ParallelList:
    """Pairs held in memory."""

    pairs: Sequence[tuple[str, str]]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, plain or gzip, without their line ends; only a line feed ends a line.

    A byte order mark, and the carriage return of a line end of two characters, are no part of the text.

    Raises:
        UserError: Bytes that are not UTF-8 (file and line), a damaged gzip file, an unreadable file.
    """
    number = 0
    try:
        with open(path, "rb") as raw:
            compressed = raw.read(2) == _GZIP
            raw.seek(0)
            lines = gzip.open(raw, "rb") if compressed else raw  # noqa: SIM115 (closed with `raw`)
            for number, line in enumerate(lines, start=1):
                line = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
                if line:  # else the mark was all of the file
                    yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UserError(f"{path}, line {number}: byte 0x{byte:02x} is not UTF-8; convert the file to UTF-8") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"{path}: the gzip file is damaged or cut short after line {number} ({error}); get it again"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({(error.strerror or str(error)).lower()}); make it readable"
        ) from None


def _pairs(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    counts = [0, 0]
    for pair in zip_longest(read_lines(source), read_lines(target)):
        for side, line in enumerate(pair):
            counts[side] += line is not None
        if counts[0] == counts[1]:
            yield pair
    if counts[0] != counts[1]:
        raise UserError(
            f"{source} has {counts[0]:,} lines and {target} has {counts[1]:,}; line i of one must translate "
            f"line i of the other"
        )
