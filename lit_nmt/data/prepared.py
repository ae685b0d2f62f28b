"""A prepared corpus on disk: memory-mapped ids, the text of the held-out splits, the manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lit_nmt.data.corpora import test_sets_among
from lit_nmt.data.subwords import Subwords
from lit_nmt.errors import UserError
from lit_nmt.files import file_digest, read_record

MANIFEST = "manifest.json"
SUBWORDS = "subwords.model"


@dataclass(frozen=True)
class Ragged:
    """Rows of ids of different lengths in one flat array.

    Attributes:
        tokens: All rows end to end, without BOS and EOS, (tokens,) uint16 or int32, memory-mapped.
        offsets: Where each row begins, and the end, (rows + 1,) int64.
    """

    tokens: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        """The ids of one row, a view; negative rows count from the end."""
        row = range(len(self))[row]
        return self.tokens[self.offsets[row] : self.offsets[row + 1]]

    @cached_property
    def lengths(self) -> np.ndarray:
        """Ids of each row, EOS not counted, (rows,) int64."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class EncodedSplit:
    """The ids of both sides of a split, row i of one for row i of the other."""

    name: str
    source: Ragged
    target: Ragged
    source_words: np.ndarray  # (pairs,) int32, whitespace-separated

    def __len__(self) -> int:
        return len(self.source)


class PreparedCorpus:
    """Reads what `lit-nmt prepare` wrote."""

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.folder = Path(folder)
        self.manifest = manifest

    @classmethod
    def open(cls, folder: Path) -> PreparedCorpus:
        """Opens `data/<corpus>`.

        Raises:
            UserError: Nothing whole is there; the message says how to prepare it.
        """
        path = Path(folder) / MANIFEST
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            manifest["splits"].keys(), manifest["name"], manifest["digest"], int(manifest["vocabulary_size"])
        except (FileNotFoundError, NotADirectoryError):
            name = Path(folder).name
            raise UserError(
                f"{folder}: no prepared corpus ({MANIFEST} is missing); run `lit-nmt prepare {name}`"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _damaged(path) from None
        return cls(Path(folder), manifest)

    @property
    def name(self) -> str:
        """The corpus's name."""
        return str(self.manifest["name"])

    @property
    def vocabulary_size(self) -> int:
        """Ids of both sides are below this number."""
        return int(self.manifest["vocabulary_size"])

    @property
    def test_sets(self) -> list[str]:
        """The splits that are translated and scored, in the order of the corpus YAML."""
        return test_sets_among(self.manifest["splits"])

    @cached_property
    def subwords(self) -> Subwords:
        """The subword model of both languages."""
        return Subwords.load(self.folder / SUBWORDS)

    @cached_property
    def subwords_digest(self) -> str:
        """SHA-256 of the subword model, in hexadecimal digits: ids of another one mean other subwords."""
        return file_digest(self.folder / SUBWORDS)

    def check_subwords(self, run: Path) -> None:
        """Refuses a run that was trained with other subwords, as far as its record tells.

        Raises:
            UserError: it was.
        """
        path = run / "fit.json"
        record = read_record(path) if path.is_file() else {}
        if record.get("subwords_digest", self.subwords_digest) != self.subwords_digest:
            raise UserError(
                f"{run}: trained with other subwords than {self.folder} has, which was prepared anew; train again, or "
                "prepare it as it was"
            )

    def split(self, name: str) -> EncodedSplit:
        """The ids of a split, memory-mapped.

        Raises:
            UserError: The corpus has no such split, or its arrays are damaged.
        """
        self._require(name)
        source, target = (
            Ragged(self._array(f"{name}.{side}.tokens.npy"), self._array(f"{name}.{side}.offsets.npy"))
            for side in ("source", "target")
        )
        words = self._array(f"{name}.source_words.npy")
        for side, rows in (("source", source), ("target", target)):
            if (
                len(rows) != len(words)
                or (rows.offsets[:1] != 0).any()
                or (rows.offsets[-1:] != len(rows.tokens)).any()
            ):
                raise _damaged(self.folder / f"{name}.{side}.offsets.npy")
        return EncodedSplit(name, source, target, words)

    def text(self, name: str) -> tuple[list[str], list[str]]:
        """Source and reference sentences of a validation or test split, as in the raw text.

        Raises:
            UserError: The corpus has no such split, or it is the training split, whose text is not kept; or its text
                is damaged.
        """
        self._require(name)
        if name == "train":
            raise UserError(f"{self.folder}: the text of train is not kept, only its ids")
        pairs = len(self._array(f"{name}.source_words.npy"))
        sides = []
        for side in ("source", "target"):
            path = self.folder / f"{name}.{side}.txt"
            try:
                sides.append(path.read_bytes().decode("utf-8").split("\n")[:-1])
            except (OSError, UnicodeDecodeError):
                raise _damaged(path) from None
            if len(sides[-1]) != pairs:
                raise _damaged(path)
        return sides[0], sides[1]

    def _array(self, name: str) -> np.ndarray:
        """A flat array, memory-mapped; never objects, which could run code."""
        path = self.folder / name
        try:
            array: np.ndarray = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError):
            raise _damaged(path) from None
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise _damaged(path)
        return array

    def _require(self, name: str) -> None:
        splits = self.manifest["splits"]
        if name not in splits:
            raise UserError(f"{self.folder}: no split {name!r}; there are {', '.join(splits)}")


def _damaged(path: Path) -> UserError:
    """What to tell of a file that `lit-nmt prepare` did not write so."""
    finding = "damaged" if path.is_file() else "missing"
    return UserError(f"{path}: {finding}; run `lit-nmt prepare {path.parent.name} --force`")
