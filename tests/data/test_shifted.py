"""Shifted sentences: the same but for a longer first name, and translated as the grammar translates them."""

from __future__ import annotations

import pytest
from data.test_synthetic import Translator

from lit_nmt.data import shifted, sources, synthetic
from lit_nmt.data import synthetic_lexicon as lexicon
from lit_nmt.data.corpora import CorpusConfig, SplitConfig
from lit_nmt.errors import UserError

SHORT = [(5, 14)]


@pytest.fixture(scope="module")
def sets() -> dict[int, list[tuple[str, str]]]:
    return {shift: shifted.generate(3, 60, shift, SHORT) for shift in (0, 1, 2)}


def test_sentences_begin_with_a_name_and_are_translated_as_the_grammar_does(sets) -> None:
    for pairs in sets.values():
        assert len(set(pairs)) == 60
        for source, target in pairs:
            assert source.split()[0].lower() not in lexicon.GLOSSES
            assert Translator(source).translate() == target


def syllables(name: str) -> int:
    return sum(letter in "aeiou" for letter in name.lower())


def test_every_shift_lengthens_the_first_name_by_one_and_changes_nothing_else(sets) -> None:
    for shift in (1, 2):
        for (source, target), (longer, said) in zip(sets[shift - 1], sets[shift], strict=True):
            (name, *rest), (long_name, *same) = source.split(), longer.split()
            assert rest == same
            assert long_name.endswith(name.lower())
            assert 2 <= syllables(long_name) - syllables(name) <= 4
            (pair,) = [(a, b) for a, b in zip(target.split(), said.split(), strict=True) if a != b]
            assert pair[1].endswith(pair[0].lower())


def test_no_shifted_sentence_is_trained_on(sets) -> None:
    trained = {side for pair in synthetic.generate(3, "train", 4000, SHORT) for side in pair}
    assert not any(side in trained for pairs in sets.values() for pair in pairs for side in pair)


def test_more_pairs_begin_with_the_same_ones(sets) -> None:
    assert shifted.generate(3, 25, 1, SHORT) == sets[1][:25]
    assert shifted.generate(4, 25, 1, SHORT) != sets[1][:25]
    assert shifted.generate(3, 0, 1, SHORT) == []


def test_a_corpus_may_have_shifted_test_sets(sets) -> None:
    def config(**keys: int) -> CorpusConfig:
        split = SplitConfig("shifted", pairs=20, seed=3, bins=[[5, 14]], **keys)
        splits = {"train": SplitConfig("synthetic", pairs=7), "validation": SplitConfig("synthetic", pairs=2)}
        return CorpusConfig("toy", ["qta", "qor"], "qta", "qor", {**splits, "moved": split})

    for shift in (0, 2):
        assert list(sources.locate(config(shift=shift), "moved")) == sets[shift][:20]
    assert config(shift=1).digest() != config(shift=2).digest()
    with pytest.raises(UserError, match=r"splits\.moved\.shift: -1 found, at least 0 expected"):
        config(shift=-1)
    with pytest.raises(UserError, match=r"splits\.test\.shift: means nothing to kind 'synthetic'"):
        SplitConfig("synthetic", pairs=3, shift=1).check("corpus toy.splits.test")
