"""Whole files or none: everything is written beside its destination, then renamed over it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lit_nmt.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; renames it over `path` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replaces the content of `path` by `text` (UTF-8, line ends as given), whole or not at all."""
    with replacing(path) as beside:
        beside.write_bytes(text.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Replaces the content of `path` by `content` as indented JSON with a final line end."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Replaces the content of `path` by a CSV table, whole or not at all; what is None is left empty."""
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue())


def read_record(path: Path) -> dict[str, Any]:
    """What a run's `fit.json` says.

    Raises:
        UserError: the file is damaged.
    """
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if record["status"] in ("finished", "failed"):
            return record
        reason = f"its status is {record['status']!r}"
    except (ValueError, KeyError, TypeError) as error:
        reason = str(error)
    raise UserError(f"{path}: no record of a training ({reason}); delete it and train again")


def digest(content: Any, length: int = 8) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of `content` (plain types) as canonical JSON."""
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:length]


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
