"""From parallel text to a prepared corpus: selects pairs, trains subwords, writes arrays and the manifest."""

from __future__ import annotations

import hashlib
import json
import shutil
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from tqdm import tqdm

from lit_nmt.data import sources
from lit_nmt.data.corpora import DATA, CorpusConfig
from lit_nmt.data.joining import ParallelJoined
from lit_nmt.data.prepared import MANIFEST, SUBWORDS, PreparedCorpus
from lit_nmt.data.selection import REASONS, Scan, Selection, failing_filter, scan, select, smallest
from lit_nmt.data.subwords import Subwords, train_subwords
from lit_nmt.data.text import ParallelFiles, ParallelText
from lit_nmt.files import file_digest, write_json

# Part of the manifest: prepared folders of another layout are made anew.
_LAYOUT = 1
_CHUNK_PAIRS = 10_000


def prepare(config: CorpusConfig, folder: Path | None = None, force: bool = False) -> PreparedCorpus:
    """Prepares a corpus, unless it is there already with the same configuration and text.

    Everything is written to a folder beside, the manifest last, and renamed: a call that is killed leaves
    either the earlier corpus or none, and the next call does it again. Calls at once wait for one another.

    Args:
        config: The corpus.
        folder: Where to, default `data/<name>`.
        force: Prepare again in any case.

    Raises:
        UserError: Text is missing or malformed, nothing is left of a split, or the vocabulary does not fit.
    """
    folder = Path(folder or DATA / config.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not force and _is_current(config, folder):
        return PreparedCorpus.open(folder)
    with filelock.FileLock(folder.with_name(f".{folder.name}.lock")):
        if not force and _is_current(config, folder):  # another process was faster
            return PreparedCorpus.open(folder)
        beside, before = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("partial", "before"))
        for leftover in (beside, before):
            shutil.rmtree(leftover, ignore_errors=True)
        beside.mkdir()
        try:
            _write(config, beside)
            if folder.exists():
                folder.rename(before)
            beside.rename(folder)
        finally:
            for leftover in (beside, before):
                shutil.rmtree(leftover, ignore_errors=True)
    return PreparedCorpus.open(folder)


def _is_current(config: CorpusConfig, folder: Path) -> bool:
    """Whether the folder was prepared whole, with this configuration, from the files that are here now."""
    wanted = _LAYOUT, config.digest()
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if (manifest["layout"], manifest["digest"]) != wanted:
            return False
        return all(_unchanged(config, name, manifest["inputs"].get(name)) for name in config.splits)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # missing or damaged
        return False


def _unchanged(config: CorpusConfig, name: str, inputs: list[dict[str, Any]] | None) -> bool:
    # What has a checksum in the configuration, or is made from it, cannot have changed; files that are gone
    # since leave the prepared corpus as good as it was.
    if inputs is None or config.splits[name].kind == "download":
        return True
    files = sources.local_files(config, name)
    if files is None:
        return True
    for path, entry in zip(files, inputs, strict=False):
        status = path.stat()
        if status.st_size != entry["bytes"]:
            return False
        if status.st_mtime_ns != entry["modified_ns"] and file_digest(path) != entry["sha256"]:
            return False
    return len(inputs) == len(files)


def _describe(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {
        "file": path.name,
        "bytes": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "sha256": file_digest(path),
    }


def _write(config: CorpusConfig, folder: Path) -> None:
    texts = {name: sources.locate(config, name) for name in config.splits if config.splits[name].kind != "holdout"}
    inputs = {
        name: [_describe(path) for path in text.paths]
        for name, text in texts.items()
        if isinstance(text, ParallelFiles)
    }
    scans = {name: scan(_shown(texts[name], f"read {name}", None)) for name in config.prepared if name in texts}
    selections = select(config, scans)
    subwords = _train(config, texts["train"], scans["train"], selections["train"], folder)
    splits = {}
    for name in config.prepared:
        selection = selections[name]
        rows = _rows(texts[selection.origin], selection.rows)
        shown = _shown(rows, f"encode {name}", len(selection.rows))
        written = _encode(name, shown, subwords, folder)
        empty = written.pop("empty")
        dropped = dict(selection.dropped)
        if empty:
            dropped["empty"] = dropped.get("empty", 0) + empty
        splits[name] = {**written, "read": len(scans[selection.origin]), "dropped": dropped}
        text = texts[selection.origin]
        if isinstance(text, ParallelJoined):
            splits[name]["joined"] = {"sentences": text.sentences, "dropped": text.dropped}
        if name != "train":
            splits[name]["outside_filters"] = _outside_filters(config, scans[selection.origin], selection)
    write_json(
        folder / MANIFEST,
        {
            "layout": _LAYOUT,
            "name": config.name,
            "source": config.source,
            "target": config.target,
            "digest": config.digest(),
            "redistribute": config.redistribute,
            "vocabulary_size": subwords.vocabulary_size,
            "subword_pairs": min(config.subwords.sample_pairs, len(selections["train"].rows)),
            "splits": splits,
            "inputs": inputs,
            "config": config.as_dict(),
        },
    )


def _shown(pairs: Iterable[tuple[str, str]], title: str, total: int | None) -> Iterable[tuple[str, str]]:
    shown: Iterable[tuple[str, str]] = tqdm(
        pairs, desc=title, total=total, unit=" pairs", unit_scale=True, disable=None
    )  # None: not where standard error is no terminal
    return shown


def _rows(text: ParallelText, rows: np.ndarray) -> Iterator[tuple[str, str]]:
    """The pairs of these rows, in the text's order."""
    chosen = np.zeros(rows.max(initial=-1) + 1, np.uint8)  # a byte a pair, where a list of rows takes 36
    chosen[rows] = 1
    return compress(text, chosen.tobytes())


def _train(config: CorpusConfig, text: ParallelText, scanned: Scan, selection: Selection, folder: Path) -> Subwords:
    rows = smallest(scanned.pair_digests, selection.rows, config.subwords.sample_pairs)
    shown = _shown(_rows(text, rows), "learn subwords", len(rows))
    return train_subwords(chain.from_iterable(shown), config.subwords, folder / SUBWORDS)


def _outside_filters(config: CorpusConfig, scanned: Scan, selection: Selection) -> dict[str, int]:
    reasons = failing_filter(scanned, config.filters)[selection.rows]
    return {REASONS[code - 1]: count for code, count in sorted(Counter(reasons[reasons > 0].tolist()).items())}


class _FlatArray:
    """A one-dimensional .npy file written in pieces: the header, which holds the length, comes last."""

    def __init__(self, path: Path, dtype: np.dtype[Any]):
        self._file = open(path, "wb")  # noqa: SIM115 (closed in __exit__)
        self._dtype = dtype
        self._length = 0
        self._write_header()
        self._begin = self._file.tell()

    def _write_header(self) -> None:
        # numpy pads the header so that the first axis may grow in place.
        header = {
            "shape": (self._length,),
            "fortran_order": False,
            "descr": np.lib.format.dtype_to_descr(self._dtype),
        }
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, values: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(values, self._dtype).tobytes())
        self._length += len(values)

    def __enter__(self) -> _FlatArray:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.seek(0)
        self._write_header()
        moved = self._file.tell() != self._begin
        self._file.close()
        if moved:
            raise AssertionError("the header of the array outgrew its place")


def _encode(name: str, pairs: Iterable[tuple[str, str]], subwords: Subwords, folder: Path) -> dict[str, Any]:
    """Writes the arrays of a split, and its text unless it is train; returns its entry in the manifest."""
    dtype = np.dtype(np.uint16 if subwords.vocabulary_size < 65536 else np.int32)
    sides = ("source", "target")
    lengths: dict[str, array[int]] = {side: array("i") for side in sides}
    words: dict[str, array[int]] = {side: array("i") for side in sides}
    checksum, empty = hashlib.sha256(), 0
    with ExitStack() as stack:
        tokens = {side: stack.enter_context(_FlatArray(folder / f"{name}.{side}.tokens.npy", dtype)) for side in sides}
        texts = {}
        if name != "train":
            texts = {side: stack.enter_context(open(folder / f"{name}.{side}.txt", "wb")) for side in sides}
        iterator = iter(pairs)
        while chunk := list(islice(iterator, _CHUNK_PAIRS)):
            encoded = [subwords.encode(list(column)) for column in zip(*chunk, strict=True)]
            if name == "train":
                # Characters that normalisation removes may leave nothing to learn from.
                kept = [row for row in range(len(chunk)) if encoded[0][row] and encoded[1][row]]
                empty += len(chunk) - len(kept)
                chunk = [chunk[row] for row in kept]
                encoded = [[column[row] for row in kept] for column in encoded]
            for place, side in enumerate(sides):
                rows = encoded[place]
                lengths[side].extend(map(len, rows))
                words[side].extend(len(pair[place].split()) for pair in chunk)
                tokens[side].append(np.fromiter(chain.from_iterable(rows), dtype))
            raw = [[pair[place].encode("utf-8") + b"\n" for pair in chunk] for place in range(2)]
            checksum.update(b"".join(chain.from_iterable(zip(*raw, strict=True))))
            for side, lines in zip(sides, raw, strict=True):
                if side in texts:
                    texts[side].write(b"".join(lines))
    for side in sides:
        offsets = np.concatenate([[0], np.cumsum(lengths[side], dtype=np.int64)]).astype(np.int64)
        np.save(folder / f"{name}.{side}.offsets.npy", offsets)
    np.save(folder / f"{name}.source_words.npy", np.asarray(words["source"], np.int32))
    return {
        "pairs": len(lengths["source"]),
        "source_tokens": sum(lengths["source"]),
        "target_tokens": sum(lengths["target"]),
        "source_words": sum(words["source"]),
        "target_words": sum(words["target"]),
        "longest_source_tokens": max(lengths["source"], default=0),
        "longest_target_tokens": max(lengths["target"], default=0),
        "sha256": checksum.hexdigest(),
        "empty": empty,
    }
