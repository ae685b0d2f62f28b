"""Parallel text: whatever bytes the files hold, they are read as their lines or refused with the place."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_nmt.data.text import ParallelFiles
from lit_nmt.errors import UserError

# What occurs in text, more often than it would by chance
pieces = st.sampled_from(
    [b"\n", b"\r\n", b"a b", "ä\u2028言".encode(), b"\x0c", b"\xef\xbb\xbf", b"\xff", b"\x00", b"\x1f\x8b"]
)
plain = st.lists(pieces | st.binary(max_size=5), max_size=12).map(b"".join)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Plain text, gzip of it, or gzip that was cut short or has other bytes somewhere."""
    content = draw(plain)
    if draw(st.booleans()):
        return content
    content = gzip.compress(content, mtime=0)
    start = draw(st.integers(2, len(content)))
    return content[:start] + draw(st.binary(max_size=3)) + content[start + draw(st.integers(0, 40)) :]


def lines(content: bytes) -> list[str]:
    """The lines of a whole file, by the plainest means.

    Raises:
        OSError, EOFError, zlib.error, UnicodeDecodeError: it is no text.
    """
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    content = content.removeprefix(b"\xef\xbb\xbf")
    text = [line.removesuffix(b"\r").decode("utf-8") for line in content.split(b"\n")]
    return text if text[-1] or content.endswith(b"\r") else text[:-1]


@given(files(), files())
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_as_their_lines_or_refused_with_the_place(
    tmp_path_factory: pytest.TempPathFactory, source: bytes, target: bytes
) -> None:
    paths = tmp_path_factory.getbasetemp() / "fuzzed.xx", tmp_path_factory.getbasetemp() / "fuzzed.yy"
    for path, content in zip(paths, (source, target), strict=True):
        path.write_bytes(content)
    try:
        found = list(ParallelFiles([paths]))
    except UserError as error:
        told = str(error)
        assert "\n" not in told
        assert any(told.startswith(str(path)) for path in paths)
        found = None
    try:
        expected = list(zip(lines(source), lines(target), strict=True))
    except Exception:
        expected = None
    assert found == expected


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_line_of_any_length_is_one_line(tmp_path: Path, ending: str) -> None:
    long = "a" * 10_000_000
    for side in "xy":
        content = f"{long}\nb\n".encode()
        (tmp_path / f"text.{side}{ending}").write_bytes(gzip.compress(content, 1) if ending else content)
    pairs = list(ParallelFiles([(tmp_path / f"text.x{ending}", tmp_path / f"text.y{ending}")]))
    assert [(len(source), len(target)) for source, target in pairs] == [(len(long), len(long)), (1, 1)]
