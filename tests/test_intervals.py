"""Intervals agree with independent implementations and cover as often as they say."""

import time

import numpy as np
import pytest
import scipy.stats
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest, _bootstrap_resample

from lit_nmt.intervals import (
    nested_interval,
    paired_bootstrap,
    percentile_interval,
    resampled_sums,
    seeds_note,
    t_interval,
)
from lit_nmt.metrics import COLUMNS, Scorer, bleu_of_sums, corpus_bleu

WORDS = ["river", "mill", "stone", "wheel", "grain", "flour", "night", "sacks", "donkey", "road", "bridge"]


def corpus(sentences, error_rates, seed):
    """References, and one list of hypotheses per error rate in which words are replaced that often."""
    generator = np.random.default_rng(seed)
    references = [generator.choice(WORDS, size=generator.integers(5, 20)) for _ in range(sentences)]
    systems = [
        [
            " ".join(np.where(generator.random(len(reference)) < rate, generator.choice(WORDS), reference))
            for reference in references
        ]
        for rate in error_rates
    ]
    return [" ".join(reference) for reference in references], systems


def test_resamples_are_those_of_sacrebleu(monkeypatch):
    monkeypatch.setattr("lit_nmt.intervals.ENTRIES_AT_ONCE", 7 * 301)  # several pieces, the last one shorter
    references, (hypotheses,) = corpus(301, [0.3], seed=1)
    counts = Scorer(references).statistics(hypotheses)[:, COLUMNS["mixed"]]
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    _, expected = _bootstrap_resample(counts.tolist(), BLEU(), n_samples=200)
    ours = bleu_of_sums(resampled_sums(counts[None], resamples=200)[0])
    np.testing.assert_allclose(ours, [score.score for score in expected], rtol=1e-6)


@pytest.mark.parametrize("rates", [(0.30, 0.27), (0.30, 0.45), (0.3, 0.3)])
def test_paired_bootstrap_is_sacrebleus_paired_test(rates, monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    references, systems = corpus(300, rates, seed=2)
    named = [(f"system {place}", hypotheses) for place, hypotheses in enumerate(systems)]
    _, scores = PairedTest(named, {"BLEU": BLEU()}, [references], test_type="bs", n_samples=1000)()
    expected = scores["BLEU"]
    counts = np.stack([Scorer(references).statistics(hypotheses) for hypotheses in systems])
    first, second = (corpus_bleu(part, "mixed") for part in counts)
    resampled = bleu_of_sums(resampled_sums(counts[:, :, COLUMNS["mixed"]]))
    found = paired_bootstrap(second, first, resampled[1], resampled[0])
    assert (first, second) == (expected[0].score, expected[1].score)
    assert found.p_value == expected[1].p_value
    assert found.value == pytest.approx(expected[1].score - expected[0].score)
    own = percentile_interval(second, resampled[1])
    assert (own.high - own.low) / 2 == pytest.approx(expected[1].ci, rel=0.02)


def test_ten_thousand_sentences_are_resampled_a_thousand_times_in_under_a_second():
    generator = np.random.default_rng(3)
    counts = generator.integers(0, 30, size=(1, 10_000, 10))
    counts[..., 6:] += counts[..., 2:6]
    started = time.process_time()
    scores = bleu_of_sums(resampled_sums(counts, resamples=1000))
    assert time.process_time() - started < 1
    assert scores.shape == (1, 1000)


def test_t_interval_is_scipys():
    values = np.array([38.1, 37.2, 38.9, 38.4])
    expected = scipy.stats.ttest_1samp(values, 0)
    found = t_interval(values)
    assert found[1:3] == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p_value == pytest.approx(expected.pvalue)
    assert np.isnan(t_interval([38.1])[1:]).all()


def test_nested_interval_becomes_its_parts_where_the_other_does_not_vary():
    generator = np.random.default_rng(4)
    seeds = generator.normal(1.0, 0.5, size=5)
    still = np.tile(seeds[:, None], 1000)
    assert nested_interval(seeds, still)[:3] == pytest.approx(t_interval(seeds)[:3], abs=1e-6)
    assert nested_interval(seeds, still).p_value == pytest.approx(t_interval(seeds).p_value, abs=1e-9)
    sentences = generator.normal(2.0, 0.3, size=1000)
    same = np.full(5, 2.0)
    expected = percentile_interval(2.0, sentences)
    assert nested_interval(same, np.tile(sentences, (5, 1)))[:3] == pytest.approx(expected[:3])
    assert nested_interval(same[:1], sentences[None])[:3] == pytest.approx(expected[:3])


def test_nested_interval_is_a_quantile_of_the_simulated_mixture():
    generator = np.random.default_rng(5)
    seeds = np.array([0.4, 1.1, 0.9])
    centres = generator.normal(0.8, 0.3, size=1000)
    found = nested_interval(seeds, np.tile(centres, (3, 1)))
    error = scipy.stats.sem(seeds)
    draws = (centres[:, None] + error * scipy.stats.t.ppf((np.arange(2000) + 0.5) / 2000, 2)).ravel()
    assert found.low == pytest.approx(np.quantile(draws, 0.025), abs=5e-3)
    assert found.high == pytest.approx(np.quantile(draws, 0.975), abs=5e-3)
    assert found.p_value == pytest.approx(2 * (draws < 0).mean(), abs=5e-3)


def coverage(seed_spread, interval, seeds=5, sentences=100, trials=400):
    """How often an interval holds the truth when seeds, sentences and their interplay all vary."""
    generator = np.random.default_rng(6)
    held = 0
    for _ in range(trials):
        effects = generator.normal(0, seed_spread, size=(seeds, 1))
        difficulty = generator.normal(0, 1, size=sentences)
        scores = effects + difficulty + generator.normal(0, 1, size=(seeds, sentences))
        resampled = resampled_sums(scores[:, :, None], resamples=200, seed=int(generator.integers(2**31)))
        found = interval(scores.mean(axis=1), resampled[:, :, 0] / sentences)
        held += found.low <= 0 <= found.high
    return held / trials


@pytest.mark.parametrize("seed_spread", [0.0, 0.1, 0.5])
def test_nested_interval_covers_whatever_the_share_of_seeds_and_sentences(seed_spread):
    # 400 trials of a true 95 % scatter by 1.1 points; counting the interplay twice makes it somewhat wide
    assert 0.925 <= coverage(seed_spread, nested_interval) <= 0.995


def test_the_parts_alone_cover_too_rarely_which_is_why_they_are_nested():
    assert coverage(0.1, lambda values, _: t_interval(values)) < 0.85
    assert coverage(0.5, lambda values, drawn: percentile_interval(values.mean(), drawn.mean(axis=0))) < 0.85


def test_few_seeds_are_told():
    assert seeds_note(5) == ""
    assert seeds_note(3) == "few seeds (3)"
    assert "one seed" in seeds_note(1)
