"""Subword models: nothing is lost, special ids stand where they should, the vocabulary fits the text."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_nmt.data.corpora import SubwordsConfig
from lit_nmt.data.subwords import BOS, EOS, PAD, UNKNOWN, Subwords, train_subwords
from lit_nmt.errors import UserError

ANIMALS = ["fox", "heron", "otter", "badger", "swallow", "hedgehog"]
SENTENCES = [
    f"the {adjective} {animal} {verb} {place}"
    for adjective, animal, verb, place in itertools.product(
        ["old", "quick", "grey", "sleepy"],
        ANIMALS,
        ["waits", "hunts", "rests"],
        ["by the river", "under a hedge", "in the long grass"],
    )
]
CONFIG = SubwordsConfig(vocabulary_size=290, normalization="identity")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("subwords") / "subwords.model"
    train_subwords(SENTENCES, CONFIG, path)
    return Subwords.load(path)


def test_special_ids_and_size(trained):
    assert (PAD, UNKNOWN, BOS, EOS) == (0, 1, 2, 3)
    assert trained.vocabulary_size == 290
    assert trained.pieces([PAD, UNKNOWN, BOS, EOS]) == ["<pad>", "<unk>", "<s>", "</s>"]


words = st.text(st.characters(blacklist_categories=["Z", "C"]), min_size=1)


@given(st.lists(st.lists(words).map(" ".join), max_size=5))
@settings(max_examples=100, deadline=None)
def test_any_text_comes_back_and_nothing_is_unknown(trained, sentences):
    encoded = trained.encode(sentences)
    assert all(EOS < token < trained.vocabulary_size for row in encoded for token in row)
    # The mark that SentencePiece itself writes for a space cannot be told from one.
    assert trained.decode(encoded) == [sentence.replace("\u2581", " ").strip() for sentence in sentences]


@given(st.lists(st.integers(0, CONFIG.vocabulary_size - 1)))
@settings(max_examples=100, deadline=None)
def test_whatever_a_model_says_is_one_line(trained, row):
    (text,) = trained.decode([row])
    assert "\n" not in text


def test_special_ids_say_nothing(trained):
    row = trained.encode(["the old fox rests"])[0]
    assert trained.decode([[BOS, *row, EOS, PAD, PAD], []]) == ["the old fox rests", ""]


@pytest.mark.parametrize("algorithm", ["unigram", "bpe"])
def test_the_same_text_gives_the_same_model(tmp_path, algorithm):
    config = SubwordsConfig(vocabulary_size=290, algorithm=algorithm)
    for name in ("a", "b"):
        train_subwords(iter(SENTENCES), config, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_characters_that_look_like_line_ends_stay_within_their_sentence(tmp_path):
    odd = [f"{first}{mark}{second}" for mark in "\u2028\u0085\x0c\r\x0b" for first, second in [("ox", "yak")]]
    subwords = train_subwords(SENTENCES + odd * 20, CONFIG, tmp_path / "model")
    assert [len(text.split("\n")) for text in subwords.decode(subwords.encode(odd))] == [1] * len(odd)
    assert all("ox" in text and "yak" in text for text in subwords.decode(subwords.encode(odd)))


@pytest.mark.parametrize("algorithm", ["unigram", "bpe"])
def test_a_vocabulary_larger_than_the_text_supports_is_refused_with_the_largest(tmp_path, algorithm):
    with pytest.raises(UserError, match=r"5000 is more than the text supports; at most (\d+) ") as caught:
        train_subwords(SENTENCES, SubwordsConfig(5000, algorithm), tmp_path / "model")
    assert not (tmp_path / "model").exists()
    largest = int(str(caught.value).split("at most ")[1].split()[0])
    assert train_subwords(SENTENCES, SubwordsConfig(largest, algorithm), tmp_path / "model").vocabulary_size == largest
    with pytest.raises(UserError, match="at most"):
        train_subwords(SENTENCES, SubwordsConfig(largest + 1, algorithm), tmp_path / "model")


def test_a_vocabulary_too_small_for_the_characters_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"270 is too small .* more than \d+ expected"):
        train_subwords(SENTENCES, SubwordsConfig(270), tmp_path / "model")


def test_a_missing_or_damaged_model_is_told(tmp_path):
    with pytest.raises(UserError, match="no subword model"):
        Subwords.load(tmp_path / "absent.model")
    (tmp_path / "damaged.model").write_bytes(b"no model at all")
    with pytest.raises(UserError, match="not a SentencePiece model"):
        Subwords.load(tmp_path / "damaged.model")
