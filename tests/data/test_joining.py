"""Joined sentences: each once a round, each number of them equally often, and never in both training and test."""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_nmt.data import sources
from lit_nmt.data.corpora import CorpusConfig, SplitConfig, SubwordsConfig, load_corpus_config
from lit_nmt.data.joining import join
from lit_nmt.data.prepare import prepare
from lit_nmt.data.selection import scan
from lit_nmt.errors import UserError

ANIMALS = ["fox", "heron", "otter", "badger", "lynx", "crane", "toad"]
PLACES = ["by the river", "under a hedge", "in long wet grass", "on the old wall"]


def sentences(count: int, start: int = 0) -> list[tuple[str, str]]:
    """Different sentences that end with a stop, so that joined ones can be taken apart again."""
    made = []
    for number in range(start, start + count):
        animal, place = ANIMALS[number % 7], PLACES[number % 4]
        made.append((f"{animal} {number} waits {place} .", f"{place} waits {number} {animal}o ."))
    return made


def apart(pair: tuple[str, str]) -> list[tuple[str, str]]:
    """The sentences of a joined pair."""
    sides = [[f"{piece.strip()} ." for piece in side.split(".") if piece.strip()] for side in pair]
    return list(zip(*sides, strict=True))


@given(st.integers(1, 6), st.integers(0, 60))
def test_a_round_takes_every_sentence_once_and_each_number_equally_often(most: int, more: int) -> None:
    turn = most * (most + 1) // 2
    text = sentences(turn + more)
    joined = join(text, most)
    taken = [sentence for pair in joined for sentence in apart(pair)]
    assert Counter(Counter(len(apart(pair)) for pair in joined).values()) == {len(text) // turn: most}
    assert len(set(taken)) == len(taken) == len(text) - len(text) % turn
    assert set(taken) <= set(text)
    assert joined.dropped == ({"left_over": len(text) % turn} if len(text) % turn else {})


@given(st.integers(1, 5), st.integers(0, 300))
def test_each_number_of_sentences_is_as_much_text(most: int, more: int) -> None:
    turn = most * math.lcm(*range(1, most + 1))
    text = sentences(turn + more)
    joined = join(text, most, equally_many="sentences")
    taken = Counter(len(apart(pair)) for pair in joined for _ in apart(pair))
    assert taken == {count: len(text) // turn * turn // most for count in range(1, most + 1)}
    assert joined.dropped == ({"left_over": len(text) % turn} if len(text) % turn else {})


def test_the_pairs_of_each_number_share_no_sentence() -> None:
    """So a bootstrap over pairs draws every sentence with one pair alone, whatever test sets are pooled."""
    text = sentences(100)
    whole = join(text, 4)
    by_number = [join(text, 4, only=count) for count in (1, 2, 3, 4)]
    assert [{len(apart(pair)) for pair in part} for part in by_number] == [{1}, {2}, {3}, {4}]
    assert [len(list(part)) for part in by_number] == [10, 10, 10, 10]
    assert sorted(pair for part in by_number for pair in part) == sorted(whole)
    taken = [sentence for part in by_number for pair in part for sentence in apart(pair)]
    assert max(Counter(taken).values()) == 1


def test_further_rounds_join_the_same_sentences_otherwise() -> None:
    text = sentences(90)
    once, more = list(join(text, 5)), list(join(text, 5, pairs=75))
    assert len(once) == 30
    assert more[:30] == once
    assert len(more) == 75
    times = Counter(sentence for pair in more[:60] for sentence in apart(pair))
    assert set(times.values()) == {2}
    neighbours = [
        {both for pair in part for both in zip(apart(pair), apart(pair)[1:], strict=False)}
        for part in (more[:30], more[30:60])
    ]
    assert len(neighbours[0] & neighbours[1]) < 6


def test_the_order_of_the_lines_decides_nothing() -> None:
    text = sentences(60)
    again = [(source, f"{target} too") for source, target in text]  # another translation of each
    shuffled = random.Random(1).sample(text + again, 120)
    assert join(text + again, 3).pairs == join(shuffled, 3).pairs
    assert join(text + again, 3).dropped["duplicate"] == 60
    assert join(text, 3).pairs != join([(source, f"{target} !") for source, target in text], 3).pairs


def test_empty_and_held_out_sentences_are_left_out_and_too_few_are_told() -> None:
    text = [*sentences(20), ("", "nothing"), ("nothing", " ")]
    held_out = [scan(sentences(5)).source_digests]
    joined = join(text, 2, held_out=held_out)
    assert joined.dropped == {"empty": 2, "held_out": 5}
    assert not {s for pair in joined for s in apart(pair)} & set(sentences(5))
    with pytest.raises(UserError, match="here: 20 different source sentences found, at least 21 expected"):
        join(text, 6, where="here")


# ------------------------------------------------------------------------------------------- in a corpus

JOINED: dict[str, Any] = {
    "train": SplitConfig("joined", parts=["learned"], most=3, pairs=80),
    "validation": SplitConfig("joined", parts=["checked"], most=3),
    "two": SplitConfig("joined", parts=["asked", "tried"], most=3, only=2),
    "three": SplitConfig("joined", parts=["asked", "tried"], most=3, only=3),
}
TEXTS = {
    # sentences of training that are asked, checked or shown too
    "learned": sentences(130),
    "checked": sentences(30, 128),
    "asked": sentences(20, 118),
    "tried": sentences(10, 300),
}


def config(folder: Path, **changes: SplitConfig) -> CorpusConfig:
    for name, pairs in TEXTS.items():
        for side, language in enumerate(("xx", "yy")):
            path = folder / f"{name}.{language}"
            path.write_text("".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8")
    splits = {name: SplitConfig("files", file=f"{folder}/{name}") for name in TEXTS}
    shown = SplitConfig("inline", sentences=[dict(zip(("xx", "yy"), TEXTS["learned"][0], strict=True))])
    subwords = SubwordsConfig(vocabulary_size=320, algorithm="bpe")
    return CorpusConfig(
        "toy", ["xx", "yy"], "xx", "yy", {**splits, **JOINED, "examples": shown, **changes}, subwords=subwords
    )


def test_a_joined_corpus_is_prepared_without_its_parts(tmp_path: Path) -> None:
    corpus = prepare(config(tmp_path), tmp_path / "toy")
    splits = corpus.manifest["splits"]
    assert list(splits) == ["train", "validation", "two", "three", "examples"]
    assert corpus.test_sets == config(tmp_path).test_sets == ["two", "three"]
    assert [splits[name]["pairs"] for name in ("train", "two", "three")] == [80, 5, 5]
    assert splits["train"]["joined"] == {"sentences": 130, "dropped": {"held_out": 13, "left_over": 3}}
    assert set(corpus.manifest["inputs"]) == set(TEXTS)
    asked = {sentence for name in ("two", "three") for pair in zip(*corpus.text(name), strict=True)
             for sentence in apart(pair)}  # fmt: skip
    assert asked <= {*TEXTS["asked"], *TEXTS["tried"]}
    train = corpus.split("train")
    sides = [corpus.subwords.decode([row.tolist() for row in side]) for side in (train.source, train.target)]
    learned = {sentence for pair in zip(*sides, strict=True) for sentence in apart(pair)}
    assert len(learned) >= 114
    others = {*TEXTS["asked"], *TEXTS["tried"], *TEXTS["checked"], TEXTS["learned"][0]}
    assert not learned & others


def test_a_part_that_changed_is_noticed(tmp_path: Path) -> None:
    first = prepare(config(tmp_path), tmp_path / "toy").manifest
    again = prepare(config(tmp_path), tmp_path / "toy").manifest
    assert again == first
    made = config(tmp_path)
    with open(tmp_path / "tried.xx", "a", encoding="utf-8") as x, open(tmp_path / "tried.yy", "a") as y:
        x.write("lynx 999 waits .\n")
        y.write("waits 999 lynxo .\n")
    changed = prepare(made, tmp_path / "toy").manifest
    assert changed["splits"]["two"]["joined"]["sentences"] == 31


def test_training_on_what_is_asked_leaves_nothing(tmp_path: Path) -> None:
    shared = config(tmp_path, train=SplitConfig("joined", parts=["asked"], most=3))
    with pytest.raises(UserError, match=r"toy\.splits\.train: 0 different source sentences"):
        sources.locate(shared, "train")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"two": SplitConfig("joined", parts=["asked"])}, ["two.most", "missing"]),
        ({"two": SplitConfig("joined", most=3)}, ["two.parts", "missing"]),
        ({"two": SplitConfig("joined", parts=["nowhere"], most=3)}, ["two.parts", "'nowhere'"]),
        ({"two": SplitConfig("joined", parts=["three"], most=3)}, ["two.parts", "'three'"]),
        ({"two": SplitConfig("joined", parts=["train"], most=3)}, ["two.parts", "'train'"]),
        ({"two": SplitConfig("joined", parts=["asked"], most=3, only=4)}, ["two.only", "4 found, at most 3"]),
        ({"two": SplitConfig("joined", parts=["asked"], most=3, only=0)}, ["two.only", "at least 1"]),
        ({"two": SplitConfig("files", most=3)}, ["two.most", "means nothing to kind 'files'"]),
        ({"more": SplitConfig("holdout", of="asked", pairs=3)}, ["more.of", "'asked'"]),
        ({"more": SplitConfig("holdout", of="train", pairs=3)}, ["more.of", "'train'"]),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, changes: dict[str, SplitConfig], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        config(tmp_path, **changes)
    assert [word for word in words if word not in str(caught.value)] == []


def test_the_joined_captions_are_those_of_multi30k() -> None:
    plain, joined = load_corpus_config("multi30k-en-de"), load_corpus_config("multi30k-joined-en-de")
    renamed = {"train": "train_captions", "validation": "validation_captions"}
    for name in ("train", "validation", *plain.test_sets):
        assert joined.splits[renamed.get(name, name)] == plain.splits[name]
    assert joined.parts == {*renamed.values(), *plain.test_sets}
    assert [joined.splits[name].only for name in joined.test_sets] == [1, 2, 3, 4, 5]
    assert len({tuple(joined.splits[name].parts or []) for name in joined.test_sets}) == 1
    assert joined.mirror == plain.mirror
    assert np.unique([split.most or 5 for split in joined.splits.values()]).tolist() == [5]
