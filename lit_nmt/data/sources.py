"""Where the text of a split comes from: files that are here first, then what its kind says."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path

from lit_nmt.data import catalogues
from lit_nmt.data.corpora import DERIVED, MADE, CorpusConfig, SplitConfig
from lit_nmt.data.download import DOWNLOADS, download, file_name
from lit_nmt.data.joining import join
from lit_nmt.data.selection import scan
from lit_nmt.data.text import ParallelFiles, ParallelList, ParallelText
from lit_nmt.errors import UserError
from lit_nmt.files import file_digest

MIRROR = "LIT_NMT_CORPORA"


def locate(config: CorpusConfig, name: str) -> ParallelText:
    """The text of a split, fetched where it is not here yet; of a holdout, the text that it is taken from.

    A joined training split has no sentence that another split has, be it joined or not.

    Raises:
        UserError: It is not here and cannot be had, or has another checksum than the corpus says.
    """
    split = config.splits[name]
    if split.kind == "holdout":
        return locate(config, split.of)
    if split.kind == "joined":
        return _join(config, name)
    if split.kind in MADE:
        return ParallelList(_make(config, name))
    if split.kind == "inline":
        return ParallelList([(sentence[config.source], sentence[config.target]) for sentence in split.sentences])
    files = local_files(config, name)
    if files is not None:
        if split.kind == "download":
            _verify(config, split, files)
        return ParallelFiles([files])
    if split.kind == "files":
        raise UserError(_missing(config, name))
    instead = f"try again, or put {_wanted(config, name)} into a folder and set {MIRROR} to it"
    if split.kind == "mtdata":
        arguments = config.source, config.target, instead
        return ParallelFiles([catalogues.fetch_mtdata(entry, *arguments) for entry in split.identifiers])
    if split.kind == "sacrebleu":
        couple = catalogues.fetch_sacrebleu(split.test_set, config.source, config.target, instead)
        return ParallelFiles([couple])
    source, target = (
        download(
            split.address.replace("{language}", language),
            split.sha256[language],
            DOWNLOADS / config.mirror,
            instead,
        )
        for language in (config.source, config.target)
    )
    return ParallelFiles([(source, target)])


def _make(config: CorpusConfig, name: str) -> list[tuple[str, str]]:
    from lit_nmt.data import recall, shifted, synthetic

    split = config.splits[name]
    languages = list(recall.LANGUAGES if split.kind == "recall" else synthetic.LANGUAGES)
    if [config.source, config.target] != languages:
        raise UserError(
            f"corpus {config.name}, split {name!r}: {split.kind} text is not from {config.source} to {config.target}; "
            f"source and target {' and '.join(languages)} expected"
        )
    pairs = split.pairs or 0
    if split.kind == "recall":
        return recall.generate(split.seed, name, pairs, split.bins or recall.LENGTHS)
    lengths = split.bins or synthetic.LENGTHS
    if split.kind == "shifted":
        return shifted.generate(split.seed, pairs, split.shift, lengths)
    return synthetic.generate(split.seed, name, pairs, lengths)


def _join(config: CorpusConfig, name: str) -> ParallelText:
    split = config.splits[name]
    apart: list[str] = []
    if name == "train":
        others = [other for other in config.splits.values() if other is not split]
        apart = [part for other in others for part in other.parts or []]
        apart += [other for other in config.prepared if config.splits[other].kind not in DERIVED]
    return join(
        chain.from_iterable(locate(config, part) for part in split.parts or []),
        most=split.most or 1,
        pairs=split.pairs,
        only=split.only,
        held_out=[scan(locate(config, other)).source_digests for other in dict.fromkeys(apart)],
        where=f"corpus {config.name}.splits.{name}",
        equally_many=split.equally_many,
    )


def local_files(config: CorpusConfig, name: str) -> tuple[Path, Path] | None:
    """The files of both sides of a split, if both are here without a download."""
    source, target = (
        next((path for path in _places(config, name, language) if path.is_file()), None)
        for language in (config.source, config.target)
    )
    return (source, target) if source and target else None


def _file(config: CorpusConfig, name: str, language: str) -> str:
    """The name, or path, that the file of one side of a split has on this machine."""
    split = config.splits[name]
    if split.kind == "download":
        return file_name(split.address.replace("{language}", language))
    pattern = split.file or name
    return pattern.replace("{language}", language) if "{language}" in pattern else f"{pattern}.{language}"


def _places(config: CorpusConfig, name: str, language: str) -> list[Path]:
    """Where the file of one side is looked for, in this order."""
    file = _file(config, name, language)
    if "/" in file:
        path = Path(file)
    elif MIRROR in os.environ:
        path = Path(os.environ[MIRROR]) / config.mirror / file
    else:
        return []
    # A checksum is of one file, compressed or not; any other text may be either.
    pinned = config.splits[name].kind == "download" or file.endswith(".gz")
    return [path] if pinned else [path, path.with_name(f"{path.name}.gz")]


def _wanted(config: CorpusConfig, name: str) -> str:
    source, target = (f"{config.mirror}/{_file(config, name, side)}" for side in (config.source, config.target))
    return f"{source} and {target}"


def _missing(config: CorpusConfig, name: str) -> str:
    """What to tell a user whose files are not there: where was looked, and how to get them."""
    absent = [
        str(places[0]) + (" (or .gz)" if len(places) > 1 else "")
        for places in (_places(config, name, language) for language in (config.source, config.target))
        if places and not any(path.is_file() for path in places)
    ]
    place = f"corpus {config.name}, split {name!r}"
    finding = f"no {' and no '.join(absent)}" if absent else f"{MIRROR} is not set"
    put = f"put {_wanted(config, name)} (or .gz) into a folder and set {MIRROR} to it"
    return f"{place}: {finding}; {config.obtain or put}"


def _verify(config: CorpusConfig, split: SplitConfig, files: tuple[Path, Path]) -> None:
    for language, path in zip((config.source, config.target), files, strict=True):
        found, expected = file_digest(path), split.sha256[language]
        if found != expected:
            address = split.address.replace("{language}", language)
            raise UserError(
                f"{path}: SHA-256 {found} found, {expected} expected; remove it, and it is fetched from {address}"
            )
