"""Claims that set two arms against each other, on made-up translations whose chances are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from lit_nmt.claims import judge
from lit_nmt.errors import UserError
from lit_nmt.evaluation import Cell, cells
from lit_nmt.intervals import t_interval
from lit_nmt.metrics import STATISTICS, corpus_bleu

BINS = [(5, 10), (11, 20), (21, 30), (31, 40), (41, 50), (51, 60)]
CHANCE = Callable[[str, str, np.ndarray], np.ndarray]
"""Of a word to match, by corpus, model and source words."""


def translations(
    chance: CHANCE,
    corpora: tuple[str, ...] = ("town",),
    models: tuple[str, ...] = ("attention-seq2seq", "transformer"),
    test_sets: dict[str, tuple[int, int]] | None = None,
    seeds: int = 3,
    spread: float = 0.002,
    sentences: int = 1200,
) -> dict[str, pd.DataFrame]:
    """Counts as in `sentences.parquet`; every corpus has the same test sentences, and every seed its own luck."""
    generator = np.random.default_rng(4)
    parts = []
    for test_set, (low, high) in (test_sets or {"test": (5, 60)}).items():
        words = generator.integers(low, high + 1, size=sentences)
        total = words[:, None] - np.arange(4)
        for corpus in corpora:
            for model in models:
                for seed in range(1, seeds + 1):
                    right = chance(corpus, model, words) + generator.normal(0, spread) * (words - 30) / 10
                    right = np.clip(right + generator.normal(0, spread), 0.01, 1)[:, None] ** np.arange(1, 5)
                    counts = np.zeros((len(words), len(STATISTICS)), dtype=int)
                    counts[:, 0] = counts[:, 1] = words
                    counts[:, 2:6], counts[:, 6:10] = generator.binomial(total, right), total
                    counts[:, 10:20] = counts[:, :10]
                    system = {"corpus": corpus, "model": model, "seed": seed, "test_set": test_set}
                    columns = {"decoding": "beam5", "id": range(len(words)), "source_words": words}
                    parts.append(pd.DataFrame(counts, columns=list(STATISTICS)).assign(**system, **columns))
    return {"sentences": pd.concat(parts)}


def findings(
    name: str, tables: dict[str, pd.DataFrame], test_set: str = "test", planned: Sequence[int] = (), **settings: Any
) -> list[dict]:
    study: Any = SimpleNamespace(
        name="trial",
        path="trial.yaml",
        models={"attention-seq2seq": None, "transformer": None},
        claims={name: {"criterion": "as committed", **settings}},
        corpora=dict.fromkeys(tables["sentences"]["corpus"].unique()),
        seeds_of=lambda corpus, model: planned,
        bins=BINS,
        primary=SimpleNamespace(test_set=test_set, decoding="beam5", case="mixed", length_set=test_set),
    )
    return judge(study, tables, commits={}).to_dict("records")


def one(name: str, tables: dict[str, pd.DataFrame], **settings: Any) -> dict:
    (found,) = findings(name, tables, **settings)
    return found


def bleu_of(cell: Cell, model: str, seed: int) -> float:
    return corpus_bleu(cell.statistics[cell.systems.index((model, seed))], "mixed")


def level(value: float) -> CHANCE:
    return lambda corpus, model, words: np.full(len(words), value)


# ----------------------------------------------------------------------------------------- length

LONG = "transformer-learns-long-sentences"


def falling(rate: float) -> CHANCE:
    """The Transformer loses this much a word, from a lead that is the same in all cases."""
    return lambda corpus, model, words: np.full(len(words), 0.62) - rate * words * (model == "transformer")


@pytest.mark.parametrize(
    ("chance", "spread", "expected"),
    [
        (falling(0), 0.001, "supported"),
        (falling(-0.001), 0.001, "supported"),
        (falling(0.003), 0.001, "refuted"),
        (falling(0.0004), 0.02, "inconclusive"),
    ],
)
def test_long_sentences_are_learned_well_where_the_ratio_holds(chance: CHANCE, spread: float, expected: str) -> None:
    found = one(LONG, translations(chance, spread=spread), smallest_effect=0.004)
    assert found["verdict"] == expected
    assert found["low"] < found["value"] < found["high"]


def test_the_slope_is_of_trained_lengths_alone() -> None:
    def collapses(corpus: str, model: str, words: np.ndarray) -> np.ndarray:
        return np.where((words > 40) & (model == "transformer"), 0.3, 0.62)

    tables = translations(collapses, spread=0.0005)
    assert one(LONG, tables, smallest_effect=0.004)["verdict"] == "refuted"
    found = one(LONG, tables, smallest_effect=0.004, longest=40)
    assert found["verdict"] == "supported"
    assert "41-50" not in found["evidence"]


@pytest.mark.parametrize("weak", ["attention-seq2seq", "transformer"])
def test_whichever_arm_has_learned_nothing_decides_nothing(weak: str) -> None:
    chance = lambda corpus, model, words: np.full(len(words), 0.3 if model == weak else 0.62)
    found = one(LONG, translations(chance), smallest_effect=0.004)
    assert found["verdict"] == "inconclusive"
    assert found["reason"].startswith(f"{weak} has less than 0.5 of the best arm's BLEU in any part")


def test_two_arms_that_have_learned_nothing_decide_nothing() -> None:
    found = one(LONG, translations(level(0.2)), smallest_effect=0.004)
    assert found["verdict"] == "inconclusive"
    assert found["reason"].startswith("neither arm reaches 5 BLEU")


def test_test_sets_of_different_lengths_are_judged_as_bins_are() -> None:
    lengths = {f"captions-{count}": (10 * count - 4, 10 * count + 4) for count in (1, 2, 3)}
    tables = translations(falling(0.003), test_sets=lengths, sentences=300)
    settings = {"over": ["bins", "test sets"], "floor_bin": ["5-10", "captions-1"]}
    by_bins, by_test_sets = findings(LONG, tables, test_set="pooled", smallest_effect=0.002, **settings)
    assert (by_bins["part"], by_test_sets["part"]) == ("town, pooled, beam5", "town, over test sets, beam5")
    assert by_bins["verdict"] == by_test_sets["verdict"] == "refuted"
    assert "captions-1 " in by_test_sets["evidence"]
    whole = [cell for cell in cells(tables["sentences"], []) if cell.bin == "all"]
    slopes = [
        np.polyfit(
            [cell.source_words.mean() for cell in whole],
            [np.log(bleu_of(cell, "transformer", seed) / bleu_of(cell, "attention-seq2seq", seed)) for cell in whole],
            1,
        )[0]
        for seed in (1, 2, 3)
    ]
    assert by_test_sets["value"] == pytest.approx(np.mean(slopes))


def test_further_pairs_are_told_beside_and_decide_nothing() -> None:
    models = ("seq2seq", "seq2seq-wide", "attention-seq2seq")
    rates = {"seq2seq": 0.004, "seq2seq-wide": 0.001, "attention-seq2seq": 0.0}
    tables = translations(lambda corpus, model, words: 0.62 - rates[model] * words, models=models)
    plain = one("fixed-vector-bottleneck", tables, smallest_effect=0.005)
    beside = [["seq2seq-wide", "attention-seq2seq"], ["absent", "seq2seq"]]
    found = one("fixed-vector-bottleneck", tables, smallest_effect=0.005, beside=beside)
    assert [found[key] for key in ("verdict", "value", "low")] == [plain[key] for key in ("verdict", "value", "low")]
    other = one("fixed-vector-bottleneck", tables, smallest_effect=0.005, without="seq2seq-wide")
    told = f"seq2seq-wide / attention-seq2seq: slope {other['value']:.4f} [{other['low']:.4f}, {other['high']:.4f}]"
    assert told in found["evidence"]
    assert "absent" not in found["evidence"]
    assert "(but" not in found["evidence"]
    rates["seq2seq-wide"] = 0.009
    tables = translations(lambda corpus, model, words: 0.62 - rates[model] * words, models=models)
    found = one("fixed-vector-bottleneck", tables, smallest_effect=0.005, beside=beside, floor_bin="51-60")
    assert "(but seq2seq-wide has less than 0.5 of the best arm's BLEU in the part named" in found["evidence"]


def test_a_study_of_which_seeds_are_missing_decides_nothing_yet() -> None:
    tables = translations(falling(0))
    assert one(LONG, tables, smallest_effect=0.004, planned=[1, 2, 3])["verdict"] == "supported"
    found = one(LONG, tables, smallest_effect=0.004, planned=[1, 2, 3, 4, 5])
    assert found["verdict"] == "inconclusive"
    assert found["reason"] == "not all planned seeds are there, or their training failed; without: 4, 5"


def test_what_each_seed_says_by_itself_is_told() -> None:
    tables = translations(falling(0.003))
    found = one(LONG, tables, smallest_effect=0.004)
    told = found["evidence"].split("by seed ")[1].split(";")[0]
    by_seed = {int(seed): float(value) for seed, value in (each.split(": ") for each in told.split(", "))}
    assert list(by_seed) == [1, 2, 3]
    for seed, value in by_seed.items():
        alone = {"sentences": tables["sentences"][tables["sentences"]["seed"] == seed]}
        assert one(LONG, alone, smallest_effect=0.004)["value"] == pytest.approx(value, abs=5.1e-5)


def test_a_part_without_bleu_stops_only_what_takes_its_logarithm() -> None:
    def nothing_past_50(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        sentences = tables["sentences"].reset_index(drop=True)
        lost = (sentences["source_words"] > 50) & (sentences["model"] == "transformer")
        sentences.loc[lost, list(STATISTICS[2:6])] = 0
        return {"sentences": sentences}

    tables = nothing_past_50(translations(falling(0)))
    assert "has no logarithm" in one(LONG, tables, smallest_effect=0.004)["reason"]
    assert one(LONG, tables, smallest_effect=0.004, longest=50)["verdict"] == "supported"
    both = nothing_past_50(translations(level(0.62), corpora=tuple(CAPS)))
    found = one(CARRIES, both, smallest_effect=0.9, caps=CAPS, models=["transformer"])
    assert found["verdict"] == "supported"


# --------------------------------------------------------------------------- lengths not trained on

CARRIES = "attention-carries-to-untrained-lengths"
CAPS = {"town-max30": 30, "town-max50": 50}


def losing(share: float) -> CHANCE:
    """What was trained up to 30 words loses this share of its chances beyond them."""
    return lambda corpus, model, words: np.where((corpus == "town-max30") & (words > 30), 0.62 * (1 - share), 0.62)


@pytest.mark.parametrize(
    ("share", "spread", "expected"),
    [(0.0, 0.001, "supported"), (0.15, 0.001, "refuted"), (0.02, 0.03, "inconclusive")],
)
def test_attention_carries_where_bleu_is_kept_past_the_cap(share: float, spread: float, expected: str) -> None:
    tables = translations(losing(share), corpora=tuple(CAPS), spread=spread)
    for found in findings(CARRIES, tables, smallest_effect=0.9, caps=CAPS):
        assert found["verdict"] == expected
        assert found["low"] < found["value"] < found["high"]


def test_what_is_kept_is_the_ratio_past_the_cap_over_that_within() -> None:
    # another quality of the two trainings is no loss past the cap
    chance = lambda corpus, model, words: losing(0.05)(corpus, model, words) - 0.03 * (corpus == "town-max30")
    tables = translations(chance, corpora=tuple(CAPS))
    found = one(CARRIES, tables, smallest_effect=0.9, caps=CAPS, models=["transformer"])
    parts = {(cell.corpus, cell.bin): cell for cell in cells(tables["sentences"], BINS)}

    def mean_log_ratio(seed: int, bins: list[str]) -> float:
        short, long = ([parts[corpus, name] for name in bins] for corpus in CAPS)
        ratios = [
            np.log(bleu_of(a, "transformer", seed) / bleu_of(b, "transformer", seed))
            for a, b in zip(short, long, strict=True)
        ]
        return float(np.average(ratios, weights=[len(cell.source_words) for cell in short]))

    kept = [
        mean_log_ratio(seed, ["31-40", "41-50"]) - mean_log_ratio(seed, ["5-10", "11-20", "21-30"])
        for seed in (1, 2, 3)
    ]
    assert found["value"] == pytest.approx(np.exp(np.mean(kept)))
    undivided = np.exp(np.mean([mean_log_ratio(seed, ["31-40", "41-50"]) for seed in (1, 2, 3)]))
    assert f"not divided by that within both: {undivided:.2f} [" in found["evidence"]
    over_seeds = t_interval(kept)
    assert found["low"] < np.exp(over_seeds.low) < np.exp(over_seeds.high) < found["high"]


def test_a_model_far_behind_the_best_keeps_nothing_worth_keeping() -> None:
    chance = lambda corpus, model, words: np.full(len(words), 0.62 if model == "transformer" else 0.35)
    found = findings(CARRIES, translations(chance, corpora=tuple(CAPS)), smallest_effect=0.9, caps=CAPS)
    assert [row["verdict"] for row in found] == ["inconclusive", "supported"]
    assert "of the best arm's BLEU" in found[0]["reason"]


def test_the_best_of_the_study_counts_where_it_has_been_trained_up_to_one_cap_alone() -> None:
    chance = lambda corpus, model, words: np.full(len(words), 0.62 if model == "transformer" else 0.35)
    sentences = translations(chance, corpora=tuple(CAPS))["sentences"]
    absent = (sentences["corpus"] == "town-max30") & (sentences["model"] == "transformer")
    found = findings(CARRIES, {"sentences": sentences[~absent]}, smallest_effect=0.9, caps=CAPS)
    assert [row["verdict"] for row in found] == ["inconclusive", "inconclusive"]
    assert "of the best arm's BLEU" in found[0]["reason"]
    assert found[1]["reason"] == "no seed that was translated with both trainings"


def test_whether_a_model_is_far_behind_is_not_known_while_another_is_absent() -> None:
    sentences = translations(level(0.6), corpora=tuple(CAPS))["sentences"]
    found = findings(CARRIES, {"sentences": sentences}, smallest_effect=0.9, caps=CAPS)
    assert [row["verdict"] for row in found] == ["supported", "supported"]
    alone = {"sentences": sentences[sentences["model"] != "transformer"]}
    found = findings(CARRIES, alone, smallest_effect=0.9, caps=CAPS)
    assert [row["verdict"] for row in found] == ["inconclusive", "inconclusive"]
    assert found[0]["reason"] == "nothing of transformer, which may be the best of these models"


def test_the_bins_just_below_a_cap_can_be_left_out() -> None:
    # 21-30 and 41-50 have translations that are longer than the caps
    chance = lambda corpus, model, words: np.where(
        (words > 40) | ((words > 20) & (words <= 30) & (corpus == "town-max30")), 0.5, 0.62
    )
    tables = translations(chance, corpora=tuple(CAPS), spread=0.0005)
    whole = one(CARRIES, tables, smallest_effect=0.9, caps=CAPS, models=["transformer"])
    found = one(CARRIES, tables, smallest_effect=0.9, caps=CAPS, models=["transformer"], margin=5)
    assert whole["value"] > 1.1
    assert found["value"] == pytest.approx(1, abs=0.03)


def test_without_both_caps_or_the_same_sentences_nothing_is_judged() -> None:
    tables = translations(level(0.6), corpora=("town-max30",))
    assert one(CARRIES, tables, smallest_effect=0.9, caps=CAPS)["verdict"] == "inconclusive"
    both = translations(level(0.6), corpora=tuple(CAPS))["sentences"]
    others = both[(both["corpus"] == "town-max30") | (both["id"] > 5)]
    with pytest.raises(UserError, match="one has other sentences"):
        findings(CARRIES, {"sentences": others}, smallest_effect=0.9, caps=CAPS)


# ---------------------------------------------------------------------------------------- small data

DATA = "transformers-need-more-data"
PAIRS = {"town-1k": 1000, "town-3k": 3000, "town-10k": 10000, "town": 29000}


def learning(more: float) -> CHANCE:
    """Both learn with every doubling, the Transformer by so much more, and are equal at the largest size."""

    def chance(corpus: str, model: str, words: np.ndarray) -> np.ndarray:
        missing = np.log2(PAIRS["town"] / PAIRS[corpus])
        return np.full(len(words), 0.65 - (0.03 + more * (model == "transformer")) * missing)

    return chance


@pytest.mark.parametrize(
    ("more", "spread", "expected"),
    [(0.02, 0.001, "supported"), (0.0, 0.001, "refuted"), (0.006, 0.02, "inconclusive")],
)
def test_more_data_is_needed_where_every_doubling_brings_more(more: float, spread: float, expected: str) -> None:
    tables = translations(learning(more), corpora=tuple(PAIRS), spread=spread, sentences=600)
    found = one(DATA, tables, smallest_effect=0.5, pairs=PAIRS)
    assert found["verdict"] == expected
    assert found["part"] == "transformer against attention-seq2seq, test, beam5"


def test_the_interaction_is_that_of_least_squares() -> None:
    tables = translations(learning(0.01), corpora=tuple(PAIRS), sentences=300)
    found = one(DATA, tables, smallest_effect=0.5, pairs=PAIRS)
    whole = {cell.corpus: cell for cell in cells(tables["sentences"], []) if cell.bin == "all"}
    rows, scores, slopes = [], [], []
    for seed in (1, 2, 3):
        gaps = []
        for corpus, count in PAIRS.items():
            both = [bleu_of(whole[corpus], model, seed) for model in ("attention-seq2seq", "transformer")]
            gaps.append(both[1] - both[0])
            for arm, bleu in enumerate(both):
                rows.append([1, np.log2(count), arm, arm * np.log2(count)])
                scores.append(bleu)
        slopes.append(scipy.stats.linregress(np.log2([*PAIRS.values()]), gaps).slope)
    interaction = np.linalg.lstsq(np.array(rows), np.array(scores), rcond=None)[0][3]
    assert found["value"] == pytest.approx(interaction) == pytest.approx(np.mean(slopes))
    # seeds alone, as scipy has it; sentences add to that
    mean, error = np.mean(slopes), scipy.stats.sem(slopes)
    low, high = scipy.stats.t.interval(0.95, 2, mean, error)
    assert found["low"] < low < high < found["high"]


def test_each_transformer_is_judged_and_an_absent_size_decides_nothing() -> None:
    models = ("attention-seq2seq", "transformer", "transformer-tuned")
    tables = translations(level(0.6), corpora=tuple(PAIRS), models=models, sentences=200)
    names = ["transformer", "transformer-tuned"]
    found = findings(DATA, tables, smallest_effect=2, pairs=PAIRS, transformers=names)
    assert [row["part"].split()[0] for row in found] == names
    assert [row["verdict"] for row in found] == ["refuted", "refuted"]
    fewer = {"sentences": tables["sentences"][tables["sentences"]["corpus"] != "town-1k"]}
    row = one(DATA, fewer, smallest_effect=0.5, pairs=PAIRS)
    assert row["verdict"] == "inconclusive"
    assert row["reason"].startswith("3 of 4 sizes")


def test_a_transformer_that_fails_with_all_the_data_decides_nothing() -> None:
    chance = lambda corpus, model, words: np.full(len(words), 0.3 if model == "transformer" else 0.62)
    found = one(DATA, translations(chance, corpora=tuple(PAIRS), sentences=200), smallest_effect=0.5, pairs=PAIRS)
    assert found["verdict"] == "inconclusive"
    assert "in the part named beforehand, 29,000 pairs" in found["reason"]
