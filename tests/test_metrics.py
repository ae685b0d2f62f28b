"""Scores from summed counts are sacreBLEU's own."""

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from lit_nmt.metrics import (
    COLUMNS,
    STATISTICS,
    Scorer,
    bleu_of_sums,
    chrf_of_sums,
    corpus_bleu,
    corpus_chrf,
    length_ratio,
    signature,
)

# text that 13a tokenization, lower-casing and chrF's whitespace treatment all have something to do on
SENTENCE = st.lists(
    st.sampled_from(["the", "The", "old", "mill", "turns,", "slowly.", "3.5", "Straße", "é", "(so)", "—", "&amp;"]),
    max_size=12,
).map(" ".join)
PAIRS = st.lists(st.tuples(SENTENCE, SENTENCE.filter(bool)), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(PAIRS)
def test_scores_equal_sacrebleus_corpus_score_exactly(pairs):
    hypotheses, references = [list(side) for side in zip(*pairs, strict=True)]
    counts = Scorer(references).statistics(hypotheses)
    assert counts.shape == (len(pairs), len(STATISTICS))
    for case in ("mixed", "lc"):
        whole = BLEU(lowercase=case == "lc").corpus_score(hypotheses, [references])
        assert corpus_bleu(counts, case) == whole.score
        assert bleu_of_sums(counts[:, COLUMNS[case]].sum(axis=0)) == pytest.approx(whole.score, rel=1e-9, abs=1e-9)
        if whole.ref_len:
            assert length_ratio(counts, case) == pytest.approx(whole.ratio)
    assert corpus_chrf(counts) == CHRF().corpus_score(hypotheses, [references]).score
    assert chrf_of_sums(counts[:, COLUMNS["chrf"]].sum(axis=0)) == pytest.approx(corpus_chrf(counts), abs=1e-9)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=4, max_size=4), st.integers(0, 6), st.integers(0, 9))
def test_the_vectorised_formula_agrees_on_every_corner(correct, hypothesis, reference):
    # totals of n-grams in one sentence of this length; matches cannot exceed them
    total = [max(0, hypothesis - n) for n in range(4)]
    correct = [min(pair) for pair in zip(correct, total, strict=True)]
    expected = BLEU.compute_bleu(list(correct), list(total), hypothesis, reference, smooth_method="exp").score
    assert bleu_of_sums(np.array([hypothesis, reference, *correct, *total])) == pytest.approx(
        expected, rel=1e-9, abs=1e-9
    )


def test_counts_are_sacrebleus_segment_statistics():
    references = ["The mill by the river turns.", "Nobody came."]
    hypotheses = ["the mill turns at night.", ""]
    counts = Scorer(references).statistics(hypotheses)
    assert counts[:, COLUMNS["mixed"]].tolist() == BLEU()._extract_corpus_statistics(hypotheses, [references])
    assert counts[:, COLUMNS["chrf"]].tolist() == CHRF()._extract_corpus_statistics(hypotheses, [references])


def test_counts_refuse_lists_that_do_not_match():
    with pytest.raises(ValueError, match="1 hypotheses for 2 references"):
        Scorer(["a", "b"]).statistics(["a"])


def test_signatures_name_metric_case_version_and_bootstrap():
    measured = BLEU(lowercase=True)
    measured.corpus_score(["a b"], [["a b"]], n_bootstrap=1000)
    assert signature("lc", resamples=1000) == f"BLEU|{measured.get_signature()}"
    assert f"version:{sacrebleu.__version__}" in signature("mixed")
    assert "case:mixed" in signature("mixed")
    assert "bs:" not in signature("mixed")
    chrf = CHRF()
    chrf.corpus_score(["a b"], [["a b"]])
    assert signature("chrf") == f"chrF2|{chrf.get_signature()}"
