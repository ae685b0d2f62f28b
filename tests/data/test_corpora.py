"""Corpus configurations: names, directions, overrides, and what is refused in one line."""

import copy
import dataclasses
from pathlib import Path

import jsonargparse
import pytest
import yaml

from lit_nmt.data.corpora import CORPORA, CorpusConfig, build, load_corpus_config
from lit_nmt.errors import UserError

SHIPPED = sorted(CORPORA.glob("*.yaml"))


def as_yaml(**changes):
    corpus = {
        "name": "toy-xx-yy",
        "languages": ["xx", "yy"],
        "source": "xx",
        "target": "yy",
        "splits": {"train": {"kind": "files"}, "validation": {"kind": "files", "file": "dev"}},
    }
    return {"data": {"corpus": {**corpus, **changes}}}


@pytest.fixture
def write(tmp_path):
    def write_corpus(**changes):
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump(as_yaml(**changes)))
        return str(path)

    return write_corpus


def test_the_corpora_of_the_readme_are_shipped():
    expected = {"synthetic", "multi30k", "europarl-en-fr", "iwslt14-de-en", "wmt14-en-fr", "wmt14-en-de"}
    assert expected <= {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_corpus_reads_the_same_by_name_and_by_lightning(path):
    config = load_corpus_config(path.stem)
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--data.corpus", type=CorpusConfig)
    parsed = parser.instantiate(parser.parse_path(path)).data.corpus
    assert dataclasses.replace(parsed, folder=parsed.mirror) == config
    assert build(CorpusConfig, config.as_dict(), "again") == config
    assert config.test_sets


def test_every_direction_of_a_corpus_of_three_languages_has_a_name():
    digests = set()
    for source, target in [("en", "de"), ("de", "en"), ("en", "fr"), ("fr", "en"), ("de", "fr"), ("fr", "de")]:
        config = load_corpus_config(f"multi30k-{source}-{target}")
        assert (config.name, config.source, config.target) == (f"multi30k-{source}-{target}", source, target)
        assert config.mirror == "multi30k"
        digests.add(config.digest())
    assert len(digests) == 6


def test_overrides_replace_single_keys_and_a_new_kind_replaces_its_split():
    config = load_corpus_config(
        "multi30k-de-en",
        {
            "name": "multi30k-de-en-3k",
            "filters": {"max_words": 30},
            "splits": {"train": {"limit": 3000}, "validation": {"kind": "holdout", "of": "train", "pairs": 100}},
        },
    )
    base = load_corpus_config("multi30k-de-en")
    assert config.name == "multi30k-de-en-3k"
    assert config.filters.max_words == 30
    assert config.filters.drop_duplicates == base.filters.drop_duplicates
    assert config.splits["train"].limit == 3000
    assert config.splits["train"].sha256 == base.splits["train"].sha256
    assert config.splits["validation"].address == ""
    assert config.mirror == base.mirror


def test_the_digest_is_of_the_text_and_not_of_where_it_lies(write):
    plain = load_corpus_config(write())
    moved = load_corpus_config(write(folder="elsewhere", obtain="ask for it"))
    in_place = load_corpus_config(write(splits={**plain_splits(), "train": {"kind": "files", "file": "/a/train"}}))
    elsewhere = load_corpus_config(write(splits={**plain_splits(), "train": {"kind": "files", "file": "/b/train"}}))
    assert plain.digest() == moved.digest()
    assert in_place.digest() == elsewhere.digest()
    changed = [
        {"filters": {"max_words": 30}},
        {"subwords": {"vocabulary_size": 500}},
        {"splits": {"train": {"limit": 5}}},
        {"splits": {"validation": {"file": "other"}}},
        {"source": "yy", "target": "xx"},
    ]
    digests = [load_corpus_config(write(), overrides).digest() for overrides in changed]
    assert len({plain.digest(), *digests}) == len(changed) + 1


def plain_splits():
    return copy.deepcopy(as_yaml()["data"]["corpus"]["splits"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"langauges": ["xx"]}, ["data.corpus", 'unknown key "langauges"', "languages"]),
        ({"filters": {"max_word": 3}}, ["filters", 'unknown key "max_word"', "max_words"]),
        ({"splits": {"train": {"file_name": "x"}}}, ["splits.train", 'unknown key "file_name"']),
        ({"filters": {"max_words": "many"}}, ["filters: max_words", "'many'", "number"]),
        ({"filters": {"max_words": True}}, ["filters: max_words", "True", "number"]),
        ({"filters": [3]}, ["filters", "a list"]),
        ({"subwords": {"algorithm": "words"}}, ["subwords: algorithm", "'words'", "unigram", "bpe"]),
        ({"splits": {"train": {"kind": "tape"}}}, ["splits.train: kind", "'tape'", "download"]),
        ({"splits": {"train": {"pairs": 3}}}, ["splits.train.pairs", "'files'"]),
        ({"splits": {"train": {"kind": "synthetic"}}}, ["splits.train.pairs", "missing"]),
        ({"splits": {"train": {"limit": 0}}}, ["splits.train.limit", "at least 1"]),
        ({"splits": {"test": {"kind": "holdout", "of": "tain", "pairs": 3}}}, ["splits.test.of", "'tain'"]),
        ({"splits": {"train": {"kind": "holdout", "of": "validation", "pairs": 3}}}, ["splits.train.kind", "holdout"]),
        (
            {"splits": {"test": {"kind": "holdout", "of": "train", "pairs": 3, "bins": [[5, 10], [8, 14]]}}},
            ["splits.test.bins", "ends at 10", "begins at 8"],
        ),
        (
            {"splits": {"test": {"kind": "holdout", "of": "train", "pairs": 3, "bins": [[9, 1]]}}},
            ["splits.test.bins", "[9, 1]"],
        ),
        (
            {"splits": {"train": {"kind": "download", "address": "http://a/{language}", "sha256": {"xx": 64 * "0"}}}},
            ["splits.train.sha256", "'yy'"],
        ),
        ({"splits": {"examples": {"kind": "inline"}}}, ["splits.examples.sentences", "missing"]),
        (
            {"splits": {"examples": {"kind": "inline", "sentences": [{"xx": "a"}]}}},
            ["splits.examples.sentences[0]", "'yy'"],
        ),
        ({"splits": {"examples": {"kind": "files"}}}, ["splits.examples.kind", "'inline' expected"]),
        ({"splits": []}, ["splits"]),
        ({"target": "zz"}, ["'zz'", "xx, yy"]),
        ({"target": "xx"}, ["both", "'xx'"]),
        ({"name": "a/b"}, ["'a/b'"]),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_place(write, overrides, words):
    with pytest.raises(UserError) as caught:
        load_corpus_config(write(), overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


def test_required_keys_and_splits_are_asked_for(write):
    with pytest.raises(UserError, match="no 'validation'"):
        load_corpus_config(write(splits={"train": {"kind": "files"}}))
    path = Path(write())
    content = as_yaml()
    del content["data"]["corpus"]["source"]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=r'data\.corpus: the key "source" is missing'):
        load_corpus_config(str(path))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("multi30k-en-cs", ["'cs'", "de, en, fr"]),
        ("nowhere-en-de", ["'nowhere-en-de'", "synthetic", "multi30k"]),
        ("absent.yaml", ["absent.yaml", "no such file"]),
    ],
)
def test_a_corpus_or_a_pair_that_is_not_there_is_told_with_what_is(name, words):
    with pytest.raises(UserError) as caught:
        load_corpus_config(name)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("text", ["a: [", "just words", "model: {}", "data: {corpus: 3}", ""])
def test_a_file_that_is_no_corpus_is_told(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"odd\.yaml") as caught:
        load_corpus_config(str(path))
    assert "\n" not in str(caught.value)
