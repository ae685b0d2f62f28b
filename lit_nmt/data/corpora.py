"""What a corpus is: its languages, subwords, filters and splits, as read from `experiments/corpora/*.yaml`.

A corpus YAML is a LightningCLI fragment (`data: corpus: ...`), so the same file serves `lit-nmt fit --config`
and `load_corpus_config`. The dataclasses hold plain types only and are checked when they are made.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from lit_nmt.configuration import build, read_yaml
from lit_nmt.errors import UserError
from lit_nmt.files import digest

CORPORA = Path("experiments/corpora")
DATA = Path("data")

POOLED = "pooled"
"""The name of the test set that joins all test sets of a corpus."""

EXAMPLES = "examples"
"""The split of sentences that may be passed on: translated and shown in every report, and never scored."""

_NAME = re.compile(r"\w[\w.-]*")
"""Names that become parts of files' names, in any alphabet."""

Kind = Literal[
    "files", "download", "mtdata", "sacrebleu", "synthetic", "shifted", "recall", "holdout", "joined", "inline"
]
EquallyMany = Literal["pairs", "sentences"]
"""What joined text has equally many of, of each number of sentences."""
MADE = ("synthetic", "shifted", "recall")
"""The kinds of splits whose text is made here, without end."""
DERIVED = ("holdout", "joined")
"""The kinds of splits whose text is that of other splits."""

# What each kind of split reads besides `kind` and `limit`; a key of another kind is a mistake.
_KEYS: dict[str, tuple[str, ...]] = {
    "files": ("file",),
    "download": ("address", "sha256"),
    "mtdata": ("file", "identifiers"),
    "sacrebleu": ("file", "test_set"),
    "synthetic": ("pairs", "seed", "bins"),
    "shifted": ("pairs", "seed", "bins", "shift"),
    "recall": ("pairs", "seed", "bins"),
    "holdout": ("of", "pairs", "bins"),
    "joined": ("parts", "most", "only", "pairs", "equally_many"),
    "inline": ("sentences",),
}
_REQUIRED: dict[str, tuple[str, ...]] = {
    "files": (),
    "download": ("address", "sha256"),
    "mtdata": ("identifiers",),
    "sacrebleu": ("test_set",),
    "synthetic": ("pairs",),
    "shifted": ("pairs",),
    "recall": ("pairs",),
    "holdout": ("of", "pairs"),
    "joined": ("parts", "most"),
    "inline": ("sentences",),
}


@dataclass
class SplitConfig:
    """Where the sentence pairs of one split come from.

    Attributes:
        kind: The source; it decides which of the keys below are meant.
        file: Name of the local file (default: the split's name), looked for before anything is fetched at
            `LIT_NMT_CORPORA/<folder>/<file>.<language>[.gz]`; with a `/` in it, a path. `{language}` says
            where the language stands if not at the end.
        address: `download`: where the file is, `{language}` in it; its last part is the local file's name.
        sha256: `download`: the checksum of the file of each language.
        identifiers: `mtdata`: data sets by mtdata's names, one after another.
        test_set: `sacrebleu`: the test set's name, as `wmt14/full`.
        pairs: `synthetic`, `shifted`, `recall`: how many pairs to make; `holdout`: how many to take; `joined`: how
            many to make, in as many rounds over the sentences as that takes, null for one round.
        seed: `synthetic`, `shifted`, `recall`: the seed of the text.
        shift: `shifted`: names in one word before the name that each sentence begins with; 0: as they are.
        of: `holdout`: the split from which pairs are taken, and which loses them.
        bins: ranges `[low, high]` of source words. `holdout`: take equally many from each. Where text is made:
            make equally many of each; one that is named twice counts twice.
        parts: `joined`: the splits whose sentences are joined.
        most: `joined`: sentences of a pair at most.
        equally_many: `joined`: what every number of sentences up to `most` has equally many of, `pairs` or
            `sentences`.
        only: `joined`: keep the pairs of exactly so many sentences.
        sentences: `inline`: the text itself, each sentence in every language, as `{en: ..., de: ...}`.
        limit: Keep this many pairs of the split: those with the smallest digests, so 1,000 lie within 3,000.
    """

    kind: Kind
    file: str = ""
    address: str = ""
    sha256: dict[str, str] = field(default_factory=dict)
    identifiers: list[str] = field(default_factory=list)
    test_set: str = ""
    pairs: int | None = None
    seed: int = 0
    of: str = ""
    bins: list[list[int]] = field(default_factory=list)
    parts: list[str] | None = None
    most: int | None = None
    equally_many: EquallyMany = "pairs"
    only: int | None = None
    sentences: list[dict[str, str]] = field(default_factory=list)
    limit: int | None = None
    shift: int = 0

    def check(self, where: str) -> None:
        """Raises `UserError` where a key is missing, or belongs to another kind of split."""
        if self.kind not in _KEYS:
            raise UserError(f"{where}.kind: {self.kind!r} is none of {', '.join(_KEYS)}")
        for entry in dataclasses.fields(self):
            if entry.name in ("kind", "limit", *_KEYS[self.kind]):
                continue
            default = entry.default if entry.default_factory is dataclasses.MISSING else entry.default_factory()
            if getattr(self, entry.name) != default:
                raise UserError(
                    f"{where}.{entry.name}: means nothing to kind {self.kind!r}, which reads "
                    f"{', '.join((*_KEYS[self.kind], 'limit'))}"
                )
        for name in _REQUIRED[self.kind]:
            if not getattr(self, name):
                raise UserError(f"{where}.{name}: missing; kind {self.kind!r} needs it")
        for name in ("pairs", "most", "only", "limit"):
            _at_least(1, getattr(self, name), f"{where}.{name}")
        for name in ("shift", "seed"):
            _at_least(0, getattr(self, name), f"{where}.{name}")
        if self.only is not None and self.most is not None and self.only > self.most:
            raise UserError(f"{where}.only: {self.only} found, at most {self.most} expected, as many as are joined")
        for low_high in self.bins:
            if len(low_high) != 2 or low_high[0] > low_high[1]:
                raise UserError(f"{where}.bins: {low_high} found, [low, high] in source words expected")
        for (_, high), (low, _) in pairwise(self.bins if self.kind == "holdout" else []):
            if low <= high:
                raise UserError(
                    f"{where}.bins: one ends at {high} and the next begins at {low}; expected them apart, in order, "
                    "so that no pair is taken twice"
                )
        if self.kind == "download" and not re.match("https?://", self.address):
            raise UserError(f"{where}.address: {self.address!r} found, one that begins with https:// expected")
        for language, checksum in self.sha256.items():
            if not re.fullmatch("[0-9a-f]{64}", checksum):
                raise UserError(
                    f"{where}.sha256.{language}: {checksum!r} found, 64 hexadecimal digits expected, as `sha256sum` "
                    "prints"
                )

    def identity(self, sides: tuple[str, str]) -> dict[str, Any]:
        """What decides the text of two of its languages: the keys of its kind, for their digest.

        Text is told by its name and checksum, wherever it lies.
        """
        content = {name: getattr(self, name) for name in ("kind", "limit", *_KEYS[self.kind])}
        content.pop("address", None)
        if "file" in content:
            content["file"] = PurePosixPath(self.file).name
        if "sha256" in content:
            content["sha256"] = {side: self.sha256.get(side) for side in sides}
        if "sentences" in content:
            content["sentences"] = [[sentence[side] for side in sides] for sentence in self.sentences]
        return content


@dataclass
class SubwordsConfig:
    """SentencePiece's training, joint over both languages, with byte fallback.

    Attributes:
        vocabulary_size: Pieces in all, the four special ones and the 256 bytes among them.
        algorithm: `unigram` (Kudo 2018, arXiv:1804.10959) or `bpe` (Sennrich et al. 2016, arXiv:1508.07909).
        normalization: SentencePiece's rule for characters; `identity` leaves them as they are.
        character_coverage: Share of the text's characters with a piece of their own; the rest goes by bytes.
        sample_pairs: Pairs of the training split at most, of smallest digest, that the model is trained on.
    """

    vocabulary_size: int = 8000
    algorithm: Literal["unigram", "bpe"] = "unigram"
    normalization: Literal["nmt_nfkc", "nfkc", "identity"] = "nmt_nfkc"
    character_coverage: float = 0.9999
    sample_pairs: int = 50_000

    def check(self, where: str) -> None:
        """Raises `UserError` for a number without a meaning."""
        for name in ("vocabulary_size", "sample_pairs"):
            _at_least(1, getattr(self, name), f"{where}.{name}")
        if not 0 < self.character_coverage <= 1:
            raise UserError(
                f"{where}.character_coverage: {self.character_coverage} found, a share of at most 1 expected"
            )


@dataclass
class FiltersConfig:
    """Which pairs of the training split are left out; validation and test sets are kept whole, only counted.

    Attributes:
        min_words: Fewest whitespace-separated words of either side.
        max_words: Most words of either side; null for no bound.
        max_length_ratio: Most words of the longer side for one of the shorter; null for no bound.
        drop_duplicates: Keep the first of pairs that are equal on both sides.
        drop_identical: Leave out pairs whose two sides are equal.
        drop_held_out: Leave out pairs whose source sentence is in the validation or a test split.
    """

    min_words: int = 1
    max_words: int | None = 100
    max_length_ratio: float | None = None
    drop_duplicates: bool = True
    drop_identical: bool = False
    drop_held_out: bool = False

    def check(self, where: str) -> None:
        """Raises `UserError` for a number without a meaning."""
        _at_least(0, self.min_words, f"{where}.min_words")
        _at_least(1, self.max_words, f"{where}.max_words")
        _at_least(1, self.max_length_ratio, f"{where}.max_length_ratio")


def _at_least(lowest: int, found: float | None, place: str) -> None:
    if found is not None and not found >= lowest:
        raise UserError(f"{place}: {found} found, at least {lowest} expected")


@dataclass
class CorpusConfig:
    """A corpus in one direction.

    Attributes:
        name: Direction and subset included, as `multi30k-en-de-3k`; the prepared folder is `data/<name>`.
        languages: The languages the corpus has.
        source: The language translated from.
        target: The language translated into.
        splits: `train`, `validation`, any number of test sets by name, and maybe `examples`: sentences to be
            shown where the corpus's own may not be.
        folder: The corpus's folder under `LIT_NMT_CORPORA`; default its name.
        redistribute: Whether its text may be shown in a report that is passed on.
        obtain: One line for a user without its files: how to get them.
        subwords: The subword model.
        filters: What is left out of training.
    """

    name: str
    languages: list[str]
    source: str
    target: str
    splits: dict[str, SplitConfig]
    folder: str = ""
    redistribute: bool = False
    obtain: str = ""
    subwords: SubwordsConfig = field(default_factory=SubwordsConfig)
    filters: FiltersConfig = field(default_factory=FiltersConfig)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UserError(
                f"corpus name {self.name!r}: expected a name that can be a folder's: of letters, digits, - _ . only"
            )
        where = f"corpus {self.name}"
        for side in (self.source, self.target):
            if side not in self.languages:
                raise UserError(
                    f"{where}: no language {side!r}; it has {', '.join(self.languages)} "
                    f"(choose source and target among them)"
                )
        if self.source == self.target:
            raise UserError(f"{where}: source and target are both {self.source!r}; two languages expected")
        for kind, names in (("splits", self.splits), ("languages", self.languages)):
            for name in names:
                if not _NAME.fullmatch(name):
                    raise UserError(
                        f"{where}.{kind}: {name!r} becomes a part of files' names; use letters, digits, - _ . only"
                    )
        self.subwords.check(f"{where}.subwords")
        self.filters.check(f"{where}.filters")
        for name in ("train", "validation"):
            if name not in self.splits:
                raise UserError(f"{where}.splits: no {name!r}; train and validation are required")
        for name, split in self.splits.items():
            place = f"{where}.splits.{name}"
            split.check(place)
            if name == EXAMPLES and split.kind != "inline":
                raise UserError(
                    f"{place}.kind: {split.kind!r} found, 'inline' expected: {EXAMPLES} are shown in reports that are "
                    "passed on; give another name to a test set"
                )
            if split.kind == "holdout" and name == "train":
                raise UserError(f"{place}.kind: 'holdout' found; a text to train on is not held out of another")
            if split.kind == "holdout" and (split.of in self.parts or not self._has_text(split.of)):
                raise UserError(f"{place}.of: {split.of!r} is no split of this corpus with text of its own")
            for part in split.parts or []:
                if part in ("train", "validation", EXAMPLES) or not self._has_text(part):
                    raise UserError(
                        f"{place}.parts: {part!r} found; expected splits with text of their own, which serve for "
                        "nothing else"
                    )
            for side in (self.source, self.target):
                if split.kind == "download" and side not in split.sha256:
                    raise UserError(f"{place}.sha256: no checksum for language {side!r}")
                for number, sentence in enumerate(split.sentences):
                    if not sentence.get(side, "").strip():
                        raise UserError(f"{place}.sentences[{number}]: nothing in language {side!r}; add it")

    @property
    def mirror(self) -> str:
        """The corpus's folder under `LIT_NMT_CORPORA`."""
        return self.folder or self.name

    @property
    def parts(self) -> set[str]:
        """The splits that others are joined of."""
        return {part for split in self.splits.values() for part in split.parts or []}

    @property
    def prepared(self) -> list[str]:
        """The splits that are prepared, in the order of the YAML: all but those that others are joined of."""
        return [name for name in self.splits if name not in self.parts]

    @property
    def test_sets(self) -> list[str]:
        """The splits that are translated and scored, in the order of the YAML."""
        return test_sets_among(self.prepared)

    def _has_text(self, name: str) -> bool:
        return name in self.splits and self.splits[name].kind not in DERIVED

    def as_dict(self) -> dict[str, Any]:
        """The configuration in plain types: what stands under `data.corpus` in a YAML."""
        return dataclasses.asdict(self)

    def digest(self) -> str:
        """Eight hexadecimal digits of all that decides the prepared text; folders of files do not."""
        content = self.as_dict()
        for key in ("folder", "obtain", "redistribute", "languages"):
            del content[key]
        content["splits"] = {name: split.identity((self.source, self.target)) for name, split in self.splits.items()}
        return digest(content)


def test_sets_among(splits: Iterable[str]) -> list[str]:
    """The names of splits that are translated and scored."""
    return [name for name in splits if name not in ("train", "validation", EXAMPLES)]


def load_corpus_config(name_or_path: str, overrides: Mapping[str, Any] | None = None) -> CorpusConfig:
    """Reads the configuration of a corpus.

    Args:
        name_or_path: A path to a YAML, or a name: `experiments/corpora/<name>.yaml`, else
            `<stem>-<source>-<target>` where `<stem>.yaml` lists both languages.
        overrides: Nested keys to replace, as a study gives them; a split whose `kind` is given is replaced
            whole.

    Raises:
        UserError: No such corpus or language pair, an unknown key, a value of the wrong type.
    """
    name = str(name_or_path)
    path, direction = _find(name)
    content = _read_fragment(path)
    if direction is not None:
        content |= {"name": name, "source": direction[0], "target": direction[1]}
    content.setdefault("name", path.stem)
    content.setdefault("folder", path.stem)
    if overrides:
        content = _merge(content, overrides)
    return build(CorpusConfig, content, f"{path}: data.corpus")


def _find(name: str) -> tuple[Path, tuple[str, str] | None]:
    """The YAML of a corpus, and the direction where the name, not the file, decides it."""
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise UserError(f"{name}: no such file; a corpus YAML or one of {_known()} expected")
        return Path(name), None
    path = CORPORA / f"{name}.yaml"
    if path.is_file():
        return path, None
    stem, *direction = name.rsplit("-", 2)
    path = CORPORA / f"{stem}.yaml"
    if len(direction) == 2 and path.is_file():
        return path, (direction[0], direction[1])
    raise UserError(f"corpus {name!r}: no {CORPORA / name}.yaml; there are {_known()}, or give a YAML's path")


def _known() -> str:
    return ", ".join(sorted(path.stem for path in CORPORA.glob("*.yaml"))) or "none here"


def _read_fragment(path: Path) -> dict[str, Any]:
    data = read_yaml(path).get("data")
    corpus = data.get("corpus") if isinstance(data, dict) else None
    if not isinstance(corpus, dict):
        raise UserError(f"{path}: no data.corpus found; a corpus YAML has its keys under data: corpus:")
    return corpus


def _merge(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(content)
    for key, value in overrides.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping) and "kind" not in value:
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged
