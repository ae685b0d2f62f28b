"""Reading results, summaries over seeds, chrF over resamples, and numbers in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import lit_nmt
from lit_nmt.errors import UserError
from lit_nmt.evaluation import score_table
from lit_nmt.report import words
from lit_nmt.report.examples import mark_differences
from lit_nmt.report.tables import over_seeds, read_results, read_table, write_table


def test_results_are_read_from_a_report_or_its_tables(made_up, tmp_path: Path) -> None:
    made_up(tmp_path / "report/results", corpora={"market-en-de": [1]}, test_sets=("market",), sentences=30)
    for folder in ("report", "report/results"):
        results = lit_nmt.load_results(tmp_path / folder)
        assert len(results["runs"]) == 3
        assert set(results["sentences"]["model"]) == {"seq2seq", "attention-seq2seq", "transformer"}
    with pytest.raises(UserError, match="no such folder"):
        lit_nmt.load_results(tmp_path / "nowhere")


def test_chrf_intervals_hold_the_score_and_narrow_with_sentences(made_up, tmp_path: Path) -> None:
    settings = {"corpora": {"market-en-de": [1, 2]}, "test_sets": ("market",), "throughput": False}
    widths = []
    for size in (60, 600):
        results = read_results(made_up(tmp_path / str(size), sentences=size, **settings))
        bins = [(1, 100)]
        scores = score_table(results["sentences"], bins, study="demo", minimum=1)
        known = scores[scores["chrf"].notna() & (scores["seed"] == "1")]
        assert ((known["chrf_low"] <= known["chrf"]) & (known["chrf"] <= known["chrf_high"])).all()
        widths.append((known["chrf_high"] - known["chrf_low"]).mean())
        assert scores[scores["chrf"].isna()][["chrf_low", "chrf_high"]].isna().all(axis=None)
    assert widths[1] < 0.6 * widths[0]


def test_over_seeds_is_the_t_interval() -> None:
    values = [38.1, 38.9, 37.6, 39.2]
    frame = pd.DataFrame({"model": ["a"] * 4 + ["b"] * 2, "seed": list("123412"), "bleu": [*values, 30.0, 31.0]})
    summary = over_seeds(frame, ["model"], ["bleu"]).set_index("model")
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert summary.loc["a", "bleu"] == pytest.approx(np.mean(values))
    assert summary.loc["a", "bleu_spread"] == pytest.approx((high - low) / 2)
    assert np.isnan(summary.loc["b", "bleu_spread"])
    assert summary.loc["b", "seeds"] == 2


def test_a_missing_table_is_empty_with_its_columns(tmp_path: Path) -> None:
    frame = read_table(tmp_path / "throughput.csv")
    assert frame.empty
    assert frame["tokens_per_second"].dtype == float


def test_a_table_survives_writing_and_reading(tmp_path: Path) -> None:
    runs = pd.DataFrame(
        {"corpus": ["x,y", ""], "seed": ["1", "2"], "parameters": [1e6, np.nan], "commit": ["0e10", ""]}
    )
    write_table(tmp_path / "runs.csv", runs)
    read = read_table(tmp_path / "runs.csv")
    pd.testing.assert_frame_equal(read[list(runs)], runs.astype(dict.fromkeys(("corpus", "seed", "commit"), object)))


def test_examples_may_hold_any_line_separator(made_up, tmp_path: Path) -> None:
    said = "one\u2028two\u0085three\rfour"
    results = read_results(made_up(tmp_path, hypothesis=said, sentences=5, corpora={"market-en-de": [1]}))
    assert {row["hypothesis"] for row in results.examples} == {said}


@given(st.text(alphabet="ab <\u2028", max_size=40), st.text(alphabet="ab <", max_size=40))
def test_marking_changes_no_text(hypothesis: str, reference: str) -> None:
    assert "".join(text for text, _ in mark_differences(hypothesis, reference)) == hypothesis


def test_words_that_the_reference_lacks_are_marked() -> None:
    pieces = mark_differences("the red fox jumps", "the fox jumps high")
    assert [text for text, marked in pieces if marked] == ["red"]
    assert mark_differences("same words", "same words") == [("same words", False)]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.number(float("nan")), "–"),
        (words.number(-0.04), "0.0"),
        (words.number(-1.26), "−1.3"),
        (words.number(12345.6, 0), "12,346"),
        (words.with_spread(38.94, float("nan")), "38.9"),
        (words.with_spread(38.94, 0.42).replace(words.THIN, " "), "38.9 ± 0.4"),
        (words.large(6e6).replace(words.THIN, " "), "6 M"),
        (words.large(4107648).replace(words.THIN, " "), "4.11 M"),
        (words.duration(90).replace(words.THIN, " "), "90 s"),
        (words.duration(600).replace(words.THIN, " "), "10.0 min"),
        (words.memory(3 * 2**30).replace(words.THIN, " "), "3.00 GiB"),
        (words.rounded(0.012345), "0.0123"),
        (words.rounded(6543.2), "6,543"),
        (words.count(1, "run"), "one run"),
        (words.count(13, "run"), "13 runs"),
        (words.listing(["a", "b", "c"]), "a, b and c"),
        (words.judged("time, Intel(R) Core(TM) i7 CPU @ 3.20GHz, alone"), "Time, Intel Core i7 3.20GHz, alone"),
        (words.judged("training, Acme 64-Core Processor, alone"), "Training, Acme 64-Core, alone"),
    ],
)
def test_numbers_read_well(shown: str, expected: str) -> None:
    assert shown == expected
