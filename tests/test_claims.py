"""Claims on made-up tables: each must be able to come out supported, refuted and inconclusive."""

import subprocess
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sacrebleu.metrics import BLEU

from lit_nmt.claims import CLAIMS, check_claims, criterion_commits, judge
from lit_nmt.claims.contrasts import slope_weights, weighted
from lit_nmt.claims.memory import slopes
from lit_nmt.claims.speed import COUNTED
from lit_nmt.claims.verdicts import decide
from lit_nmt.errors import UserError
from lit_nmt.evaluation import cells
from lit_nmt.intervals import t_interval
from lit_nmt.metrics import STATISTICS, Scorer, corpus_bleu

BINS = [(5, 10), (11, 20), (21, 30), (31, 40)]
PLAIN = "plain-networks-cannot-map-sequences"


def study(name, test_set="test", **settings):
    """As much of a study as a claim reads."""
    return SimpleNamespace(
        name="trial",
        path="trial.yaml",
        claims={name: {"criterion": "as committed", **settings}},
        models={},
        corpora={},
        bins=BINS,
        primary=SimpleNamespace(test_set=test_set, decoding="beam5", case="mixed", length_set=test_set),
    )


def verdicts(name, tables, **settings):
    """Verdict by part."""
    table = judge(study(name, **settings), tables, commits={name: "abc"})
    return dict(zip(table.part, table.verdict, strict=True))


# ------------------------------------------------------------------------------------------------- the frame


def test_every_claim_says_what_it_claims_who_said_so_and_what_would_refute_it():
    for name, (_, function) in CLAIMS.items():
        assert function.__name__ == name.replace("-", "_")
        assert "Source: " in function.__doc__
        assert "efuted" in function.__doc__
        assert "Statistic: " in function.__doc__


def test_judge_gives_the_columns_of_claims_csv_even_without_results():
    needed = {
        "attention-carries-to-untrained-lengths": {"caps": {"town-max30": 30, "town-max50": 50}},
        "transformers-need-more-data": {"pairs": {"town-1k": 1000, "town": 29000}},
    }
    for name in CLAIMS:
        table = judge(study(name, smallest_effect=0.1, **needed.get(name, {})), {}, commits={name: "abc"})
        assert list(table.columns) == [
            *("claim", "part", "study", "verdict", "statistic", "value", "low", "high"),
            *("criterion", "criterion_commit", "paper", "evidence", "reason"),
        ]
        assert set(table.claim) == {name}
        assert set(table.criterion) == {"as committed"}
        assert set(table.criterion_commit) == {"abc"}
        # what rests on results that are not there stays open, and says why
        assert set(table.verdict) == {"inconclusive"}
        assert table.reason.str.len().gt(10).all()
    assert CLAIMS


def test_a_claim_without_its_criterion_or_smallest_effect_is_refused():
    with pytest.raises(UserError, match="smallest_effect"):
        judge(study("constant-time"), {}, commits={})
    with pytest.raises(UserError, match="criterion"):
        judge(study("constant-time", criterion=None, smallest_effect=1), {}, commits={})
    with pytest.raises(UserError, match=r'unknown claim constant-tim.*did you mean "constant-time"'):
        judge(study("constant-tim", smallest_effect=1), {}, commits={})


@pytest.mark.parametrize(
    ("name", "criterion", "expected"),
    [
        ("fixed-vector-bottleneck", {"floorbin": "5-10"}, r'unknown key "floorbin"; did you mean "floor_bin"'),
        ("fixed-vector-bottleneck", {"floor": "half"}, "floor: found text 'half', expected a number"),
        ("transformer-learns-long-sentences", {"over": ["words"]}, "expected bins or test sets"),
        ("transformers-need-more-data", {"pairs": {"town": "many"}}, "pairs.town: found text 'many'"),
        ("transformers-need-more-data", {"pairs": {"town": 29000}}, "pairs: expected two corpora or more"),
        ("attention-carries-to-untrained-lengths", {"caps": {"town": 30}}, "caps: found 1, expected two"),
        (PLAIN, {"past": 31, "smallest_loss": 0.2}, "fits and past: one found without the other"),
        (PLAIN, {"shifted": "names"}, "smallest_loss: nothing there; shifted needs it"),
    ],
)
def test_a_criterion_that_says_what_no_claim_reads_is_refused(name, criterion, expected):
    with pytest.raises(UserError, match=expected) as caught:
        judge(study(name, smallest_effect=1, **criterion), {}, commits={})
    assert f"trial.yaml: claims.{name}" in str(caught.value)


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ({"without": "seq2sec"}, r'claims.fixed-vector-bottleneck: without: no "seq2sec" .* did you mean "seq2seq"'),
        ({"beside": [["seq2seq-wide", "attention-seq2seq"]]}, 'beside: no "seq2seq-wide" in this study'),
        ({"floor_bin": "5-11"}, r'floor_bin: no bin or test set "5-11"; did you mean "5-10"'),
        ({"floor_bin": ["captions-1", "5-10"]}, None),
    ],
)
def test_a_criterion_names_models_that_the_study_has(criterion, expected):
    own = study("fixed-vector-bottleneck", smallest_effect=1, **criterion)
    own.models, own.corpora = {"seq2seq": None, "attention-seq2seq": None}, {"town": None}
    own.test_sets_of = lambda corpus: ["captions-1"]
    if expected is None:
        check_claims(own)
    else:
        with pytest.raises(UserError, match=expected):
            check_claims(own)


def test_decisions_need_the_whole_interval_on_one_side():
    assert decide(1.2, 1.4, 1.1) == "supported"
    assert decide(0.9, 1.05, 1.1) == "refuted"
    assert decide(1.0, 1.4, 1.1) == "inconclusive"
    assert decide(float("nan"), float("nan"), 1.1) == "inconclusive"


BOTTLENECKS = "fixed-vector-bottleneck"


def test_a_criterion_is_never_told_without_its_amendment():
    amended = study("constant-time", smallest_effect=0.1, amended="after a first measurement.")
    assert set(judge(amended, {}, {}).criterion) == {"as committed Amended: after a first measurement."}


def test_a_criterions_commit_is_the_first_of_what_is_judged_now_and_tells_later_changes(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(text):
        path.write_text(text)
        git("add", path.name)
        git("commit", "-qm", "a change")
        return git("rev-parse", "HEAD")

    def written(bins, bench="", other=1, claim=1, amended="no"):
        own = f"{{a: {claim}, amended: {amended}}}"
        return f"bins: {bins}\n{bench}claims: {{{BOTTLENECKS}: {own}, constant-time: {{a: {other}}}}}\n"

    path = tmp_path / "trial.yaml"
    study = SimpleNamespace(path=path, claims={BOTTLENECKS: {}, "constant-time": {}})
    both = lambda one, other: {BOTTLENECKS: one, "constant-time": other}
    path.write_text(written(5))
    assert criterion_commits(study) == both("", "")
    git("init", "-q")
    assert criterion_commits(study) == both("", "")
    commit("{")
    other = commit(written(4))
    first = commit(written(5))
    assert first != other
    assert criterion_commits(study) == both(first, first)
    commit("# In other words\ntitle: a\ntuning: {note: b}\n" + written(5, amended="yes"))
    assert criterion_commits(study) == both(first, first)
    # neither the criterion of another claim nor what is measured of speed has to do with the quality
    for text in (written(5, other=2), written(5, other=2, bench="bench: {}\n")):
        latest = commit(text)
        assert criterion_commits(study) == both(first, latest)
    path.write_text(written(5, other=2, bench="bench: {}\n", claim=2))
    assert criterion_commits(study) == both(f"{latest}+", latest)
    path.write_text(written(6))
    assert criterion_commits(study) == both(f"{latest}+", f"{latest}+")
    # the only commit of a shallow clone is no proof of when anything was written
    git("clone", "-q", "--depth", "1", tmp_path.as_uri(), "shallow")
    study.path = tmp_path / "shallow" / path.name
    assert criterion_commits(study) == both("", "")


# -------------------------------------------------------------------------------------------------- training speed


def throughput(rows):
    """(model, phase, source length or None, tokens/s, spread) as throughput.csv."""
    return pd.DataFrame(
        [
            {
                "model": model,
                "phase": phase,
                "corpus": "town-en-de",
                "source_length": np.nan if length is None else length,
                "tokens_per_second": speed,
                "low": speed / (1 + spread),
                "high": speed * (1 + spread),
                "device": "cpu",
                "threads": 1,
                "precision": "32-true",
            }
            for model, phase, length, speed, spread in rows
        ]
    )


def test_training_and_decoding_are_judged_apart_each_against_each_recurrent_model():
    table = throughput(
        [
            ("transformer", "train", None, 3000, 0.02),
            ("seq2seq", "train", None, 2800, 0.02),
            ("attention-seq2seq", "train", None, 2000, 0.02),
            ("transformer", "decode-beam5", None, 400, 0.02),
            ("seq2seq", "decode-beam5", None, 900, 0.02),
        ]
    )
    assert verdicts("recurrence-is-slower-to-train", {"throughput": table}, smallest_effect=1.1) == {
        "training, cpu, 1 thread, 32-true, town-en-de, against seq2seq": "inconclusive",
        "training, cpu, 1 thread, 32-true, town-en-de, against attention-seq2seq": "supported",
        "decoding with beam5, cpu, 1 thread, 32-true, town-en-de, against seq2seq": "refuted",
    }


def test_speeds_at_other_precision_threads_or_length_are_not_compared():
    rows = [("transformer", "train", None, 3000, 0.02), ("seq2seq", "train", None, 2000, 0.02)]
    for column, other in (
        ("precision", "bf16-mixed"),
        ("threads", 2),
        ("device", "cuda"),
        ("source_length", 32),
    ):
        table = throughput(rows).astype({"source_length": object})
        table.loc[1, column] = other
        found = verdicts("recurrence-is-slower-to-train", {"throughput": table}, smallest_effect=1.1)
        assert found == {"training": "inconclusive"}


def test_the_ratio_covers_the_ratio_of_the_medians_as_often_as_it_says():
    generator = np.random.default_rng(8)
    held = 0
    for _ in range(150):
        fast, slow = 3000 * generator.lognormal(0, 0.1, 6), 2000 * generator.lognormal(0, 0.1, 6)
        table = throughput([("transformer", "train", None, 1.0, 0.0), ("seq2seq", "train", None, 1.0, 0.0)])
        for place, windows in enumerate((fast, slow)):
            table.loc[place, ["tokens_per_second", "low", "high"]] = (
                np.median(windows),
                windows.min(),
                windows.max(),
            )
        found = judge(study("recurrence-is-slower-to-train", smallest_effect=1.1), {"throughput": table}, {})
        held += found.low[0] <= 1.5 <= found.high[0]
    assert held / 150 >= 0.95


# -------------------------------------------------------------------------------------------------- constant time


TIME = "time, training, single sentences, cpu, 1 thread, 32-true"


def lengths_table(exponent, spread, overhead=0.0):
    """tokens/s of a sentence that takes length ** exponent, and what is the same for all lengths."""
    lengths = (8, 16, 32, 64, 128, 256)
    return throughput(
        [("transformer", "train-single", n, 5000 * n / (n**exponent + overhead), spread) for n in lengths]
    )


@pytest.mark.parametrize(
    ("exponent", "spread", "expected"),
    [(0.0, 0.02, "supported"), (1.2, 0.05, "refuted"), (0.1, 0.2, "inconclusive")],
)
def test_time_is_judged_by_its_exponent(exponent, spread, expected):
    tables = {"throughput": lengths_table(exponent, spread)}
    assert verdicts("constant-time", tables, smallest_effect=0.1)[TIME] == expected


def test_a_linear_time_behind_an_overhead_is_not_constant():
    tables = {"throughput": lengths_table(1, 0.01, overhead=100)}
    assert verdicts("constant-time", tables, smallest_effect=0.1)[TIME] == "refuted"


def test_batches_of_equally_many_tokens_do_not_tell_whether_time_is_constant():
    # a machine that does all of a batch at once has fewer sentences in it, the longer they are
    batches = lengths_table(1, 0.01).assign(phase="train")
    row = judge(study("constant-time", smallest_effect=0.1), {"throughput": batches}, {}).iloc[0]
    assert (row.part, row.verdict) == ("time", "inconclusive")
    assert "single sentences" in row.reason
    both = pd.concat([batches, lengths_table(0, 0.01)])
    assert verdicts("constant-time", {"throughput": both}, smallest_effect=0.1)[TIME] == "supported"


def test_the_exponent_is_that_between_the_longest_lengths_and_its_interval_that_of_their_windows():
    table = lengths_table(0.6, 0.03, overhead=5)
    row = judge(study("constant-time", smallest_effect=0.1), {"throughput": table}, {}).iloc[0]
    seconds = {name: table.source_length / table[name] for name in ("tokens_per_second", "low", "high")}
    longest = {name: each.to_numpy()[-2:] for name, each in seconds.items()}
    assert row.value == pytest.approx(np.log2(np.divide(*longest["tokens_per_second"][::-1])))
    assert row.low == pytest.approx(np.log2(longest["high"][1] / longest["low"][0]))
    assert row.high == pytest.approx(np.log2(longest["low"][1] / longest["high"][0]))


def operations_table(counts, unconnected=None):
    """operations.csv of counts {model: {quantity: operations at 4, 8 and 16 subwords}}."""
    return pd.DataFrame(
        [
            {
                "model": model,
                "quantity": quantity,
                "length": float(length),
                "operations": float(count),
                "unconnected": (unconnected or {}).get((model, quantity), 0.0),
            }
            for model, quantities in counts.items()
            for quantity, each in quantities.items()
            for length, count in zip((4, 8, 16), each, strict=True)
        ]
    )


CONSTANT, GROWING = (20, 20, 20), (28, 48, 88)
QUANTITIES = ("sequential-training", "sequential-decoding", "path-source-target", "path-target-target")
ATTENTION_ALONE = dict(zip(QUANTITIES, (CONSTANT, GROWING, CONSTANT, CONSTANT), strict=True))
RECURRENT_ALONE = dict(zip(QUANTITIES, (GROWING, GROWING, CONSTANT, GROWING), strict=True))


def test_o1_holds_of_self_attention_when_reading_and_of_nothing_when_decoding():
    tables = {"operations": operations_table({"transformer": ATTENTION_ALONE, "seq2seq": RECURRENT_ALONE})}
    own = verdicts("constant-time", tables, smallest_effect=0.1)
    assert [own[part] for part in COUNTED] == ["supported", "refuted", "supported"]
    recurrent = verdicts("constant-time", tables, smallest_effect=0.1, model="seq2seq")
    # a path is as long as the longest of its kinds
    assert [recurrent[part] for part in COUNTED] == ["refuted", "refuted", "refuted"]


def test_exact_counts_have_no_interval_and_their_exponent_is_that_of_the_longest_lengths():
    tables = {"operations": operations_table({"transformer": ATTENTION_ALONE, "seq2seq": RECURRENT_ALONE})}
    table = judge(study("constant-time", smallest_effect=0.1), tables, {})
    rows = table[table.part.isin(list(COUNTED))]
    assert (rows.low == rows.value).all()
    assert (rows.high == rows.value).all()
    assert rows.value.tolist() == pytest.approx([0, np.log2(88 / 48), 0])
    assert "transformer 28, 48, 88; seq2seq 28, 48, 88" in rows.evidence.iloc[1]


def test_positions_that_no_path_joins_leave_the_path_open():
    apart = {("transformer", "path-target-target"): 0.25}
    counts = {"transformer": ATTENTION_ALONE, "feed-forward": {"path-target-target": (np.nan,) * 3}}
    tables = {"operations": operations_table(counts, apart)}
    row = judge(study("constant-time", smallest_effect=0.1), tables, {}).set_index("part").loc["path length"]
    assert row.verdict == "inconclusive"
    assert row.reason.startswith("25% of the pairs of positions are not joined")
    assert row.reason.endswith("transformer 20, 20, 20")


# -------------------------------------------------------------------------------------------------- the fixed vector


def sentence_table(precision_without, precision_with=lambda words: 0.6, seeds=3, seed_spread=0.0, test_sets=("test",)):
    """Counts as of translations whose words match with a chance that depends on the sentence's length."""
    generator = np.random.default_rng(9)
    parts = []
    for test_set in test_sets:
        words = generator.integers(5, 41, size=1600)
        difficulty = generator.normal(0, 0.03, size=len(words))
        for model, precision in (("seq2seq", precision_without), ("attention-seq2seq", precision_with)):
            for seed in range(1, seeds + 1):
                tilt = generator.normal(0, seed_spread)
                chance = np.vectorize(precision)(words) * np.exp(tilt * (words - 22)) + difficulty
                chance = np.clip(chance, 0, 1)[:, None] ** np.arange(1, 5)
                total = words[:, None] - np.arange(4)
                counts = np.zeros((len(words), len(STATISTICS)), dtype=int)
                counts[:, 0] = counts[:, 1] = words
                counts[:, 2:6], counts[:, 6:10] = generator.binomial(total, chance), total
                counts[:, 10:20] = counts[:, :10]
                parts.append(
                    pd.DataFrame(counts, columns=list(STATISTICS)).assign(
                        corpus="town-en-de",
                        model=model,
                        seed=seed,
                        test_set=test_set,
                        decoding="beam5",
                        id=range(len(words)),
                        source_words=words,
                    )
                )
    return pd.concat(parts)


def falling(words):
    return 0.62 - 0.007 * words


BOTTLENECK = {"smallest_effect": 0.005}
CASES = {
    "supported": {"precision_without": falling},
    "refuted": {"precision_without": lambda words: 0.55},
    "inconclusive": {"precision_without": falling, "seed_spread": 0.02},
}


@pytest.mark.parametrize("expected", CASES)
def test_the_bottleneck_is_judged_by_the_slope_over_length(expected):
    tables = {"sentences": sentence_table(**CASES[expected])}
    table = judge(study("fixed-vector-bottleneck", **BOTTLENECK), tables, {})
    (row,) = table.to_dict("records")
    assert row["verdict"] == expected
    assert row["low"] < row["value"] < row["high"]
    assert row["part"] == "town-en-de, test, beam5"
    assert "few seeds (3)" in row["evidence"]


def test_an_arm_that_learned_nothing_decides_nothing():
    flat = sentence_table(lambda words: 0.35)
    (row,) = judge(study("fixed-vector-bottleneck", **BOTTLENECK), {"sentences": flat}, {}).to_dict("records")
    # the naive reading would refute the claim
    assert decide(-row["high"], -row["low"], BOTTLENECK["smallest_effect"]) == "refuted"
    assert row["verdict"] == "inconclusive"
    assert row["reason"].startswith("seq2seq has less than 0.5 of the best arm's BLEU")


def test_the_floor_is_looked_for_in_the_bin_named_beforehand():
    rising = {"sentences": sentence_table(lambda words: 0.3 if words <= 20 else 0.6)}
    claim = "fixed-vector-bottleneck"
    assert verdicts(claim, rising, **BOTTLENECK) == {"town-en-de, test, beam5": "refuted"}
    assert verdicts(claim, rising, **BOTTLENECK, floor_bin="5-10") == {"town-en-de, test, beam5": "inconclusive"}
    assert verdicts(claim, rising, **BOTTLENECK, floor_bin="31-40") == {"town-en-de, test, beam5": "refuted"}
    assert verdicts(claim, rising, **BOTTLENECK, floor_bin="41-50") == {"town-en-de, test, beam5": "inconclusive"}


def test_one_seed_decides_nothing_about_architectures():
    tables = {"sentences": sentence_table(falling, seeds=1)}
    (row,) = judge(study("fixed-vector-bottleneck", **BOTTLENECK), tables, {}).to_dict("records")
    assert row["verdict"] == "inconclusive"
    assert row["reason"].startswith("one seed")
    assert row["high"] < -BOTTLENECK["smallest_effect"]


def test_the_slope_is_that_of_a_weighted_regression_of_sacrebleus_scores():
    table = sentence_table(falling, seed_spread=0.003)
    row = judge(study("fixed-vector-bottleneck", **BOTTLENECK), {"sentences": table}, {}).iloc[0]
    parts = [cell for cell in cells(table, BINS) if cell.bin != "all"]
    words, sizes = zip(*[(cell.source_words.mean(), len(cell.source_words)) for cell in parts], strict=True)
    slopes = []
    for seed in (1, 2, 3):
        ratios = [
            np.log(corpus_bleu(cell.statistics[cell.systems.index(("seq2seq", seed))], "mixed"))
            - np.log(corpus_bleu(cell.statistics[cell.systems.index(("attention-seq2seq", seed))], "mixed"))
            for cell in parts
        ]
        slopes.append(np.polyfit(words, ratios, 1, w=np.sqrt(sizes))[0])
    assert row.value == pytest.approx(np.mean(slopes))
    # sentences add to the spread over seeds
    over_seeds = t_interval(slopes)
    assert row.low < over_seeds.low < over_seeds.high < row.high


def test_the_pooled_test_set_is_judged_where_the_study_says_so():
    tables = {"sentences": sentence_table(falling, test_sets=("market", "harbour"))}
    assert verdicts("fixed-vector-bottleneck", tables, **BOTTLENECK, test_set="pooled") == {
        "town-en-de, pooled, beam5": "supported"
    }


def test_the_slopes_interval_covers_the_truth_over_seeds_and_sentences():
    generator = np.random.default_rng(10)
    words, sizes, truth, held = np.array([7.0, 15, 25, 35]), np.array([100, 200, 300, 100]), -0.01, 0
    for _ in range(300):
        # noise of a bin's sentences, shared by the seeds, and of each seed's slope
        shared = generator.normal(0, 1, size=4) / np.sqrt(sizes)
        slopes = truth + generator.normal(0, 0.004, size=5)
        values = words[:, None] * slopes + shared[:, None]
        resampled = values[:, :, None] + generator.normal(0, 1, size=(4, 1, 300)) / np.sqrt(sizes)[:, None, None]
        found = weighted(slope_weights(words, sizes), values, resampled)
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 300 <= 0.99


# -------------------------------------------------------------------------------------------------- plain networks

MODELS = ["feed-forward", "seq2seq"]
SETTINGS = {
    "smallest_effect": 0.5,
    "smallest_loss": 0.2,
    "fits": 20,
    "past": 31,
    "unshifted": "names",
    "shifted": "names_shifted",
}
PARTS = {
    "overall": "overall: feed-forward, town-en-de, beam5, test",
    "length": "length: feed-forward, town-en-de, beam5, test",
    "position": "position: feed-forward, town-en-de, beam5, names to names_shifted",
}


def network_tables(network, recurrent=(0.6, 0.6, 0.6, 0.6), seeds=3, spread=0.01, sentences=900):
    """Counts by the chance that a word is right: on sentences that fit, past the inputs, unshifted and shifted."""
    generator = np.random.default_rng(4)
    parts = []
    for test_set in ("test", "names", "names_shifted"):
        words = np.random.default_rng(5).integers(5, 41, size=sentences)  # the same in all three
        for model, chances in zip(MODELS, (network, recurrent), strict=True):
            for seed in range(1, seeds + 1):
                skill = np.exp(generator.normal(0, spread))
                fits, past, unshifted, shifted = (min(1, chance * skill) for chance in chances)
                on_test = np.where(words <= 25, fits, past)
                chance = {"test": on_test, "names": unshifted, "names_shifted": shifted}[test_set]
                chance = np.broadcast_to(chance, len(words))[:, None] ** np.arange(1, 5)
                total = words[:, None] - np.arange(4)
                counts = np.zeros((len(words), len(STATISTICS)), dtype=int)
                counts[:, 0] = counts[:, 1] = words
                counts[:, 2:6], counts[:, 6:10] = generator.binomial(total, chance), total
                counts[:, 10:20] = counts[:, :10]
                system = {"corpus": "town-en-de", "model": model, "seed": seed, "test_set": test_set}
                frame = pd.DataFrame(counts, columns=list(STATISTICS))
                parts.append(frame.assign(**system, decoding="beam5", id=range(len(words)), source_words=words))
    return {"sentences": pd.concat(parts)}


PLAIN_CASES = {
    # bad everywhere, and worse where sentences are long or stand elsewhere
    "supported": {"network": (0.4, 0.2, 0.4, 0.2)},
    # as good as the recurrent model, and as steady
    "refuted": {"network": (0.58, 0.57, 0.58, 0.57)},
    # about half as good and a fifth less steady, give or take
    "inconclusive": {"network": (0.46, 0.42, 0.46, 0.39), "spread": 0.05},
}


@pytest.mark.parametrize("expected", PLAIN_CASES)
def test_a_plain_network_is_judged_overall_on_longer_and_on_shifted_sentences(expected):
    table = judge(study(PLAIN, **SETTINGS), network_tables(**PLAIN_CASES[expected]), {})
    assert dict(zip(table.part, table.verdict, strict=True)) == dict.fromkeys(PARTS.values(), expected)
    assert (table.low < table.value).all()
    assert (table.value < table.high).all()
    assert table.evidence.str.contains("few seeds (3)", regex=False).all()
    assert "up to 20 words" in table.evidence[1]
    assert "from 31 words" in table.evidence[1]


def test_a_network_may_fail_overall_and_yet_be_as_steady_as_the_other():
    found = verdicts(PLAIN, network_tables((0.36, 0.36, 0.36, 0.36)), **SETTINGS)
    assert [found[part] for part in PARTS.values()] == ["supported", "refuted", "refuted"]


def test_shares_of_next_to_nothing_decide_nothing():
    weak_network = judge(study(PLAIN, **SETTINGS), network_tables((0.1, 0.05, 0.1, 0.05)), {})
    assert weak_network.verdict.tolist() == ["supported", "inconclusive", "inconclusive"]
    assert weak_network.reason[1].startswith("feed-forward has ")
    assert "fewer than 5: a share of it means nothing" in weak_network.reason[1]
    both = network_tables((0.05,) * 4, (0.1,) * 4)
    assert set(verdicts(PLAIN, both, **SETTINGS).values()) == {"inconclusive"}


def test_one_seed_decides_nothing_about_networks():
    table = judge(study(PLAIN, **SETTINGS), network_tables((0.4, 0.2, 0.4, 0.2), seeds=1), {})
    assert set(table.verdict) == {"inconclusive"}
    assert table.reason.str.startswith("one seed").all()
    assert (table.low > [0.5, 0.2, 0.2]).all()


def test_every_network_is_judged_and_what_is_not_set_is_not():
    tables = network_tables((0.4, 0.2, 0.4, 0.2))
    window = tables["sentences"].query("model == 'feed-forward'").assign(model="window")
    tables["sentences"] = pd.concat([tables["sentences"], window])
    found = verdicts(PLAIN, tables, smallest_effect=0.5, plain=["feed-forward", "window"])
    assert found == {
        "overall: feed-forward, town-en-de, beam5, test": "supported",
        "overall: window, town-en-de, beam5, test": "supported",
    }


def test_what_a_part_lacks_is_told():
    with pytest.raises(UserError, match="smallest_loss: nothing there; past needs it"):
        verdicts(PLAIN, {}, **{**SETTINGS, "smallest_loss": None})
    tables = network_tables((0.4, 0.2, 0.4, 0.2))
    kept = tables["sentences"].query("test_set != 'names_shifted'")
    table = judge(study(PLAIN, **{**SETTINGS, "past": 41}), {"sentences": kept}, {})
    assert table.verdict.tolist() == ["supported", "inconclusive", "inconclusive"]
    assert table.reason[1] == "too few sentences up to 20 words or from 41 words"
    assert table.reason[2] == "too few sentences names or names_shifted"


def test_what_a_network_lacks_and_loses_is_by_sacrebleus_scores_of_the_text():
    generator = np.random.default_rng(2)
    vocabulary = [f"w{number}" for number in range(30)]
    lines = [" ".join(generator.choice(vocabulary, size=generator.integers(6, 15))) for _ in range(150)]
    texts, parts = {}, []
    for test_set in ("names", "names_shifted"):
        for model in MODELS:
            for seed in (1, 2, 3):
                rate = {"seq2seq": 0.75, "feed-forward": 0.55 if test_set == "names" else 0.45}[model] + 0.01 * seed
                said = [" ".join(w if generator.random() < rate else "x" for w in line.split()) for line in lines]
                texts[test_set, model, seed] = said
                system = {"corpus": "town-en-de", "model": model, "seed": seed, "test_set": test_set}
                frame = pd.DataFrame(Scorer(lines).statistics(said), columns=list(STATISTICS))
                words = [len(line.split()) for line in lines]
                parts.append(frame.assign(**system, decoding="beam5", id=range(len(lines)), source_words=words))
    own = {key: SETTINGS[key] for key in ("smallest_effect", "smallest_loss", "unshifted", "shifted")}
    table = judge(study(PLAIN, test_set="names", **own), {"sentences": pd.concat(parts)}, {})

    draws = np.random.default_rng(12345).choice(150, size=(1000, 150), replace=True)  # as sacreBLEU's own bootstrap

    def scores(test_set, model):
        """BLEU of each seed on the text and on each draw."""
        metric = BLEU()
        found = []
        for seed in (1, 2, 3):
            said = texts[test_set, model, seed]
            counts = np.array(metric._extract_corpus_statistics(said, [lines]))
            sums = [counts.sum(0), *(counts[drawn].sum(0) for drawn in draws)]
            found.append([metric._compute_score_from_stats(list(map(int, row))).score for row in sums])
            assert found[-1][0] == pytest.approx(metric.corpus_score(said, [lines]).score)
        return np.array(found)

    (network, shifted_network), (recurrent, shifted) = (
        [scores(test_set, model) for test_set in ("names", "names_shifted")] for model in MODELS
    )
    expected = {
        0: 1 - network / recurrent,
        1: shifted / recurrent - shifted_network / network,
    }
    chance = np.random.default_rng(1)
    for row, values in expected.items():
        whole, drawn = values[:, 0], values[:, 1:].mean(0)
        assert table.value[row] == pytest.approx(whole.mean())
        # the mixture, by simulation: a draw of the sentences, then of the seeds' t distribution about it
        error = whole.std(ddof=1) / np.sqrt(3)
        mixed = chance.choice(drawn, 400_000) + error * scipy.stats.t.rvs(2, size=400_000, random_state=chance)
        low, high = np.quantile(mixed, [0.025, 0.975])
        assert (table.low[row], table.high[row]) == pytest.approx((low, high), abs=0.05 * (high - low))


# -------------------------------------------------------------------------------------------------- forgetting


def gradient_table(slope, seeds=3, seed_spread=0.0, models=("seq2seq",), sentences=40, noise=1.0):
    """Log norms that change by `slope` a subword, about a level of each sentence."""
    generator = np.random.default_rng(11)
    parts = []
    for model in models:
        for seed in range(1, seeds + 1):
            tilt = slope + generator.normal(0, seed_spread)
            for sentence in range(sentences):
                distance = np.arange(4 + sentence % 5, 4 + sentence % 5 + 20)
                # longer sentences lie higher: compared with one another they would hide the slope
                level = 0.5 * (sentence % 5) + generator.normal(0, 2)
                parts.append(
                    pd.DataFrame(
                        {
                            "distance": distance,
                            "log_norm": level + tilt * distance + generator.normal(0, noise, size=20),
                        }
                    ).assign(corpus="town-en-de", model=model, seed=seed, training="after", id=sentence)
                )
    return pd.concat(parts, ignore_index=True)


def recall_table(short, long, seeds=3, seed_spread=0.0, model="seq2seq"):
    """Translations of 600 sentences of a delay of 5-10 and of 31-40, right with these chances."""
    generator = np.random.default_rng(12)
    parts = []
    for name, chances in ((model, (short, long)), ("transformer", (1.0, 1.0))):
        for seed in range(1, seeds + 1):
            shift = generator.normal(0, seed_spread) if name == model else 0
            for place, (words, chance) in enumerate(zip((8, 35), chances, strict=True)):
                right = generator.random(600) < chance + place * shift
                counts = np.zeros((600, len(STATISTICS)), dtype=int)
                counts[:, 0:2] = counts[:, 10:12] = 4
                counts[:, 6:10] = counts[:, 16:20] = [4, 3, 2, 1]
                counts[:, 2:6] = np.where(right[:, None], [4, 3, 2, 1], [3, 2, 1, 0])
                parts.append(
                    pd.DataFrame(counts, columns=list(STATISTICS)).assign(
                        corpus="recall",
                        model=name,
                        seed=seed,
                        test_set="test",
                        decoding="beam5",
                        id=np.arange(600) + 600 * place,
                        source_words=words,
                    )
                )
    return pd.concat(parts)


FORGET = {"smallest_effect": 0.05}


@pytest.mark.parametrize(
    ("expected", "made"),
    [
        ("supported", {"slope": -0.2}),
        ("refuted", {"slope": -0.01}),
        ("refuted", {"slope": 0.2}),
        ("inconclusive", {"slope": -0.06, "seed_spread": 0.05}),
        ("inconclusive", {"slope": -0.2, "seeds": 1}),
    ],
)
def test_forgetting_is_judged_by_how_the_gradient_falls(expected, made):
    tables = {"gradients": gradient_table(**made), "sentences": sentence_table(lambda words: 0.5)}
    found = verdicts("recurrent-nets-forget", tables, **FORGET)
    assert found["seq2seq, gradients after training, town-en-de"] == expected


def test_what_translates_nothing_decides_nothing_after_training():
    after = gradient_table(-0.2)
    gradients = pd.concat([after, after.assign(training="before")])
    for translations, reason in (
        ({"sentences": sentence_table(lambda words: 0.1)}, "seq2seq does not reach 5 BLEU on town-en-de: "),
        ({}, "seq2seq does not reach 5 BLEU on town-en-de, of which it has no translations"),
    ):
        table = judge(study("recurrent-nets-forget", **FORGET), {"gradients": gradients, **translations}, {})
        table = table.set_index("part")
        row = table.loc["seq2seq, gradients after training, town-en-de"]
        assert row.verdict == "inconclusive"
        assert row.reason.startswith(reason)
        # of weights as they were drawn nobody expects a translation
        assert table.loc["seq2seq, gradients before training, town-en-de"].verdict == "supported"


@pytest.mark.parametrize(
    ("expected", "made"),
    [
        ("supported", {"short": 0.95, "long": 0.3}),
        ("refuted", {"short": 0.95, "long": 0.95}),
        ("refuted", {"short": 1.0, "long": 1.0}),
        ("inconclusive", {"short": 0.8, "long": 0.6, "seed_spread": 0.3}),
        ("inconclusive", {"short": 0.95, "long": 0.3, "seeds": 1}),
        # what was never learned cannot be forgotten
        ("inconclusive", {"short": 0.3, "long": 0.03}),
    ],
)
def test_forgetting_is_judged_by_what_is_recalled_after_the_longest_delay(expected, made):
    tables = {"sentences": recall_table(**made)}
    table = judge(study("recurrent-nets-forget", **FORGET, smallest_loss=0.1), tables, {}).set_index("part")
    row = table.loc["seq2seq, recall, recall"]
    assert row.verdict == expected
    assert "beside it, at 31-40: transformer 100%" in row.evidence


def test_each_recurrent_model_is_judged_by_itself_and_the_others_stand_beside():
    gradients = pd.concat([gradient_table(-0.2, models=("RNN",)), gradient_table(0.0, models=("LSTM", "transformer"))])
    names = {"seq2seq": "RNN", "attention-seq2seq": "LSTM"}
    translations = sentence_table(lambda words: 0.5).replace({"model": names})
    table = judge(
        study("recurrent-nets-forget", **FORGET, recurrent=["RNN", "LSTM"], recall="repeat"),
        {"gradients": gradients, "sentences": translations},
        {},
    )
    assert dict(zip(table.part, table.verdict, strict=True)) == {
        "RNN, gradients after training, town-en-de": "supported",
        "LSTM, gradients after training, town-en-de": "refuted",
        "recall": "inconclusive",
    }
    assert "beside it transformer" in table.evidence[0]
    assert "no two delays in the corpus repeat" in table.reason[2]


def test_the_slope_is_that_of_least_squares_with_an_intercept_a_sentence():
    table = gradient_table(-0.1, seeds=2)
    ((*_, seeds, interval),) = slopes(table)
    expected = []
    for _, rows in table.groupby("seed"):
        design = np.column_stack([rows.distance, pd.get_dummies(rows.id).to_numpy(dtype=float)])
        expected.append(np.linalg.lstsq(design, rows.log_norm.to_numpy(), rcond=None)[0][0])
    assert seeds == [1, 2]
    assert interval.value == pytest.approx(np.mean(expected))


def test_the_slopes_interval_over_sentences_is_scipys():
    table = gradient_table(-0.1, seeds=1, noise=3.0)
    ((*_, interval),) = slopes(table)
    far = table.distance - table.groupby("id").distance.transform("mean")
    sums = pd.DataFrame({"xy": far * table.log_norm, "xx": far**2}).groupby(table.id).sum()
    scipys = scipy.stats.bootstrap(
        (sums.xy, sums.xx),
        lambda xy, xx, axis: xy.sum(axis) / xx.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=5000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = scipys.high - scipys.low
    assert interval.low == pytest.approx(scipys.low, abs=0.1 * width)
    assert interval.high == pytest.approx(scipys.high, abs=0.1 * width)


def test_the_loss_is_the_difference_of_the_shares_with_the_spread_of_both():
    tables = {"sentences": recall_table(0.9, 0.5, seed_spread=0.03)}
    row = judge(study("recurrent-nets-forget", **FORGET), tables, {}).set_index("part").loc["seq2seq, recall, recall"]
    own = tables["sentences"].query("model == 'seq2seq'")
    right = (own.bleu_mixed_5 == 1).groupby([own.seed, own.source_words]).mean().unstack()
    differences = right[8] - right[35]
    assert row.value == pytest.approx(differences.mean())
    over_seeds = t_interval(differences)
    # sentences add to the spread over seeds
    assert row.low < over_seeds.low < over_seeds.high < row.high
