"""Preparing a corpus: what stands in the arrays, what is left out, and what a mistake or a kill leaves behind."""

import gzip
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_nmt.data import prepare as module
from lit_nmt.data.corpora import CorpusConfig, FiltersConfig, SplitConfig, SubwordsConfig
from lit_nmt.data.prepare import prepare
from lit_nmt.data.prepared import PreparedCorpus
from lit_nmt.data.selection import failing_filter, hold_out, scan, select, smallest
from lit_nmt.errors import UserError

PLACES = ["by the river", "under a hedge", "in the long wet grass where nobody walks"]
TRAIN = [
    (f"the {size} {animal} {verb} {place}", f"{place[::-1]} {verb}en {animal}o {size}")
    for size, animal, verb, place in itertools.product(
        ["old", "quick", "grey"], ["fox", "heron", "otter", "badger"], ["waits", "hunts", "rests"], PLACES
    )
]
VALIDATION = [("a fox hunts", "hunten foxo"), ("a heron rests", "resten herono")]
TEST = [("an otter waits by the river", "retaw ottero"), ("the badger", ""), ("grey", "grey")]


def write_lines(path, lines):
    text = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def write_split(folder, name, pairs, ending=""):
    for side, language in enumerate(("xx", "yy")):
        write_lines(folder / f"{name}.{language}{ending}", [pair[side] for pair in pairs])


@pytest.fixture
def text(tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    write_split(folder, "train", TRAIN)
    write_split(folder, "dev", VALIDATION)
    write_split(folder, "test", TEST)
    return folder


def config_for(folder, splits=None, **changes):
    plain = {
        "train": SplitConfig("files", file=f"{folder}/train"),
        "validation": SplitConfig("files", file=f"{folder}/dev"),
        "test": SplitConfig("files", file=f"{folder}/test"),
    }
    arguments = {"subwords": SubwordsConfig(vocabulary_size=300, algorithm="bpe"), **changes}
    return CorpusConfig("toy", ["xx", "yy"], "xx", "yy", {**plain, **(splits or {})}, **arguments)


def content(corpus):
    """Every array and text of a prepared corpus, as bytes."""
    return {path.name: path.read_bytes() for path in sorted(corpus.folder.iterdir()) if path.name != "manifest.json"}


def test_arrays_are_the_encoded_lines_in_order(text, tmp_path):
    corpus = prepare(config_for(text), tmp_path / "toy")
    assert corpus.test_sets == ["test"]
    assert corpus.vocabulary_size == corpus.subwords.vocabulary_size == 300
    for name, pairs in [("train", TRAIN), ("validation", VALIDATION), ("test", TEST)]:
        split = corpus.split(name)
        assert len(split) == len(pairs) == corpus.manifest["splits"][name]["pairs"]
        for side, ragged in enumerate((split.source, split.target)):
            expected = corpus.subwords.encode([pair[side] for pair in pairs])
            assert [row.tolist() for row in ragged] == expected
            assert ragged.lengths.tolist() == [len(row) for row in expected]
            assert isinstance(ragged.tokens, np.memmap)
            assert ragged.tokens.dtype == np.uint16
        assert split.source_words.tolist() == [len(source.split()) for source, _ in pairs]
        assert corpus.manifest["splits"][name]["source_tokens"] == split.source.lengths.sum()
    assert list(zip(*corpus.text("test"), strict=True)) == TEST
    with pytest.raises(UserError, match="text of train is not kept"):
        corpus.text("train")
    with pytest.raises(UserError, match=r"no split 'tests'; there are train, validation, test"):
        corpus.split("tests")


def test_sentences_in_the_configuration_are_shown_and_not_scored(text, tmp_path):
    sentences = [{"xx": "a fox waits", "yy": "waiten foxo", "zz": "foks"}, {"xx": "a badger", "yy": "badgero"}]
    splits = {"examples": SplitConfig("inline", sentences=sentences)}
    corpus = prepare(config_for(text, splits), tmp_path / "toy")
    assert corpus.test_sets == ["test"]
    assert corpus.text("examples") == (["a fox waits", "a badger"], ["waiten foxo", "badgero"])
    other = [{**sentence, "zz": "another language"} for sentence in sentences]
    splits = {"examples": SplitConfig("inline", sentences=other)}
    assert config_for(text, splits).digest() == corpus.manifest["digest"]


def test_chunks_leave_no_trace(text, tmp_path, monkeypatch):
    whole = prepare(config_for(text), tmp_path / "whole")
    monkeypatch.setattr(module, "_CHUNK_PAIRS", 7)
    assert content(prepare(config_for(text), tmp_path / "chunks")) == content(whole)


def test_only_a_line_feed_ends_a_line(text, tmp_path):
    marks = ["\u2028", "\u0085", "\x0c", "\r", "\x0b", "\x1c", "\u2029"]
    odd = [(f"one{mark}two", f"eno{mark}owt{mark}") for mark in marks] + [("last", "tsal")]
    write_split(text, "test", odd)
    write_split(text, "train", TRAIN + odd)
    corpus = prepare(config_for(text, filters=FiltersConfig(max_words=None)), tmp_path / "toy")
    assert list(zip(*corpus.text("test"), strict=True)) == [
        # A carriage return at the very end belongs to the line end.
        (source, target.removesuffix("\r"))
        for source, target in odd
    ]
    assert len(corpus.split("train")) == len(TRAIN) + len(odd)
    assert corpus.subwords.decode([corpus.split("test").target[-1].tolist()]) == ["tsal"]


def test_gzip_line_ends_and_byte_order_marks_change_nothing(text, tmp_path):
    plain = prepare(config_for(text), tmp_path / "plain")
    for path in sorted(text.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(
            gzip.compress(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
        )
        path.unlink()
    assert content(prepare(config_for(text), tmp_path / "odd")) == content(plain)


def test_a_last_line_without_its_end_counts(text, tmp_path):
    for path in text.iterdir():
        path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert len(prepare(config_for(text), tmp_path / "toy").split("test")) == len(TEST)


def test_prepared_twice_is_prepared_alike_and_the_second_call_does_nothing(text, tmp_path):
    first = prepare(config_for(text), tmp_path / "a")
    assert content(prepare(config_for(text), tmp_path / "b")) == content(first)
    before = (tmp_path / "a" / "manifest.json").stat()
    (text / "train.xx").touch()  # the same bytes
    prepare(config_for(text), tmp_path / "a")
    assert (tmp_path / "a" / "manifest.json").stat().st_ino == before.st_ino
    prepare(config_for(text), tmp_path / "a", force=True)
    assert (tmp_path / "a" / "manifest.json").stat().st_ino != before.st_ino


def test_other_text_or_configuration_is_prepared_anew(text, tmp_path):
    prepare(config_for(text), tmp_path / "toy")
    other = config_for(text, filters=FiltersConfig(max_words=8))
    shorter = prepare(other, tmp_path / "toy")
    assert shorter.manifest["splits"]["train"]["dropped"] == {"too_long": len(TRAIN) // 3}
    assert len(shorter.split("train")) == len(TRAIN) * 2 // 3
    write_split(text, "dev", VALIDATION[::-1])  # as many bytes as before
    assert prepare(other, tmp_path / "toy").text("validation")[0][0] == VALIDATION[1][0]
    for path in text.iterdir():
        path.unlink()
    prepare(other, tmp_path / "toy")  # what is prepared needs its text no longer


def break_counts(folder):
    write_lines(folder / "train.yy", [target for _, target in TRAIN] + ["one more", "and more"])


def break_encoding(folder):
    path = folder / "dev.yy"
    path.write_bytes(path.read_bytes().replace(b"herono", b"h\xe9rono"))


def break_gzip(folder):
    path = folder / "train.xx"
    whole = gzip.compress(path.read_bytes())
    path.unlink()
    (folder / "train.xx.gz").write_bytes(whole[: len(whole) // 2])


MISTAKES = {
    "missing file": (lambda folder: (folder / "test.yy").unlink(), {}, ["'test'", "test.yy (or .gz)"]),
    "line counts": (break_counts, {}, ["train.xx has 108 lines", "train.yy has 110"]),
    "encoding": (break_encoding, {}, ["dev.yy, line 2", "0xe9", "UTF-8"]),
    "truncated gzip": (break_gzip, {}, ["train.xx.gz", "cut short"]),
    "nothing left": (lambda folder: None, {"filters": FiltersConfig(max_words=2)}, ["'train'", "too_long: 108"]),
    "empty file": (lambda folder: write_split(folder, "dev", []), {}, ["'validation'", "no lines"]),
    "vocabulary": (lambda folder: None, {"subwords": SubwordsConfig(vocabulary_size=9000)}, ["9000", "at most"]),
}


@pytest.mark.parametrize(("spoil", "changes", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_leaves_what_was_there(text, tmp_path, spoil, changes, words):
    folder = tmp_path / "data" / "toy"
    earlier = content(prepare(config_for(text), folder))
    spoil(text)
    for target in (tmp_path / "data" / "new", folder):
        with pytest.raises(UserError) as caught:
            prepare(config_for(text, **changes), target, force=True)
        assert "\n" not in str(caught.value)
        assert [word for word in words if word not in str(caught.value)] == []
    visible = [path.name for path in (tmp_path / "data").iterdir() if path.suffix != ".lock"]
    assert visible == ["toy"]
    assert content(PreparedCorpus.open(folder)) == earlier


def test_a_killed_call_leaves_nothing_that_passes_for_whole(text, tmp_path):
    script = f"""
        import os, signal
        from pathlib import Path
        from lit_nmt.data import prepare as module
        from lit_nmt.data.corpora import CorpusConfig, build
        module.write_json = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # just before the manifest
        module.prepare(build(CorpusConfig, {config_for(text).as_dict()!r}, ""), Path("toy"))
    """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match="lit-nmt prepare toy"):
        PreparedCorpus.open(tmp_path / "toy")
    assert len(list(tmp_path.glob(".toy*"))) > 1
    assert len(prepare(config_for(text), tmp_path / "toy").split("train")) == len(TRAIN)
    assert [path.suffix for path in tmp_path.glob(".toy*")] == [".lock"]


def test_a_damaged_manifest_is_told_to_readers_and_replaced_by_prepare(text, tmp_path):
    prepare(config_for(text), tmp_path / "toy")
    (tmp_path / "toy" / "manifest.json").write_text('{"name": "toy"')
    with pytest.raises(UserError, match=r"manifest\.json: damaged"):
        PreparedCorpus.open(tmp_path / "toy")
    prepare(config_for(text), tmp_path / "toy")
    assert json.loads((tmp_path / "toy" / "manifest.json").read_text())["name"] == "toy"


def test_held_out_splits_are_kept_whole_and_counted(text, tmp_path):
    filters = FiltersConfig(max_words=4, drop_identical=True)
    short = [(f"{a} {b}", f"{b} {a}") for a in ["by", "the", "river", "fox", "otter"] for b in "abcdefgh"]
    write_split(text, "train", short)
    small = SubwordsConfig(vocabulary_size=280, algorithm="bpe")
    corpus = prepare(config_for(text, filters=filters, subwords=small), tmp_path / "toy")
    test = corpus.manifest["splits"]["test"]
    assert (test["pairs"], test["dropped"]) == (len(TEST), {})
    assert test["outside_filters"] == {"empty": 1, "too_long": 1, "identical": 1}
    assert corpus.split("test").target[1].tolist() == []


sentences = st.lists(st.sampled_from(["ox", "yak", "gnu"]), max_size=6).map(" ".join)
pairs_of_text = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=25)


@given(
    pairs_of_text,
    st.builds(
        FiltersConfig,
        min_words=st.integers(0, 3),
        max_words=st.none() | st.integers(1, 6),
        max_length_ratio=st.none() | st.floats(1, 4),
        drop_duplicates=st.booleans(),
        drop_identical=st.booleans(),
        drop_held_out=st.booleans(),
    ),
)
@settings(max_examples=80, deadline=None)
def test_filters_keep_what_a_plain_loop_keeps(pairs, filters):
    held_out = [("ox yak", "anything"), ("gnu", "other")]
    expected, seen = [], set()
    for row, (source, target) in enumerate(pairs):
        counts = sorted((len(source.split()), len(target.split())))
        fails = (
            counts[0] == 0
            or counts[0] < filters.min_words
            or (filters.max_words is not None and counts[1] > filters.max_words)
            or (filters.max_length_ratio is not None and counts[1] > filters.max_length_ratio * counts[0])
            or (filters.drop_identical and source == target)
            or (filters.drop_held_out and source in [held for held, _ in held_out])
            or (filters.drop_duplicates and (source, target) in seen)
        )
        if not fails:
            seen.add((source, target))
            expected.append(row)
    config = config_for("unused", filters=filters)
    texts = {"train": scan(pairs), "validation": scan(held_out), "test": scan(held_out)}
    if not expected:
        with pytest.raises(UserError, match="nothing is left of split 'train'"):
            select(config, texts)
        return
    selected = select(config, texts)["train"]
    assert selected.rows.tolist() == expected
    assert sum(selected.dropped.values()) == len(pairs) - len(expected)


def test_a_smaller_subset_lies_within_a_larger_one_wherever_the_lines_stand(text, tmp_path):
    shuffled = random.Random(5).sample(TRAIN, len(TRAIN))

    def subset(pairs, limit):
        digests = scan(pairs).pair_digests
        return {pairs[row] for row in smallest(digests, np.arange(len(pairs)), limit)}

    assert subset(TRAIN, 10) < subset(TRAIN, 30) < subset(TRAIN, 90)
    assert subset(TRAIN, 30) == subset(shuffled, 30)
    limited = config_for(text, {"train": SplitConfig("files", file=f"{text}/train", limit=60)})
    corpus = prepare(limited, tmp_path / "toy")
    assert len(corpus.split("train")) == 60
    assert corpus.manifest["splits"]["train"]["dropped"] == {"limit": len(TRAIN) - 60}
    decoded = [
        corpus.subwords.decode([side[row].tolist() for row in range(60)])
        for side in (corpus.split("train").source, corpus.split("train").target)
    ]
    assert set(zip(*decoded, strict=True)) == subset(TRAIN, 60)


def test_held_out_pairs_are_the_same_everywhere_and_never_in_train(text, tmp_path):
    bins = [[1, 8], [9, 20]]
    splits = {
        "validation": SplitConfig("holdout", of="train", pairs=9, bins=bins),
        "test": SplitConfig("holdout", of="train", pairs=8),
    }
    # One source with several translations is held out with all of them, or not at all.
    pairs = TRAIN + [(source, f"{target} too") for source, target in TRAIN]
    taken, references = [], []
    for seed in range(2):
        write_split(text, "train", random.Random(seed).sample(pairs, len(pairs)))
        corpus = prepare(config_for(text, splits), tmp_path / f"toy{seed}")
        sources = {name: corpus.text(name)[0] for name in ("validation", "test")}
        taken.append({name: set(lines) for name, lines in sources.items()})
        references.append({name: sorted(corpus.text(name)[1]) for name in sources})
        assert [len(lines) for lines in sources.values()] == [9, 8]
        assert not taken[-1]["validation"] & taken[-1]["test"]
        words = corpus.split("validation").source_words
        assert [int(((words >= low) & (words <= high)).sum()) for low, high in bins] == [5, 4]
        train = corpus.split("train")
        in_train = set(corpus.subwords.decode([row.tolist() for row in train.source]))
        assert not in_train & (taken[-1]["validation"] | taken[-1]["test"])
        assert len(train) == len(pairs) - 2 * (9 + 8)
        assert corpus.manifest["splits"]["train"]["dropped"] == {"held_out": 2 * (9 + 8)}
    assert taken[0] == taken[1]
    assert references[0] == references[1]


def test_holding_out_more_than_there_is_names_the_range():
    text = scan(TRAIN)
    with pytest.raises(UserError, match=r"here: 2 different source sentences of 50-60 words wanted, 0 found"):
        hold_out(text, np.ones(len(text), bool), 4, [[1, 20], [50, 60]], "here")


def test_a_scan_counts_words_and_tells_sentences_apart():
    text = scan([("a  b", "c"), ("a b", "c"), ("", "")])
    assert text.source_words.tolist() == [2, 2, 0]
    assert text.target_words.tolist() == [1, 1, 0]
    assert text.source_digests[0] == text.source_digests[1] != text.source_digests[2]
    assert text.pair_digests[0] != text.pair_digests[1]
    assert failing_filter(text, FiltersConfig()).tolist() == [0, 0, 1]
