"""The corpus that asks to recall a word: what it says, how long, and that BLEU counts it."""

import numpy as np
import pytest

from lit_nmt.data.corpora import load_corpus_config
from lit_nmt.data.prepare import prepare
from lit_nmt.data.recall import COLOURS, THINGS, generate
from lit_nmt.errors import UserError
from lit_nmt.metrics import Scorer, corpus_bleu, is_exact

BINS = [[3, 5], [20, 40]]


def test_the_target_names_the_first_word_and_the_others_mean_nothing():
    pairs = generate(1, "test", 400, BINS)
    for source, target in pairs:
        first, *things, end = source.split()
        assert target == f"the first was {first}"
        assert end == "?"
        assert first in COLOURS
        assert set(things) <= set(THINGS)
    assert {source.split()[0] for source, _ in pairs} == set(COLOURS)
    assert {word for source, _ in pairs for word in source.split()[1:-1]} == set(THINGS)
    assert not set(COLOURS) & set(THINGS)


def test_delays_are_spread_evenly_over_ranges_and_within_them():
    words = np.array([len(source.split()) for source, _ in generate(1, "test", 3000, BINS)])
    assert set(words) == {3, 4, 5, *range(20, 41)}
    assert np.mean(words <= 5) == pytest.approx(0.5, abs=0.03)
    assert np.mean(words[words <= 5] == 3) == pytest.approx(1 / 3, abs=0.04)


def test_more_pairs_begin_with_the_same_and_other_splits_and_seeds_are_others():
    few = generate(1, "test", 50, BINS)
    assert generate(1, "test", 90, BINS)[:50] == few
    for other in (generate(2, "test", 50, BINS), generate(1, "train", 50, BINS)):
        assert len(set(other) & set(few)) < 5


def test_a_range_that_cannot_be_met_is_refused():
    for bins in ([[2, 5]], [[9, 4]], [[5, 2000]], [[5]]):
        with pytest.raises(UserError, match=r"recall corpus: lengths has .* expected"):
            generate(1, "test", 5, bins)


def test_a_word_is_a_piece_and_no_tested_sentence_is_trained_on(tmp_path):
    splits = {"train": {"pairs": 3000, "bins": [[3, 30]]}, "test": {"pairs": 300, "bins": [[3, 30]]}}
    corpus = prepare(load_corpus_config("recall", {"splits": splits}), tmp_path / "recall")
    for name in ("train", "test"):
        split = corpus.split(name)
        assert (split.source.lengths == split.source_words).all()
        assert (split.target.lengths == 4).all()
    rows = [{tuple(split.source[row]) for row in range(len(split))} for split in map(corpus.split, ("train", "test"))]
    assert not rows[0] & rows[1]
    assert corpus.manifest["splits"]["train"]["dropped"]["held_out"] > 0


def test_bleu_rises_with_the_share_that_is_right_which_its_counts_tell():
    references = [target for _, target in generate(1, "test", 60, BINS)]
    scores = []
    for right in (10, 30, 50, 60):
        said = [*references[:right], *("the first was apple" for _ in references[right:])]
        counts = Scorer(references).statistics(said)
        assert is_exact(counts).sum() == right
        scores.append(corpus_bleu(counts, "mixed"))
    assert scores == sorted(scores)
    assert scores[-1] == pytest.approx(100)
    for almost in ("the first was", "was the first red", "the first was red red", ""):
        assert not is_exact(Scorer(["the first was red"]).statistics([almost])).any()
