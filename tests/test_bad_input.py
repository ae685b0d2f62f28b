"""Whatever is wrong with what it is given, `lit-nmt` says so in one line and leaves all files as they were.

A small world with a corpus, a study, a trained run and its results is made once. Each row of the table spoils one
thing in a copy of it, and calls one command.
"""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import hashlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from lit_nmt import cli
from lit_nmt.studies import load_study, write_plan

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bad input")]

CORPUS = "experiments/corpora/words.yaml"
MODEL = "experiments/models/plain.yaml"
STUDY = "experiments/studies/trial.yaml"
RESULTS = "reports/trial/results"
"""`{run}` in a path or a command is the folder of the trained run."""

STATUS = "status trial"
PREPARE = "prepare words --force"
CHECK = "check-model plain"
FIT = "fit --config fit.yaml --trainer.default_root_dir new"
GO_ON = "fit --config fit.yaml --trainer.default_root_dir {run}"
TRANSLATE = "translate {run} --test_sets all --decodings greedy --force"
SCORE = "score trial"
REPORT = f"report trial --from {RESULTS}"

# ------------------------------------------------------------------------------------------------------- the world

ANIMALS, VERBS = ("otter", "heron", "badger", "fox"), ("waits", "hunts", "rests", "sings")
PAIRS = [
    (f"the {size} {animal} {verb} {place}", f"{place} {verb} {animal} {size} the")
    for size in ("old", "grey")
    for animal in ANIMALS
    for verb in VERBS
    for place in ("by the river", "under a hedge", "on the roof", "in the rain")
]
PLAIN: dict[str, Any] = {
    CORPUS: {
        "data": {
            "corpus": {
                "languages": ["xx", "yy"],
                "source": "xx",
                "target": "yy",
                "subwords": {"vocabulary_size": 300, "algorithm": "bpe"},
                "splits": {
                    name: {"kind": "files", "file": f"text/{name}"} for name in ("train", "validation", "test")
                },
            }
        }
    },
    MODEL: {"model": {"class_path": "lit_nmt.models.transformer.Transformer", "init_args": {"dim": 8, "heads": 2}}},
    STUDY: {
        "title": "A trial",
        "corpora": {"words": None},
        "models": {"plain": {"init_args": {"encoder_layers": 1, "decoder_layers": 1, "feed_forward_dim": 8}}},
        "seeds": [1],
        "fit": {"data": {"max_tokens": 400, "target_tokens": 900, "validations": 2}},
        "decodings": ["greedy"],
        "primary": {"test_set": "test", "decoding": "greedy"},
        "bench": {"lengths": [4]},
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world, whole; in its path are a space and letters that are not ASCII."""
    folder = tmp_path_factory.mktemp("Wörter 言葉")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("LIT_NMT_CORPORA", raising=False)
        for path, content in PLAIN.items():
            write(path, content)()
        for name, pairs in (("train", PAIRS), ("validation", PAIRS[:6]), ("test", PAIRS[6:14])):
            for side, language in enumerate(("xx", "yy")):
                write(f"text/{name}.{language}", "".join(f"{pair[side]}\n" for pair in pairs))()
        study = load_study("trial")
        write_plan(study)
        run = study.runs[0]
        shutil.copy(run.config_file, "fit.yaml")
        commands = [f"fit --config {run.config_file}", f"translate {run.folder} --test_sets all --decodings greedy"]
        for command in (*commands, "score trial", "report trial"):
            assert cli.main(shlex.split(command)) == 0
    return folder


@pytest.fixture
def world(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the world to be spoilt, as working directory."""
    folder = tmp_path / "Wörter 言葉"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("LIT_NMT_CORPORA", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return folder


def at(text: str) -> str:
    """A path, command or message with the run's folder filled in."""
    return text.replace("{run}", str(next(Path("runs/words").glob("plain-*/seed1"), "")))


Spoil = Callable[[], object]


def write(path: str, content: Any) -> Spoil:
    """A file with other content: bytes, text, or plain values as YAML or JSON."""

    def spoil() -> None:
        place = Path(at(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        plain = content
        if not isinstance(content, bytes | str):
            plain = json.dumps(content) if path.endswith(".json") else yaml.safe_dump(content, allow_unicode=True)
        place.write_bytes(plain if isinstance(plain, bytes) else plain.encode("utf-8"))

    return spoil


def edit(path: str, key: str, value: Any) -> Spoil:
    """A YAML file, or a JSON file, which is YAML too, with another value under a key, as `data/corpus/name`."""

    def spoil() -> None:
        content = yaml.safe_load(Path(at(path)).read_text(encoding="utf-8"))
        *parents, last = key.split("/")
        inner = content
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
        write(path, content)()

    return spoil


def append(path: str, content: bytes) -> Spoil:
    """A file with something behind its end."""
    return lambda: Path(at(path)).write_bytes(Path(at(path)).read_bytes() + content)


def cut(path: str, size: int) -> Spoil:
    """Only the first bytes of a file, or with a negative size all but the last."""
    return lambda: Path(at(path)).write_bytes(Path(at(path)).read_bytes()[:size])


def without(*paths: str) -> Spoil:
    """Files or folders deleted."""

    def spoil() -> None:
        for path in map(at, paths):
            shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink()

    return spoil


def both(*spoils: Spoil) -> Spoil:
    """Several things at once."""
    return lambda: [spoil() for spoil in spoils]


def checkpoint(content: Any, name: str = "best") -> Spoil:
    """A checkpoint of other content."""
    return lambda: torch.save(content, at(f"{{run}}/checkpoints/{name}.ckpt"))


def model(path: str, name: str, lines: str) -> Spoil:
    """A module of the user's own, and a YAML that names its class."""
    named = edit(path, "model/class_path", f"{name}.Mine")
    return both(write(f"{name}.py", lines), named, edit(path, "model/init_args", {}))


class RunsCode:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("code was run",)


def other_vocabulary() -> None:
    path = at("{run}/checkpoints/best.ckpt")
    content = torch.load(path, weights_only=True)
    for name in ("embedding.weight", "output_bias"):
        content["state_dict"][name] = torch.cat([content["state_dict"][name], content["state_dict"][name][:5]])
    torch.save(content, path)


def compressed(path: str, spoil: Callable[[bytes], bytes]) -> Spoil:
    """A text file as gzip, spoilt."""
    return lambda: Path(path).write_bytes(spoil(gzip.compress(Path(path).read_bytes())))


def multiplying(indent: str = "") -> str:
    """Nine lines of YAML that unfold to a billion values."""
    names = "abcdefghijkl"
    lines = [f"{indent}a: &a {{{', '.join(f'k{n}: {n}' for n in range(9))}}}"]
    for before, name in pairwise(names):
        lines.append(f"{indent}{name}: &{name} {{{', '.join(f'k{n}: *{before}' for n in range(9))}}}")
    return "\n".join(lines) + "\n"


MODULE = """
from lit_nmt.models.translation import TranslationModule

class Mine(TranslationModule):
    title, paper = "Mine", "none"
    def step(self, previous, state): ...
"""
UNTITLED = """
from lit_nmt.models.translation import TranslationModule

class Mine(TranslationModule):
    def __init__(self, vocabulary_size, **_):
        super().__init__(vocabulary_size)
    def encode(self, source, source_lengths): ...
    def step(self, previous, state): ...
"""
FOUND = "cannot be imported"
KEYS = "title: A\nseeds: [1]\ncorpora: {words: }\nmodels: {plain: }\n"


class Bad(NamedTuple):
    """A row: what is wrong, how to make it so, the command, and what the one line must name."""

    what: str
    spoil: Spoil
    command: str
    place: str
    finding: str
    remedy: str


def nothing() -> None:
    """Only the command is wrong."""


# fmt: off
TABLE = [
    # ------------------------------------------------------------------------------------------------ study YAMLs
    Bad("empty", write(STUDY, ""), STATUS, STUDY, '"title" is missing', "add it"),
    Bad("not UTF-8", write(STUDY, "title: Größe".encode("latin-1")), STATUS, STUDY, "byte 9",
        "save the file as UTF-8"),
    Bad("UTF-16", write(STUDY, "title: A".encode("utf-16")), STATUS, STUDY, "byte 0", "save the file as UTF-8"),
    Bad("no YAML", write(STUDY, "title: [a\n"), STATUS, f"{STUDY}, line 2", "not valid YAML", "expected"),
    Bad("a list", write(STUDY, "- a\n"), STATUS, STUDY, "a list of 1", "expected keys with values"),
    Bad("a tag that runs code", write(STUDY, "title: !!python/object/apply:os.mkdir [code]\n"), STATUS,
        f"{STUDY}, line 1", "not valid YAML", "could not determine a constructor"),
    Bad("huge", write(STUDY, b"#" * 5_000_000), STATUS, STUDY, "5,000,000 bytes", "expected a configuration"),
    Bad("a billion values", write(STUDY, f"{KEYS}fit:\n{multiplying('  ')}"), STATUS, f"{STUDY}, line",
        "unfolds to more than", "100,000 values"),
    Bad("a value within itself", write(STUDY, f"{KEYS}fit: &fit {{data: *fit}}\n"), STATUS, f"{STUDY}, line 5",
        "contains itself", "what stands here"),
    Bad("brackets without end", write(STUDY, f"title: {'[' * 5000}"), STATUS, STUDY, "brackets", "close them"),
    Bad("half a character", write(STUDY, 'title: "\\ud800"\n'), STATUS, f"{STUDY}, line 1", "escape", "no character"),
    Bad("a key twice", append(STUDY, b"title: B\n"), STATUS, STUDY, '"title" is given twice', "keep one of them"),
    Bad("a model twice", write(STUDY, f"{KEYS.replace('{plain: }', '{plain: , plain: }')}"), STATUS,
        f"{STUDY}, line 4", '"plain" is given twice', "keep one of them"),
    Bad("an unknown key", edit(STUDY, "sedes", [1]), STATUS, STUDY, 'unknown key "sedes"', 'did you mean "seeds"?'),
    Bad("no seeds", both(edit(STUDY, "bench", None), edit(STUDY, "seeds", [])), STATUS, f"{STUDY}: seeds",
        "none for corpus words", "add for example"),
    Bad("a seed that is a word", edit(STUDY, "seeds", ["one"]), STATUS, f"{STUDY}: seeds[0]", "'one'",
        "expected a whole number"),
    Bad("a negative seed", edit(STUDY, "seeds", [-1]), STATUS, f"{STUDY}: seeds", "found -1", "expected 0 or more"),
    Bad("a seed beyond numpy's", edit(STUDY, "seeds", [2**40]), STATUS, f"{STUDY}: seeds", "1099511627776",
        "expected 0 or"),
    Bad("a seed of 1000 digits", edit(STUDY, "seeds", ["x", 10**1000]), STATUS, f"{STUDY}: seeds[0]", "'x'",
        "whole number"),
    Bad("no threads", edit(STUDY, "threads", 0), STATUS, f"{STUDY}: threads", "found 0", "expected 1 or more"),
    Bad("a beam of a billion", edit(STUDY, "decodings", ["beam1000000000"]), STATUS, f"{STUDY}: decodings",
        "beam1000000000", "expected greedy or beam<width>"),
    Bad("a model that is not there", edit(STUDY, "models", {"plane": None}), STATUS, STUDY, 'no model "plane"',
        'did you mean "plain"?'),
    Bad("a corpus that is not there", edit(STUDY, "corpora", {"worlds": None}), STATUS,
        "experiments/corpora/worlds.yaml", "no ", "there are words"),
    Bad("a name with a slash", edit(STUDY, "models", {"../plain": None}), STATUS, f"{STUDY}: models", '"../plain"',
        "use letters"),
    Bad("a test set that is not there", edit(STUDY, "primary/test_set", "tset"), STATUS, f"{STUDY}: primary.test_set",
        "tset", 'did you mean "test"?'),
    Bad("a claim nobody knows", edit(STUDY, "claims/constant-tim", {}), STATUS, f"{STUDY}: claims", "unknown claim",
        'did you mean "constant-time"?'),
    Bad("an effect that is no number",
        append(STUDY, b"claims: {constant-time: {criterion: x, smallest_effect: .nan}}\n"), STATUS,
        f"{STUDY}: claims.constant-time: smallest_effect", "nan", "expected a finite number"),
    Bad("a negative tolerance", edit(STUDY, "parameters_tolerance", -0.1), STATUS, f"{STUDY}: parameters_tolerance",
        "-0.1", "expected 0 or more"),
    Bad("negative windows", edit(STUDY, "bench/windows", -1), STATUS, f"{STUDY}: bench.windows", "-1",
        "expected 1 or more"),
    Bad("a phase nobody knows", edit(STUDY, "bench/phases", ["dance"]), STATUS, f"{STUDY}: bench.phases", "'dance'",
        "expected train"),
    Bad("training settings listed", edit(STUDY, "fit/trainer", ["fast"]), STATUS, f"{STUDY}: fit.trainer",
        "a list of 1", "expected keys with values"),
    Bad("a training setting nobody knows", edit(STUDY, "fit/modell", {}), STATUS, f"{STUDY}: fit.modell",
        "unknown key", 'did you mean "model"?'),
    Bad("a negative budget", edit(STUDY, "fit/data/target_tokens", -5), STATUS, f"{STUDY}: fit.data.target_tokens",
        "-5", "1 or more"),
    Bad("a corpus among training settings", edit(STUDY, "fit/data/corpus", {}), STATUS, f"{STUDY}: fit.data.corpus",
        "does not belong here", "stand under corpora"),
    Bad("itself included", write(STUDY, "title: A\nincludes: [trial]\n"), STATUS, f"{STUDY}: includes",
        "includes others itself", "name those instead"),
    Bad("a circle of studies",
        both(write(STUDY, "title: A\nincludes: [b]\n"), write("experiments/studies/b.yaml",
        "title: B\nincludes: [trial]\n")), STATUS, f"{STUDY}: includes", "b includes others", "name those instead"),
    Bad("a file name that no folder can have", write("mon étude.yaml", KEYS), "status 'mon étude.yaml'",
        "mon étude.yaml", "becomes a folder", "use letters"),
    Bad("a folder instead of a study", both(without(STUDY), write(f"{STUDY}/x", "")), STATUS, STUDY, "does not exist",
        "known are"),
    Bad("a name too long", nothing, f"status {'a' * 300}", "experiments/studies/aaa", "file name too long",
        "a shorter name"),
    # ----------------------------------------------------------------------------------------------- corpus YAMLs
    Bad("no corpus in it", write(CORPUS, "model: {}\n"), PREPARE, CORPUS, "no data.corpus", "under data: corpus:"),
    Bad("a key nobody knows", edit(CORPUS, "data/corpus/langauges", []), PREPARE, CORPUS, '"langauges"',
        'did you mean "languages"?'),
    Bad("no validation text", edit(CORPUS, "data/corpus/splits", {"train": {"kind": "files"}}), PREPARE,
        "words.splits", "no 'validation'", "are required"),
    Bad("a negative limit", edit(CORPUS, "data/corpus/splits/train/limit", -3), PREPARE, "words.splits.train.limit",
        "-3", "at least 1 expected"),
    Bad("a negative vocabulary", edit(CORPUS, "data/corpus/subwords/vocabulary_size", -300), PREPARE,
        "words.subwords.vocabulary_size", "-300", "at least 1 expected"),
    Bad("a huge vocabulary", edit(CORPUS, "data/corpus/subwords/vocabulary_size", 10**12), PREPARE,
        "subwords.vocabulary_size", "1000000000000", "check its text and settings"),
    Bad("a share above 1", edit(CORPUS, "data/corpus/subwords/character_coverage", 99.95), PREPARE,
        "words.subwords.character_coverage", "99.95", "at most 1 expected"),
    Bad("a negative length", edit(CORPUS, "data/corpus/filters/max_words", -1), PREPARE, "words.filters.max_words",
        "-1 found", "at least 1 expected"),
    Bad("a ratio that is no number", edit(CORPUS, "data/corpus/filters", {"max_length_ratio": float("nan")}), PREPARE,
        f"{CORPUS}: data.corpus: filters: max_length_ratio", "nan", "expected a finite number"),
    Bad("a split that would lie elsewhere",
        edit(CORPUS, "data/corpus/splits/..|..|x".replace("|", "\\"), {"kind": "files"}), PREPARE, "words.splits",
        "..\\\\x", "use letters"),
    Bad("a name that leads elsewhere", edit(CORPUS, "data/corpus/name", "../../elsewhere"), PREPARE, "corpus name",
        "'../../elsewhere'", "expected a name"),
    Bad("a checksum that leads elsewhere",
        edit(CORPUS, "data/corpus/splits/train", {"kind": "download", "address": "https://localhost/x.{language}",
        "sha256": {"xx": "../../../x", "yy": "0" * 64}}), PREPARE, "words.splits.train.sha256.xx", "'../../../x'",
        "64 hexadecimal digits"),
    Bad("a download from this machine",
        edit(CORPUS, "data/corpus/splits/train", {"kind": "download", "address": "file:///etc/hosts",
        "sha256": {"xx": "0" * 64, "yy": "0" * 64}}), PREPARE, "words.splits.train.address", "file:///etc/hosts",
        "https:// expected"),
    Bad("synthetic text in another language",
        edit(CORPUS, "data/corpus/splits/train", {"kind": "synthetic", "pairs": 9}), PREPARE,
        "corpus words, split 'train'", "not from xx to yy", "qta and qor expected"),
    Bad("shifted text in another language",
        edit(CORPUS, "data/corpus/splits/test", {"kind": "shifted", "pairs": 9}), PREPARE,
        "corpus words, split 'test'", "shifted text is not from xx to yy", "qta and qor expected"),
    Bad("text to recall in another language",
        edit(CORPUS, "data/corpus/splits/train", {"kind": "recall", "pairs": 9}), PREPARE,
        "corpus words, split 'train'", "not from xx to yy", "list and answer expected"),
    Bad("more held out than there is",
        edit(CORPUS, "data/corpus/splits/test", {"kind": "holdout", "of": "train", "pairs": 999}), PREPARE,
        "words.splits.test", "128 found", "ask for fewer"),
    Bad("a test set that sacreBLEU lacks",
        edit(CORPUS, "data/corpus/splits/train", {"kind": "sacrebleu", "test_set": "wmt99"}), "fetch words",
        "sacreBLEU test set wmt99", "unknown", "there are"),
    # ---------------------------------------------------------------------------------------------- parallel text
    Bad("misaligned", append("text/train.yy", b"one more\n"), PREPARE, "text/train.xx", "128 lines",
        "must translate line i"),
    Bad("a byte that is not UTF-8", append("text/test.yy", b"ca\xf1on\n"), PREPARE, "text/test.yy, line 9", "0xf1",
        "convert the"),
    Bad("an empty file", both(write("text/validation.xx", ""), write("text/validation.yy", "")), PREPARE,
        "'validation'", "no lines", "check its text"),
    Bad("blank lines alone", both(write("text/train.xx", "\n \n"), write("text/train.yy", "\n\t\n")), PREPARE,
        "'train'", "empty: 2", "check its text and the filters"),
    Bad("one side missing", without("text/test.yy"), PREPARE, "text/test.yy", "no ", "put words/"),
    Bad("a folder instead of a file", both(without("text/test.yy"), write("text/test.yy/x", "")), PREPARE,
        "text/test.yy", "no ", "put words/"),
    Bad("gzip cut short", compressed("text/train.xx", lambda whole: whole[:100]), PREPARE, "text/train.xx",
        "cut short", "get it again"),
    Bad("gzip of a wrong checksum", compressed("text/train.xx", lambda whole: whole[:-8] + bytes(8)), PREPARE,
        "text/train.xx", "CRC check failed", "get it again"),
    Bad("gzip in name alone", write("text/train.xx", b"\x1f\x8bnot gzip"), PREPARE, "text/train.xx", "damaged",
        "get it again"),
    Bad("control characters alone",
        both(write("text/train.xx", "\x01\x02\n" * 9), write("text/train.yy", "\x01\x02\n" * 9)), PREPARE,
        "subwords.vocabulary_size: 300", "could not be trained", "check its text"),
    # --------------------------------------------------------------------------------------- model YAMLs and classes
    Bad("no class", write(MODEL, "model: {}\n"), STATUS, MODEL, "no model.class_path", "expected `model:"),
    Bad("empty class", write(MODEL, "model: {class_path: ''}\n"), STATUS, MODEL, "no model.class_path",
        "expected `model:"),
    Bad("arguments listed", edit(MODEL, "model/init_args", [3]), CHECK, f"{MODEL}: model.init_args", "a list of 1",
        "expected keys"),
    Bad("a class that does not exist", edit(MODEL, "model/class_path", "lit_nmt.Nothing"), CHECK, "lit_nmt.Nothing",
        FOUND, "expected a module and its class"),
    Bad("a module that is no Python", model(MODEL, "unfinished", "def"), CHECK, "unfinished.py, line 1", FOUND,
        "expected a module"),
    Bad("a module that fails", model(MODEL, "failing", "1 / 0"), CHECK, "failing.Mine", "ZeroDivisionError",
        "expected a module"),
    Bad("a module that exits", model(MODEL, "exiting", "raise SystemExit(0)"), CHECK, "exiting.Mine", "SystemExit",
        "expected a module"),
    Bad("a class that is no model", edit(MODEL, "model/class_path", "pathlib.Path"), CHECK, "pathlib.Path", "is not a",
        "TranslationModule"),
    Bad("a class that lacks encode", model(MODEL, "lacking", MODULE), CHECK, "lacking.Mine", "encode",
        "cannot be made"),
    Bad("a class that lacks encode, trained", model("fit.yaml", "lacking_too", MODULE), FIT, "lacking_too.Mine",
        "is abstract", "--help"),
    Bad("a model without a title", model(MODEL, "untitled", UNTITLED), CHECK, "plain", "no title", "add `title"),
    Bad("an argument nobody takes", edit(MODEL, "model/init_args/dimm", 3), CHECK, "plain", "takes no dimm",
        'did you mean "dim"?'),
    Bad("heads that do not divide", edit(MODEL, "model/init_args/heads", 3), CHECK, "heads: 3", "found",
        "a divisor of dim (8)"),
    Bad("a negative size", edit(MODEL, "model/init_args/dim", -8), CHECK, "dim: -8", "found", "at least 1 expected"),
    Bad("a size that is a word", edit(MODEL, "model/init_args/dim", "wide"), CHECK, "Transformer", "dim=wide",
        "cannot be made"),
    Bad("a new model under an old name", write("plain.yaml", ""), "new-model plain", "plain.yaml", "there already",
        "choose another name"),
    Bad("a new model elsewhere", nothing, "new-model ../plain", "'../plain'", "expected small letters", "as my-model"),
    # ---------------------------------------------------------------------------------------- settings of a training
    Bad("no settings at all", nothing, "fit", "data.corpus.name", "required", "--help"),
    Bad("settings that are not there", nothing, "fit --config missing.yaml", "missing.yaml", "no such file",
        "give the path"),
    Bad("settings in Latin-1", append("fit.yaml", b"# \xfc\n"), FIT, "fit.yaml", "is not UTF-8",
        "save the file as UTF-8"),
    Bad("a setting twice", append("fit.yaml", b"threads: 2\n"), FIT, "fit.yaml, line", '"threads" is given twice',
        "keep one"),
    Bad("settings that multiply", append("fit.yaml", multiplying().encode()), FIT, "fit.yaml, line", "unfolds",
        "100,000 values"),
    Bad("an option nobody knows", nothing, f"{FIT} --trainer.devixes 4", "trainer.devixes", "nrecognized", "--help"),
    Bad("an argument nobody takes, trained", nothing, f"{FIT} --model.init_args.dimm 4", "model", "dimm", "--help"),
    Bad("a class that does not exist, trained", nothing, f"{FIT} --model.class_path lit_nmt.Nothing", "model",
        "lit_nmt.Nothing", "--help"),
    Bad("a word for a number", nothing, f"{FIT} --data.max_tokens many", "data.max_tokens", "many", "Expected a int"),
    Bad("no tokens in a batch", nothing, f"{FIT} --data.max_tokens 0", "data.max_tokens", "0 found", "at least 1"),
    Bad("no validation", nothing, f"{FIT} --data.validations 0", "data.validations", "0 found", "at least 1"),
    Bad("a negative thread", nothing, f"{FIT} --threads -1", "threads", "-1", "v>0"),
    Bad("a negative seed of a training", nothing, f"{FIT} --seed_everything -1", "makes no training", "-1",
        "accepts from 0"),
    Bad("dropout of everything", nothing, f"{FIT} --model.init_args.dropout 1", "dropout: 1", "found",
        "less than 1 expected"),
    Bad("a negative learning rate", nothing, f"{FIT} --model.init_args.learning_rate -1", "learning_rate: -1", "found",
        "more than 0"),
    Bad("a learning rate that is no number", nothing, f"{FIT} --model.init_args.learning_rate .nan",
        "learning_rate: nan", "found", "more than 0"),
    Bad("a schedule nobody knows", nothing, f"{FIT} --model.init_args.schedule cosine", "schedule", "cosine",
        "Expected a Literal"),
    Bad("devices that are not there", nothing, f"{FIT} --trainer.accelerator cpu --trainer.devices 0",
        "makes no training", "devices='0'", "not a valid input"),
    Bad("a strategy nobody knows", nothing, f"{FIT} --trainer.strategy chess", "makes no training", "chess",
        "Example choices"),
    Bad("a training without steps", nothing, f"{FIT} --trainer.max_steps 0", "new", "before its first validation",
        "leave out"),
    Bad("a file for a run's folder", write("new", ""), FIT, "new", "file exists", "move it away"),
    # ----------------------------------------------------------------------------------------------- run folders
    Bad("a record cut short", cut("{run}/fit.json", 20), GO_ON, "{run}/fit.json", "no record of a training",
        "delete it"),
    Bad("a record of something else", write("{run}/fit.json", '{"status": "lost"}'), SCORE, "{run}/fit.json", "'lost'",
        "delete it"),
    Bad("another configuration there", both(without("{run}/fit.json"), edit("fit.yaml", "average", 3)), GO_ON, "{run}",
        "another configuration (average)", "choose another"),
    Bad("a configuration that is no YAML", both(without("{run}/fit.json"), write("{run}/config.yaml", "a: [")), GO_ON,
        "{run}/config.yaml", "damaged", "restore the file"),
    Bad("curves of words", both(without("{run}/fit.json"), write("{run}/metrics.csv", "step\nfirst\n")), GO_ON,
        "{run}/metrics.csv", "'first'", "train anew"),
    Bad("weights cut short", cut("{run}/checkpoints/best.ckpt", 500), TRANSLATE, "{run}/checkpoints/best.ckpt",
        "cannot be read", "restore the file"),
    Bad("weights that run code", checkpoint({"state_dict": RunsCode()}), TRANSLATE, "{run}/checkpoints/best.ckpt",
        "could run code", "restore the file"),
    Bad("weights of nothing", checkpoint({"state_dict": {"bias": torch.zeros(3)}}), TRANSLATE,
        "{run}/checkpoints/best.ckpt", "no weights of a model", "train again"),
    Bad("weights of another vocabulary", other_vocabulary, TRANSLATE, "{run}", "305 subwords, but data/words has 300",
        "train again"),
    Bad("weights of another model", edit("{run}/config.yaml", "model/init_args/encoder_layers", 2), TRANSLATE,
        "{run}/checkpoints/best.ckpt", "does not fit", "train again"),
    Bad("no weights", without("{run}/checkpoints/best.ckpt"), TRANSLATE, "{run}/checkpoints/best.ckpt", "not found",
        "run lit-nmt fit"),
    Bad("no run", nothing, "translate text --test_sets all", "text", "not a run", "expected a folder as runs/"),
    Bad("a run without a model", edit("{run}/config.yaml", "model", None), TRANSLATE, "{run}/config.yaml",
        "no model.class_path", "expected the configuration of a run"),
    Bad("a run of a corpus elsewhere", edit("{run}/config.yaml", "data/corpus/name", "../x"), TRANSLATE, "../x",
        "no prepared corpus", "run `lit-nmt prepare"),
    Bad("threads that are a word", edit("{run}/config.yaml", "threads", "many"), TRANSLATE,
        "{run}/config.yaml: threads", "'many'", "expected a whole number"),
    # ------------------------------------------------------------------------------------------ a prepared corpus
    Bad("not prepared", without("data/words"), TRANSLATE, "data/words", "no prepared corpus",
        "run `lit-nmt prepare words`"),
    Bad("a manifest of nothing", write("data/words/manifest.json", "{}"), TRANSLATE, "data/words/manifest.json",
        "damaged", "--force"),
    Bad("a list for a manifest", write("data/words/manifest.json", "[1]"), TRANSLATE, "data/words/manifest.json",
        "damaged", "--force"),
    Bad("subwords of nothing", write("data/words/subwords.model", "x"), TRANSLATE, "data/words/subwords.model",
        "not a Sentence", "--force"),
    Bad("ids cut short", cut("data/words/test.source.tokens.npy", -9), TRANSLATE, "data/words/test.source", "damaged",
        "--force"),
    Bad("ids that run code", lambda: np.save("data/words/test.source.tokens.npy", np.array([RunsCode()], object)),
        TRANSLATE, "data/words/test.source.tokens.npy", "damaged", "--force"),
    Bad("sentences that overlap", lambda: np.save("data/words/test.target.offsets.npy", np.arange(4)), TRANSLATE,
        "data/words/test.target.offsets.npy", "damaged", "--force"),
    Bad("references cut short", cut("data/words/test.target.txt", 50), TRANSLATE, "data/words/test.target.txt",
        "damaged", "--force"),
    # ------------------------------------------------------------------------------- translations, scores, reports
    Bad("a translation in Latin-1", append("{run}/translations/test.greedy.jsonl", b"\xff\n"), SCORE,
        "test.greedy.jsonl, line 9", "no translation", "translate again"),
    Bad("a translation cut short", cut("{run}/translations/test.greedy.jsonl", -30), SCORE,
        "test.greedy.jsonl, line 8", "no translation", "translate again"),
    Bad("a number for a translation",
        append("{run}/translations/test.greedy.jsonl",
        b'{"id": 8, "source": "a", "reference": ' b'"b", "hypothesis": 3, "score": 0, "source_words": 1}\n'), SCORE,
        "test.greedy.jsonl, line 9", "hypothesis is 3", "translate again"),
    Bad("settings of a translation", write("{run}/translations/test.greedy.json", "{"), SCORE, "test.greedy.json",
        "not JSON", "delete"),
    Bad("curves that are no table", write("{run}/metrics.csv", b"\xff\n"), SCORE, "{run}/metrics.csv", "damaged",
        "train again"),
    Bad("curves without columns", write("{run}/metrics.csv", "a,b\n1,2\n"), SCORE, "{run}/metrics.csv",
        "validation_loss", "train again"),
    Bad("results that are not there", nothing, f"{SCORE} --also nowhere", "nowhere", "no such folder",
        "write them with"),
    Bad("results of another study", nothing, f"report other --from {RESULTS}", RESULTS, "the study trial, not other",
        "name that"),
    Bad("a study that is no JSON", cut(f"{RESULTS}/study.json", 40), REPORT, f"{RESULTS}/study.json", "not JSON",
        "write it again"),
    Bad("a study of an unknown key", edit(f"{RESULTS}/study.json", "sedes", 3), REPORT, f"{RESULTS}/study.json",
        '"sedes"', "did you mean"),
    Bad("sentences that are no table", write(f"{RESULTS}/sentences.parquet", "PAR1"), REPORT,
        f"{RESULTS}/sentences.parquet", "cannot be read", "lit-nmt score"),
    Bad("sentences without columns", lambda: pd.DataFrame({"a": [1]}).to_parquet(f"{RESULTS}/sentences.parquet"),
        REPORT, f"{RESULTS}/sentences.parquet", "no column corpus", "lit-nmt score"),
    Bad("gradients without columns", lambda: pd.DataFrame({"a": [1]}).to_parquet(f"{RESULTS}/gradients.parquet"),
        REPORT, f"{RESULTS}/gradients.parquet", "no column corpus", "lit-nmt probe"),
    Bad("runs that are no table", write(f"{RESULTS}/runs.csv", b"\xff\x00"), REPORT, f"{RESULTS}/runs.csv",
        "not a CSV table", "write it"),
    Bad("words for numbers", write(f"{RESULTS}/curves.csv", "step\nfirst\n"), REPORT,
        f"{RESULTS}/curves.csv: column step", "'first'", "expected numbers"),
    Bad("an example cut short", cut(f"{RESULTS}/examples.jsonl", -9), REPORT, "examples.jsonl, line 8", "no example",
        "write it again"),
    Bad("an example of nothing", write(f"{RESULTS}/examples.jsonl", "{}\n"), REPORT, "examples.jsonl, line 1",
        "no corpus", "write it again"),
    Bad("origins that are a list", write(f"{RESULTS}/provenance.json", "[]"), REPORT, f"{RESULTS}/provenance.json",
        "found list", "expected a JSON object"),
    Bad("origins of nothing", write(f"{RESULTS}/provenance.json", '{"runs": 3}'), REPORT,
        f"{RESULTS}/provenance.json: runs", "found no list", "write it again"),
    Bad("nothing to report", without("reports"), "report trial", RESULTS, "no results", "run `lit-nmt score trial`"),
    # ----------------------------------------------------------------------------------------------- benchmarks
    Bad("a device nobody knows", nothing, "bench trial --device quantum", "device", "'quantum'",
        "expected auto, cpu or cuda"),
    Bad("a negative time", nothing, "bench trial --max_seconds -1", "max_seconds", "-1", "expected more than 0"),
    Bad("a study to measure that is not there", nothing, "bench missing.yaml", "missing.yaml", "no such file",
        "give the path"),
    # ------------------------------------------------------------------------------------------------ gradients
    Bad("gradients that nobody asked for", nothing, "probe trial", "trial", "no key `probe`", "add one"),
    Bad("gradients of a corpus that is not there", edit(STUDY, "probe/corpus", "worlds"), STATUS,
        f"{STUDY}: probe.corpus", 'no corpus "worlds"', 'did you mean "words"?'),
    Bad("gradients of sentences that are not there", edit(STUDY, "probe/words", [80, 90]), "probe trial",
        f"{STUDY}: probe", "no sentence of 80 to 90 words in test", "change probe.words"),
    Bad("gradients of no training", both(edit(STUDY, "probe", {}), without("{run}/checkpoints/best.ckpt")),
        "probe trial", f"{STUDY}: probe", "no run on words is trained yet", "run `lit-nmt fit`"),
    Bad("gradients of a run without a seed",
        both(edit(STUDY, "probe", {}), edit("{run}/config.yaml", "seed_everything", None)), "probe trial",
        "{run}/config.yaml: seed_everything", "found None", "expected the seed of a run"),
    # --------------------------------------------------------------------------------------------------- the disk
    Bad("a file for the data", both(without("data"), write("data", "")), PREPARE, "data", "file exists",
        "move it away"),
    Bad("a file for the reports", both(without("reports"), write("reports", "")), SCORE, "reports", "not a directory",
        "move it away"),
    Bad("a file for translations", both(without("{run}/translations"), write("{run}/translations", "")), TRANSLATE,
        "{run}/translations", "file exists", "move it away"),
    Bad("data that is read-only", lambda: Path("data").chmod(0o500), PREPARE, "data", "permission denied",
        "writable for you"),
    Bad("a run that is read-only", both(without("{run}/fit.json"), lambda: Path(at("{run}")).chmod(0o500)), GO_ON,
        "{run}", "permission denied", "writable for you"),
    Bad("reports that are read-only", lambda: Path(RESULTS).chmod(0o500), SCORE, RESULTS, "permission denied",
        "writable for you"),
    Bad("text that may not be read", lambda: Path("text/test.xx").chmod(0), PREPARE, "text/test.xx",
        "permission denied", "make it readable"),
    Bad("a study that may not be read", lambda: Path(STUDY).chmod(0), STATUS, STUDY, "permission denied",
        "a file that you may read"),
    # ------------------------------------------------------------------------------------------------ the command
    Bad("a verb nobody knows", nothing, "trnslate", 'no verb "trnslate"', "did you mean", '"translate"?'),
    Bad("a study nobody knows", nothing, "status trail", 'no study "trail"', "does not exist",
        'did you mean "trial"?'),
    Bad("nothing to prepare", nothing, "prepare", "name", "required", "lit-nmt prepare --help"),
    Bad("a file of the system", nothing, "prepare /etc/passwd", "'/etc/passwd'", "no /etc/passwd.yaml",
        "there are words"),
]
# fmt: on


@contextlib.contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Root, too, may then write only what its owner may: it gives up those capabilities for a while."""
    if os.geteuid() or not sys.platform.startswith("linux"):
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] = effective & ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(header, sets) == 0


def contents(folder: Path) -> dict[str, str]:
    """Every file there, lock files and those of a training that was to begin aside, with a digest of it."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    names = {str(path.relative_to(folder)): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if not name.startswith("new/")
    }


@pytest.mark.parametrize("bad", TABLE, ids=[bad.what.replace(" ", "-") for bad in TABLE])
def test_one_line_tells_the_mistake_and_nothing_changes(
    bad: Bad, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad.spoil()
    expected = [at(bad.place), bad.finding, bad.remedy]
    command = shlex.split(at(bad.command))
    before = contents(world)
    capsys.readouterr()
    with bound_by_permissions():
        status = cli.main(command)
    told = capsys.readouterr()
    assert status == 2, told
    assert told.err.startswith("lit-nmt: ")
    assert told.err.count("\n") == 1, told.err
    assert [word for word in expected if word not in told.err] == [], told.err
    assert contents(world) == before
    assert not Path("code was run").exists()


def test_the_table_is_as_long_as_promised_and_no_row_is_there_twice() -> None:
    assert len({bad.what for bad in TABLE}) == len(TABLE) >= 60
