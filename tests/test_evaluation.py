"""Bins, score tables and comparisons from counts per sentence."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from lit_nmt.errors import UserError
from lit_nmt.evaluation import (
    NESTED,
    OVER_SEEDS,
    PAIRED_BOOTSTRAP,
    ComparisonRow,
    ScoreRow,
    cells,
    choose_bins,
    comparison_table,
    score_table,
)
from lit_nmt.intervals import t_interval
from lit_nmt.metrics import STATISTICS, Scorer

WORDS = ["Wheel", "mill", "stone", "river", "grain", "Flour", "night", "sacks", "donkey", "road", "bridge"]
BINS = [(5, 10), (11, 15), (16, 20)]
ERRORS = {"good": 0.1, "middling": 0.3, "poor": 0.5}


def translate(references, error_rate, generator):
    return [
        " ".join(word if generator.random() > error_rate else generator.choice(WORDS) for word in line.split())
        for line in references
    ]


@pytest.fixture(scope="module")
def translations():
    """{(test set, model, seed): (references, hypotheses)} and the sentence table made from them."""
    generator = np.random.default_rng(7)
    texts, parts = {}, []
    for test_set, size in (("market", 420), ("harbour", 180)):
        references = [" ".join(generator.choice(WORDS, size=n)) for n in generator.integers(3, 21, size=size)]
        words = [len(line.split()) for line in references]
        for model, rate in ERRORS.items():
            for seed in (1, 2, 3):
                hypotheses = translate(references, rate + 0.02 * seed, generator)
                texts[test_set, model, seed] = (references, hypotheses)
                columns = {"id": range(size), "source_words": words, "score": -1.0}
                table = pd.DataFrame(Scorer(references).statistics(hypotheses), columns=list(STATISTICS))
                parts.append(
                    table.assign(
                        corpus="town-en-de",
                        model=model,
                        seed=seed,
                        test_set=test_set,
                        decoding="beam5",
                        **columns,
                    )
                )
    # the order of rows must not matter
    return texts, pd.concat(parts).sample(frac=1, random_state=0, ignore_index=True)


@pytest.fixture(scope="module")
def scores(translations):
    return score_table(translations[1], BINS, study="trial", pooled=True)


@pytest.fixture(scope="module")
def comparisons(translations):
    return comparison_table(translations[1], [("good", "poor")], BINS, study="trial", pooled=True)


# --------------------------------------------------------------------------------------------------- bins


@given(
    st.lists(st.integers(0, 70), min_size=0, max_size=200),
    st.lists(st.integers(1, 12), min_size=1, max_size=8),
    st.integers(1, 60),
)
def test_bins_merge_until_each_is_large_enough_and_lose_no_sentence(words, widths, minimum):
    edges = np.cumsum([5, *widths])
    bins = [(int(low), int(high) - 1) for low, high in pairwise(edges)]
    words = np.array(words, dtype=int)
    merged = choose_bins(words, bins, minimum)
    sizes = [int(((words >= low) & (words <= high)).sum()) for low, high in merged]
    assert sum(sizes) == int(((words >= 5) & (words <= bins[-1][1])).sum())
    assert len(merged) <= 1 or min(sizes) >= minimum
    assert all(low <= high for low, high in merged)
    # each edge of a merged bin is an edge that was asked for
    assert {low for low, _ in merged} <= {low for low, _ in bins}
    assert {high for _, high in merged} <= {high for _, high in bins}


def test_a_small_bin_joins_its_smaller_neighbour():
    words = np.repeat([7, 13, 18, 30], [300, 120, 150, 40])
    assert choose_bins(words, [(5, 10), (11, 15), (16, 20), (21, 60)]) == [(5, 10), (11, 15), (16, 60)]
    assert choose_bins(words, [(5, 10), (11, 20), (21, 60)], minimum=280) == [(5, 10), (11, 60)]
    assert choose_bins(words, [(61, 70)]) == []


def test_overlapping_bins_are_refused():
    with pytest.raises(UserError, match="ascending"):
        choose_bins(np.array([6]), [(5, 10), (10, 15)])


# ------------------------------------------------------------------------------------------------- scores


def test_scores_are_sacrebleus_on_the_sentences_of_each_bin(translations, scores):
    texts, _ = translations
    assert list(scores.columns) == list(ScoreRow._fields)
    for low, high, label in ((0, 99, "all"), (5, 10, "5-10")):
        references, hypotheses = texts["market", "middling", 2]
        kept = [place for place, line in enumerate(references) if low <= len(line.split()) <= high]
        inside = [[side[place] for place in kept] for side in (hypotheses, references)]
        for case in ("mixed", "lc"):
            metric = BLEU(lowercase=case == "lc")
            expected = metric.corpus_score(inside[0], [inside[1]], n_bootstrap=1000)
            (row,) = scores[
                (scores.test_set == "market")
                & (scores.model == "middling")
                & (scores.seed == "2")
                & (scores.bin == label)
                & scores.signature.str.contains(f"case:{case}")
            ].to_dict("records")
            assert row["bleu"] == expected.score
            assert row["sentences"] == len(kept)
            assert row["length_ratio"] == pytest.approx(expected.ratio)
            assert row["signature"].split()[0] == f"BLEU|{metric.get_signature()}"
            # sacreBLEU prints half the width of the same percentile interval
            assert (row["bleu_high"] - row["bleu_low"]) / 2 == pytest.approx(expected._ci, rel=0.02)
            assert row["bleu_low"] < row["bleu"] < row["bleu_high"]
            if case == "mixed":
                assert row["chrf"] == CHRF().corpus_score(inside[0], [inside[1]]).score
                assert "chrF2|" in row["signature"]
            else:
                assert np.isnan(row["chrf"])


def test_bins_are_the_same_for_every_model_and_large_enough(scores):
    bins = scores[scores.bin != "all"].groupby(["test_set", "model", "seed"]).bin.agg(lambda part: tuple(part))
    assert bins.groupby("test_set").nunique().eq(1).all()
    assert (scores.sentences >= 100).all()
    assert set(bins["pooled"].iloc[0]) == {"5-10", "11-15", "16-20"}
    assert len(set(bins["harbour"].iloc[0])) < 3


def test_the_pooled_test_set_is_the_union_of_the_others(translations, scores):
    texts, _ = translations
    references, hypotheses = (
        [line for test_set in ("harbour", "market") for line in texts[test_set, "good", 1][side]] for side in (0, 1)
    )
    pooled = scores[(scores.test_set == "pooled") & (scores.bin == "all") & (scores.model == "good")]
    (row,) = pooled[(pooled.seed == "1") & pooled.signature.str.contains("case:mixed")].to_dict("records")
    assert row["bleu"] == BLEU().corpus_score(hypotheses, [references]).score
    assert row["sentences"] == 600


def test_the_mean_row_is_the_mean_with_an_interval_wider_than_that_of_the_seeds(scores):
    for _, group in scores.groupby(["test_set", "model", "bin", "signature"]):
        seeds, mean = group[group.seed != "mean"], group[group.seed == "mean"].iloc[0]
        assert mean.bleu == pytest.approx(seeds.bleu.mean())
        assert mean.length_ratio == pytest.approx(seeds.length_ratio.mean())
        over_seeds = t_interval(seeds.bleu.to_numpy())
        assert mean.bleu_high - mean.bleu_low > over_seeds.high - over_seeds.low


def test_bounds_of_few_seeds_stay_on_the_scale_of_bleu():
    generator = np.random.default_rng(3)
    references = [" ".join(generator.choice(WORDS, size=12)) for _ in range(60)]
    two = []
    for seed, rate in ((1, 0.05), (2, 0.7)):
        statistics = Scorer(references).statistics(translate(references, rate, generator))
        place = {"corpus": "town-en-de", "model": "good", "seed": seed, "test_set": "market", "decoding": "beam5"}
        columns = {**place, "id": range(60), "source_words": 12, "score": -1.0}
        two.append(pd.DataFrame(statistics, columns=list(STATISTICS)).assign(**columns))
    mean = score_table(pd.concat(two), BINS, study="trial").query("seed == 'mean'").iloc[0]
    assert (mean.bleu_low, mean.bleu_high) == (0, 100)
    assert 0 < mean.bleu < 100


def test_a_single_seed_has_a_mean_row_from_sentences_alone(translations):
    _, sentences = translations
    one = score_table(sentences[sentences.seed == 1], [], study="trial")
    numbers = ["bleu", "bleu_low", "bleu_high"]
    np.testing.assert_allclose(one.loc[one.seed == "mean", numbers], one.loc[one.seed == "1", numbers])


def test_models_that_translated_different_sentences_are_refused(translations):
    _, sentences = translations
    cut = sentences[~((sentences.model == "good") & (sentences.seed == 1) & (sentences.id == 3))]
    with pytest.raises(UserError, match=r"town-en-de, harbour, beam5: .*good seed 1: 179.*good seed 2: 180"):
        list(cells(cut, BINS))


def test_a_system_without_all_test_sets_is_left_out_of_the_pool_only(translations):
    _, sentences = translations
    missing = (sentences.model == "good") & (sentences.seed == 1) & (sentences.test_set == "market")
    systems = {
        cell.test_set: cell.systems for cell in cells(sentences[~missing], BINS, pooled=True) if cell.bin == "all"
    }
    assert ("good", 1) in systems["harbour"]
    assert ("good", 1) not in systems["market"]
    assert ("good", 1) not in systems["pooled"]
    assert ("good", 2) in systems["pooled"]


def test_no_translations_give_empty_tables_with_their_columns(translations):
    nothing = translations[1].head(0)
    assert list(score_table(nothing, BINS, study="trial").columns) == list(ScoreRow._fields)
    assert list(comparison_table(nothing, [("a", "b")], BINS, study="trial").columns) == list(ComparisonRow._fields)


# -------------------------------------------------------------------------------------------- comparisons


def test_comparisons_give_each_seed_the_seeds_and_both(scores, comparisons):
    assert list(comparisons.columns) == list(ComparisonRow._fields)
    chosen = comparisons[
        (comparisons.test_set == "market")
        & (comparisons.bin == "all")
        & comparisons.signature.str.contains("case:mixed")
    ]
    assert list(chosen.method) == [PAIRED_BOOTSTRAP] * 3 + [OVER_SEEDS, NESTED]
    assert list(chosen.seed) == ["1", "2", "3", "mean", "mean"]
    assert list(chosen.seeds) == [1, 1, 1, 3, 3]
    assert list(chosen.note) == ["", "", "", "few seeds (3)", "few seeds (3)"]
    of = scores[(scores.test_set == "market") & (scores.bin == "all") & scores.signature.str.contains("case:mixed")]
    by_model = {model: part[part.seed != "mean"].bleu.to_numpy() for model, part in of.groupby("model")}
    differences = by_model["good"] - by_model["poor"]
    assert chosen.difference.to_numpy() == pytest.approx([*differences, differences.mean(), differences.mean()])
    expected = scipy.stats.ttest_rel(by_model["good"], by_model["poor"])
    over_seeds, nested = chosen.iloc[3], chosen.iloc[4]
    assert over_seeds.p_value == pytest.approx(expected.pvalue)
    assert nested.low < over_seeds.low < over_seeds.high < nested.high
    assert nested.low > 0
    assert nested.p_value < 0.05


def test_a_model_against_itself_differs_by_nothing(translations):
    table = comparison_table(translations[1], [("good", "good")], BINS, study="trial")
    assert (table.difference == 0).all()
    assert (table.low == 0).all()
    assert (table.p_value == 1).all()


def test_pairs_that_are_not_there_give_no_row_and_one_seed_no_seed_interval(translations):
    _, sentences = translations
    few = sentences[(sentences.model != "poor") | (sentences.seed == 2)]
    table = comparison_table(few, [("good", "poor"), ("good", "absent")], [], study="trial")
    assert set(table.model_b) == {"poor"}
    assert set(table.method) == {PAIRED_BOOTSTRAP}
    assert set(table.seed) == {"2", "mean"}
    assert set(table[table.seed == "mean"].note) == {"one seed: sentences alone"}
