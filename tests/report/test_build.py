"""From results to pages: whole, the same each time, escaped, and silent about what may not be passed on."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from lit_nmt import load_results
from lit_nmt.claims import CLAIMS
from lit_nmt.errors import UserError
from lit_nmt.metrics import STATISTICS, is_exact
from lit_nmt.report import verdicts
from lit_nmt.report.build import describe_model, describe_study, report, restore_study
from lit_nmt.report.memory import PROBED, RECALLED, at_each_distance
from lit_nmt.report.overview import summary, warnings
from lit_nmt.report.tables import read_results
from lit_nmt.report.view import View
from lit_nmt.studies import load_study

HERE = Path(__file__).resolve().parents[2]
SECTIONS = ["verdicts", "compared", "quality", "length", "learning", "speed", "examples", "sources"]
SMALL = {"corpora": {"market-en-de": [1, 2]}, "test_sets": ("market",), "sentences": 220, "bins": ((5, 12), (13, 60))}
SECRETS = ["This sentence belongs to nobody", "niemandem"]
STUDIES = sorted(path.stem for path in (HERE / "experiments/studies").glob("*.yaml") if path.stem != "full")
SCRIPT = "</dd><script>document.title='ran'</script>|*x*"


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory, request) -> Path:
    """A folder in which a full report and a published one have been drawn from the same results."""
    folder = tmp_path_factory.mktemp("place")
    made_up = request.getfixturevalue("made_up")
    made_up(folder / "reports/demo/results", hypothesis=f"Der Satz {SCRIPT}", memory=True, **SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        report("demo", Path("reports/demo/results"))
        (folder / "reports/published/demo/figures").mkdir(parents=True)
        (folder / "reports/published/demo/figures/stale.svg").write_text("<svg/>", encoding="utf-8")
        report("demo", Path("reports/demo/results"), publish=True)
    return folder


def test_page_has_every_part_and_asks_for_nothing(place: Path) -> None:
    page = (place / "reports/demo/index.html").read_text(encoding="utf-8")
    for section in (*SECTIONS, "memory"):
        assert f'<section id="{section}"' in page
    loaded = re.findall(r"<(?:script|link|img|iframe|object|use|image)\b[^>]*?(?:src|href)=\"([^\"]*)\"", page)
    assert all(address.startswith(("#", "data:")) for address in loaded)
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)
    identifiers = Counter(re.findall(r'\bid="([^"]*)"', page))
    assert [name for name, times in identifiers.items() if times > 1] == []
    targets = set(re.findall(r'(?:url\(#|href="#)([^)"]*)', page))
    assert targets <= set(identifiers)


def test_markdown_shows_the_same_tables_and_pictures(place: Path) -> None:
    text = (place / "reports/demo/report.md").read_text(encoding="utf-8")
    page = (place / "reports/demo/index.html").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)
    assert len(pictures) == page.count("<svg ")
    assert all((place / "reports/demo" / picture).stat().st_size > 1000 for picture in pictures)
    for title in re.findall(r"<div class=\"table\">\s*<h3>(.*?)</h3>", page):
        assert html.unescape(title) in text


def test_numbers_on_the_page_are_those_of_the_tables(place: Path) -> None:
    scores = read_results(place / "reports/demo/results")["scores"]
    chosen = scores[(scores["bin"] == "all") & (scores["test_set"] == "pooled") & (scores["decoding"] == "beam5")]
    chosen = chosen[chosen["signature"].str.contains("case:mixed") & (chosen["seed"] != "mean")]
    page = (place / "reports/demo/index.html").read_text(encoding="utf-8")
    for bleu in chosen.groupby("model")["bleu"].mean():
        assert f">{bleu:.1f}<" in page


def test_a_claim_unfolds_to_all_that_its_verdict_rests_on(place: Path) -> None:
    page = (place / "reports/demo/index.html").read_text(encoding="utf-8")
    fold = html.unescape(page[page.index("what the verdict rests on") : page.index('<section id="compared"')])
    assert '<use href="#throughput.market-en-de.train"' in fold
    for said in (
        "The Transformer trains on at least 1.1 times as many target tokens a second. (committed as f00d)",
        "<code>smallest_effect</code>: 1.1",
        "The ratio of target tokens per second, Transformer over recurrent model",
        "Vaswani et al. 2017, sections 1 and 4.",
        "On cpu, one thread, 32-true. Tokens are target tokens without padding.",
        *read_results(place / "reports/demo/results")["claims"]["evidence"],
    ):
        assert said in fold
    text = (place / "reports/demo/report.md").read_text(encoding="utf-8")
    assert text.count("figures/throughput.market-en-de.train.png") == 2


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_states_itself_and_its_sources(claim: str) -> None:
    stated, sources, _, _ = verdicts.told(claim)
    assert stated.endswith(".")
    assert sources


@pytest.mark.parametrize(
    ("parts", "own", "shared"),
    [
        (["train, Acme, float32", "decode, Acme, float32"], ["train", "decode"], "Acme, float32"),
        (["time, train, Acme", "path length"], ["time, train, Acme", "path length"], ""),
        (["market, beam5", "market, beam5, long"], ["market, beam5", "market, beam5, long"], ""),
        (["market, beam5"], ["market, beam5"], ""),
    ],
)
def test_what_the_parts_of_a_claim_share_is_said_once(parts: list[str], own: list[str], shared: str) -> None:
    assert verdicts.told_apart(parts) == (own, shared)


def test_figures_are_named_for_claims_that_there_are() -> None:
    assert verdicts.SEEN_IN.keys() <= CLAIMS.keys()


def test_memory_and_operations_are_shown_with_their_numbers(place: Path) -> None:
    page = html.unescape((place / "reports/demo/index.html").read_text(encoding="utf-8"))
    figures = {path.stem for path in (place / "reports/demo/figures").glob("*.svg")}
    assert {"market-en-de.gradients-before", "market-en-de.gradients-after"} <= figures
    assert {name for name in figures if name.startswith("operations.")} == {
        f"operations.{name}"
        for name in ("sequential-training", "sequential-decoding", "path-source-target", "path-target-target")
    }
    assert "Time is one thing, operations that wait for one another are another." in page
    # a slope of -0.3 a subword is a change of -26 %, and the norm is halved in 2.31
    table = page[page.index("how fast gradients vanish") :]
    seq2seq = re.sub(r"<[^>]*>", " ", table[table.index("Seq2seq") : table.index("Attention seq2seq")]).split()
    assert -27 < float(seq2seq[1].replace("\N{MINUS SIGN}", "-")) < -25
    assert "2.3" in seq2seq[5] or "2.3" in seq2seq[6]
    for count in (20 + 5 * 16, 20 + 3 * 16):
        assert f">{count}<" in page


def test_recall_is_shown_where_a_claim_asks_for_it(made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = made_up(tmp_path / "reports/demo/results", memory=True, **{**SMALL, "sentences": 600})
    study = json.loads((results / "study.json").read_text(encoding="utf-8"))
    claim = {"criterion": "a", "smallest_effect": 0.05, "recurrent": ["seq2seq"], "recall": "market-en-de"}
    study["claims"] = {"recurrent-nets-forget": claim}
    (results / "study.json").write_text(json.dumps(study), encoding="utf-8")
    report("demo", Path("reports/demo/results"))
    page = html.unescape((tmp_path / "reports/demo/index.html").read_text(encoding="utf-8"))
    assert (tmp_path / "reports/demo/figures/market-en-de.recall.svg").is_file()
    sentences = read_results(results)["sentences"]
    sentences = sentences[(sentences["model"] == "transformer") & (sentences["decoding"] == "beam5")]
    sentences = sentences[sentences["source_words"].between(5, 12)]
    expected = 100 * is_exact(sentences[list(STATISTICS)].to_numpy()).mean()
    assert 0 < expected < 100
    table = page[page.index("market-en-de: sentences that are right, %") :]
    shown = re.search(r"Transformer</th>\s*<td[^>]*>([^<]*)<", table)
    assert shown is not None
    assert shown[1] == f"{expected:.1f}"
    fold = page[page.index("what the verdict rests on") : page.index('<section id="compared"')]
    assert "Seq2seq, recall, market-en-de" in fold
    for panel in ("gradients-before", "gradients-after", "recall"):
        assert f'<use href="#market-en-de.{panel}"' in fold
    for how in (PROBED, RECALLED):
        assert how in fold


def test_claims_about_the_training_text_have_their_figures(
    made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    corpora = {"market-1k": [1, 2], "market-8k": [1, 2]}
    results = made_up(tmp_path / "reports/demo/results", **{**SMALL, "corpora": corpora, "sentences": 600})
    study = json.loads((results / "study.json").read_text(encoding="utf-8"))
    pairs, caps = {"market-8k": 8000, "market-1k": 1000}, {"market-1k": 12, "market-8k": 60}
    study["claims"] = {
        "transformers-need-more-data": {"criterion": "a", "smallest_effect": 0.5, "pairs": pairs},
        "attention-carries-to-untrained-lengths": {"criterion": "b", "smallest_effect": 0.9, "caps": caps},
    }
    (results / "study.json").write_text(json.dumps(study), encoding="utf-8")
    report("demo", Path("reports/demo/results"))
    page = html.unescape((tmp_path / "reports/demo/index.html").read_text(encoding="utf-8"))
    figures = {path.stem for path in (tmp_path / "reports/demo/figures").glob("*.svg")}
    by_cap = {f"{model}.bleu-by-cap" for model in ("seq2seq", "attention-seq2seq", "transformer")}
    assert {"bleu-by-pairs", "bleu-kept", *by_cap} <= figures
    scores = read_results(results)["scores"]
    scores = scores[scores["signature"].str.contains("case:mixed") & (scores["seed"] == "mean")]
    scores = scores[(scores["decoding"] == "beam5") & (scores["test_set"] == "market")].set_index(
        ["corpus", "model", "bin"]
    )["bleu"]
    table = page[page.index('<section id="training-text"') :]
    assert table.index("1,000 pairs") < table.index("8,000 pairs")
    for corpus in corpora:
        assert f">{scores[corpus, 'transformer', 'all']:.1f}<" in table[: table.index("</table>")]
    by_length = table[table.index("BLEU by cap") :]
    for corpus in corpora:
        assert f">{scores[corpus, 'seq2seq', '13-60']:.1f}<" in by_length[: by_length.index("</table>")]
    fold = page[page.index("what the verdict rests on") : page.index('<section id="compared"')]
    for panel in ("bleu-by-pairs", "bleu-kept", "transformer.bleu-by-cap"):
        assert f'<use href="#{panel}"' in fold


def test_scores_of_other_sentences_are_not_drawn_as_one_curve(
    made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {**SMALL, "corpora": {"market-1k": [1], "market-8k": [1]}, "test_sets": ("market", "harbour")}
    results = made_up(tmp_path / "reports/demo/results", **options)
    study = json.loads((results / "study.json").read_text(encoding="utf-8"))
    pairs = {"market-1k": 1000, "market-8k": 8000}
    study["claims"] = {"transformers-need-more-data": {"criterion": "a", "smallest_effect": 0.5, "pairs": pairs}}
    study["primary"], study["pooled"] = {"test_set": "market", "decoding": "beam5"}, False
    (results / "study.json").write_text(json.dumps(study), encoding="utf-8")
    page, drawn = tmp_path / "reports/demo/index.html", '<section id="training-text"'
    report("demo", Path("reports/demo/results"))
    assert drawn in page.read_text(encoding="utf-8")
    sentences = pd.read_parquet(results / "sentences.parquet")
    lost = (sentences["corpus"] == "market-8k") & (sentences["test_set"] == "market")
    sentences[~lost].to_parquet(results / "sentences.parquet", index=False)
    report("demo", Path("reports/demo/results"))
    assert drawn not in page.read_text(encoding="utf-8")


def test_every_trial_of_the_tuning_is_shown(place: Path) -> None:
    page = (place / "reports/demo/index.html").read_text(encoding="utf-8")
    assert "Two learning rates each, half the budget." in page
    trials = read_results(place / "reports/demo/results").study["tuning"]["trials"]
    for bleu in (bleu for own in trials.values() for bleu in own.values()):
        assert f">{bleu:.1f}<" in page


def test_budgets_are_those_of_each_corpus(made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    corpora = {"market-en-de": [1], "harbour-en-de": [1]}
    results = made_up(tmp_path / "reports/demo/results", throughput=False, **{**SMALL, "corpora": corpora})
    report("demo", results)
    page = Path("reports/demo/report.md").read_text(encoding="utf-8")
    assert "Every run has the same budget, 6\u202fM target tokens, and never" in page
    study = json.loads((results / "study.json").read_text(encoding="utf-8"))
    study["corpora"]["harbour-en-de"]["fit"] = {"data": {"target_tokens": 500000}}
    (results / "study.json").write_text(json.dumps(study), encoding="utf-8")
    report("demo", results)
    page = Path("reports/demo/report.md").read_text(encoding="utf-8")
    budgets = "(6\u202fM target tokens on market-en-de, 500\u202fk target tokens on harbour-en-de)"
    assert f"{budgets}, and never stops early." in page
    runs = pd.read_csv(results / "runs.csv")
    runs.loc[(runs["corpus"] == "harbour-en-de") & (runs["model"] == "seq2seq"), "target_tokens"] = 300000
    runs.to_csv(results / "runs.csv", index=False)
    report("demo", results)
    page = Path("reports/demo/report.md").read_text(encoding="utf-8")
    assert f"{budgets}; on harbour-en-de, between 300\u202fk and " in page
    assert "never stops early" not in page


def test_models_with_fewer_seeds_than_others_are_told(
    made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    failed = (("market-en-de", "seq2seq", 2),)
    report("demo", made_up(tmp_path / "reports/demo/results", throughput=False, failed=failed, **SMALL))
    page = Path("reports/demo/report.md").read_text(encoding="utf-8")
    assert "Few seeds: 1 to 2 seeds a model on market-en-de." in page


def test_hypotheses_are_shown_not_run(place: Path) -> None:
    page = (place / "reports/demo/index.html").read_text(encoding="utf-8")
    assert "<script>document" not in page
    shown = html.unescape(re.sub(r"</?mark>", "", page))
    assert f"Der Satz {SCRIPT}" in shown
    text = (place / "reports/demo/report.md").read_text(encoding="utf-8")
    assert "<script" not in text
    assert r"&lt;/script&gt;\|\*x\*" in text


def test_published_report_holds_no_text_that_may_not_be_passed_on(place: Path) -> None:
    full, published = _bytes(place / "reports/demo"), _bytes(place / "reports/published/demo")
    for secret in SECRETS:
        # The text is really there to be left out, and really left out everywhere.
        assert any(secret.encode() in content for content in full.values())
        assert [name for name, content in published.items() if secret.encode() in content] == []
    page = published["index.html"].decode()
    assert "may not be passed on" in page
    assert "One translated sentence is left out" in page
    assert "./run_all.sh demo" in page
    assert "The old lighthouse" in page
    assert "results/sentences.parquet" in published
    assert {name for name in full if name.startswith("figures/")} == {
        name for name in published if name.startswith("figures/")
    }
    for name in ("results/scores.csv", "results/claims.csv", "figures/market-en-de.bleu-by-length.svg"):
        assert published[name] == full[name]


def test_results_alone_give_the_same_bytes(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = place / "reports/published/demo"
    before = _bytes(published)
    again = tmp_path / "reports/published/demo"
    shutil.copytree(published / "results", again / "results")
    for name in ("scores.csv", "comparisons.csv", "claims.csv"):
        (again / "results" / name).unlink()
    monkeypatch.chdir(tmp_path)
    report("demo", Path("reports/published/demo/results"))
    after = _bytes(again)
    assert after.keys() == before.keys()
    assert [name for name in before if before[name] != after[name]] == []


def test_index_links_every_report(place: Path) -> None:
    page = (place / "reports/index.html").read_text(encoding="utf-8")
    for link in ("demo/index.html", "published/demo/index.html"):
        assert f'href="{link}"' in page
        assert (place / "reports" / link).exists()
    assert 'href="demo/index.html"' in (place / "reports/published/index.html").read_text(encoding="utf-8")


def test_shareable_report_leaves_the_full_one_whole(made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = made_up(tmp_path / "reports/demo/results", throughput=False, **SMALL)
    for path in results.iterdir():
        if path.name not in ("study.json", "examples.jsonl"):
            path.unlink()
    examples = (results / "examples.jsonl").read_bytes()
    report("demo", Path("reports/demo/results"), shareable=True)
    assert (results / "examples.jsonl").read_bytes() == examples
    shareable = tmp_path / "reports/demo/shareable"
    assert SECRETS[0] not in (shareable / "index.html").read_text(encoding="utf-8")
    assert SECRETS[0] not in (shareable / "results/examples.jsonl").read_text(encoding="utf-8")


def test_fewer_runs_are_not_published_over_more(made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made_up(tmp_path / "reports/demo/results", throughput=False, **SMALL)
    report("demo", Path("reports/demo/results"), publish=True)
    before = _bytes(tmp_path / "reports/published/demo")
    made_up(tmp_path / "reports/demo/results", throughput=False, **{**SMALL, "corpora": {"market-en-de": [2]}})
    with pytest.raises(UserError, match="three runs would be lost, as market-en-de attention-seq2seq 1; take"):
        report("demo", Path("reports/demo/results"), publish=True)
    assert _bytes(tmp_path / "reports/published/demo") == before


def test_scores_of_translations_that_are_gone_are_gone(made_up, tmp_path: Path) -> None:
    results = made_up(tmp_path / "demo/results", throughput=False, **SMALL)
    report("demo", results)
    assert (results / "scores.csv").is_file()
    (results / "sentences.parquet").unlink()
    report("demo", results)
    assert not (results / "scores.csv").exists()
    assert "translates best" not in (tmp_path / "demo/report.md").read_text(encoding="utf-8")


def test_runs_that_are_trained_and_not_translated_are_told(made_up, tmp_path: Path) -> None:
    results = made_up(tmp_path / "demo/results", throughput=False, **SMALL)
    sentences = pd.read_parquet(results / "sentences.parquet")
    sentences[sentences["seed"] == 1].to_parquet(results / "sentences.parquet")
    report("demo", results)
    text = (tmp_path / "demo/report.md").read_text(encoding="utf-8")
    assert "Three runs trained, but not translated yet." in text
    assert "Few seeds: one seed a model on market-en-de." in text


def test_a_shareable_report_drawn_again_still_says_that_nothing_was_left_out(
    made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = made_up(tmp_path / "reports/demo/results", throughput=False, **SMALL)
    for path in results.iterdir():
        if path.name != "study.json":
            path.unlink()
    report("demo", Path("reports/demo/results"), publish=True)
    published = tmp_path / "reports/published/demo"
    before = _bytes(published)
    assert before["results/left_out.json"] == b"{}\n"
    report("demo", Path("reports/published/demo/results"))
    assert _bytes(published) == before


def test_models_that_still_learn_at_the_end_are_told_at_the_top(made_up, tmp_path: Path) -> None:
    results = made_up(tmp_path / "results", throughput=False, **SMALL)
    told = "Still learning on market-en-de"
    assert not [text for text in warnings(View.of(read_results(results))) if told in text]
    curves = pd.read_csv(results / "curves.csv")
    # half of its validations, so that its curve ends where it still rises
    early = (curves["model"] == "transformer") & (curves["step"] > 10 * 150)
    curves[~early].to_csv(results / "curves.csv", index=False)
    (text,) = [text for text in warnings(View.of(read_results(results))) if told in text]
    own = curves[~early & (curves["model"] == "transformer")].groupby("step")["validation_bleu"].mean()
    gain, end = own.iloc[-1] - own.iloc[-3], own.iloc[-1]
    assert f"in the last 20 % of the budget validation BLEU rose, of Transformer by {gain:.1f} to {end:.1f}." in text


@pytest.mark.parametrize(("more", "told"), [(0.5, "inside"), (30, "outside")])
def test_what_was_published_is_told_with_how_far_it_is(place: Path, more: float, told: str) -> None:
    view = View.of(read_results(place / "reports/demo/results"))
    own = view.ranking("market-en-de").set_index("model").loc["transformer", "bleu"]
    assert "published" not in " ".join(summary(view))
    view.results.study["primary"] = {"published": {"transformer": own + more}}
    (said,) = re.findall(r"Of Transformer .*? has been published: .*?interval", " ".join(summary(view)))
    assert f"{own + more:.2f} has" in said
    assert f"a difference of {more:.1f}, {told} the 95 % interval" in said


def test_a_curve_of_gradients_is_that_of_the_average_sentence() -> None:
    # the norm falls by a tenth a word in each sentence; the longer, the larger it is
    lengths = [10] * 6 + [20] * 6
    rows = pd.DataFrame(
        [(place, d, 0.3 * n - 0.1 * d) for place, n in enumerate(lengths) for d in range(1, n)],
        columns=["id", "distance", "log_norm"],
    )
    curve = at_each_distance(rows)
    assert curve["x"].tolist() == list(range(1, 20))
    expected = (0.3 * 15 - 0.1 * curve["x"]) / math.log(10)
    assert curve["y"].to_numpy() == pytest.approx(expected.to_numpy())
    # sentences that are long, and large, alone reach far
    assert not rows.groupby("distance")["log_norm"].mean().is_monotonic_decreasing
    assert at_each_distance(rows[rows["id"] < 4]).empty
    # others that share no distance with these cannot be set against them
    apart = pd.DataFrame([(100 + n, d, -9.0) for n in range(5) for d in (50, 51)], columns=rows.columns)
    pd.testing.assert_frame_equal(at_each_distance(pd.concat([apart, rows])), curve)


def test_failed_runs_and_missing_measurements_are_said_in_their_place(
    made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = made_up(
        tmp_path / "reports/demo/results",
        throughput=False,
        failed=(("market-en-de", "transformer", 1),),
        **{**SMALL, "corpora": {"market-en-de": [1]}, "sentences": 40},
    )
    study = json.loads((results / "study.json").read_text(encoding="utf-8"))
    study["planned"].append(["market-en-de", "transformer", 2])
    (results / "study.json").write_text(json.dumps(study), encoding="utf-8")
    report("demo", Path("reports/demo/results"))
    page = html.unescape((tmp_path / "reports/demo/index.html").read_text(encoding="utf-8"))
    assert "One run failed: Transformer on market-en-de, seed 1 (error: the loss is not finite at step 812)." in page
    assert "2 of 4 planned runs have finished" in page
    assert "Throughput has not been measured yet" in page
    assert "Few seeds: one seed a model" in page
    assert "nan" not in re.sub(r"<[^>]*>", " ", page).lower().split()


def test_lengths_may_be_shown_on_a_test_set_of_their_own_and_settings_without_trials(
    made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = made_up(
        tmp_path / "reports/demo/results",
        throughput=False,
        **{**SMALL, "sentences": 400, "test_sets": ("market", "harbour")},
    )
    study = json.loads((results / "study.json").read_text(encoding="utf-8"))
    study["primary"] = {"test_set": "market", "lengths": "harbour"}
    study["tuning"] = {"note": "Taken over from another corpus."}
    (results / "study.json").write_text(json.dumps(study), encoding="utf-8")
    report("demo", results)
    page = html.unescape((tmp_path / "reports/demo/index.html").read_text(encoding="utf-8"))
    assert "Tuning: Taken over from another corpus." in page
    assert "BLEU on market, beam 5, cased" in page
    assert "Harbour, beam 5; corpus scores of the sentences in each bin" in page
    scores = read_results(results)["scores"]
    chosen = scores[(scores["model"] == "transformer") & (scores["seed"] != "mean") & (scores["decoding"] == "beam5")]
    chosen = chosen[chosen["signature"].str.contains("case:mixed") & (chosen["bin"] == "5-12")]
    means = chosen.groupby("test_set")["bleu"].mean()
    assert means["market"] != means["harbour"]
    assert f">{means['harbour']:.1f}<small>" in page
    assert f">{means['market']:.1f}<small>" not in page


def test_sentences_that_models_cut_are_told_at_the_top(
    made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = made_up(tmp_path / "reports/demo/results", throughput=False, **SMALL)
    provenance = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    for run in provenance["runs"]:
        training, test = {}, {}
        if run["model"] != "transformer":
            training = {"sentences": 29000, "sources": 1234, "targets": 5}
            test = {"sentences": 220, "sources": 3, "targets": 4}
        run |= {"cut": training, "translations": {"market.beam5": {"cut": test}, "other.beam5": {"cut": training}}}
    (results / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    report("demo", Path("reports/demo/results"))
    page = html.unescape((tmp_path / "reports/demo/index.html").read_text(encoding="utf-8"))
    assert (
        "Too long for Seq2seq and Attention seq2seq, and cut: on market-en-de, 1,234 of 29,000 sources and 5 targets "
        "of the training text and 3 of 220 sources and 4 targets of market."
    ) in page
    assert page.count("Too long for") == 1


@pytest.mark.parametrize("kept", [(), ("throughput.csv",), ("runs.csv", "curves.csv")])
def test_any_part_may_be_missing(
    made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    results = made_up(tmp_path / "reports/demo/results", **SMALL)
    for path in results.iterdir():
        if path.name not in (*kept, "study.json"):
            path.unlink()
    report("demo", Path("reports/demo/results"))
    page = (tmp_path / "reports/demo/index.html").read_text(encoding="utf-8")
    assert all(f'<section id="{section}"' in page for section in SECTIONS)
    assert '<section id="memory"' not in page
    assert page.count('class="missing"') >= 3


def test_a_study_that_only_measures_has_no_empty_parts(
    made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = made_up(tmp_path / "reports/demo/results", **SMALL)
    for path in results.iterdir():
        if path.name not in ("throughput.csv", "study.json"):
            path.unlink()
    study = json.loads((results / "study.json").read_text(encoding="utf-8"))
    (results / "study.json").write_text(json.dumps({**study, "planned": []}), encoding="utf-8")
    rows = pd.read_csv(results / "throughput.csv")
    speed = ["tokens_per_second", "low", "high"]
    rows.loc[rows["model"] == "transformer", speed] *= 1.5
    faster = rows.assign(threads=2, **{name: rows[name] * 1.75 for name in speed})
    both = pd.concat([rows, faster])
    single = both[(both["phase"] == "train") & both["source_length"].notna()].assign(phase="train-single")
    pd.concat([both, single]).to_csv(results / "throughput.csv", index=False)
    report("demo", Path("reports/demo/results"))
    page = (tmp_path / "reports/demo/index.html").read_text(encoding="utf-8")
    assert re.findall(r'<section id="(\w+)"', page) == ["verdicts", "compared", "speed", "sources"]
    assert 'class="missing"' not in page
    text = (tmp_path / "reports/demo/report.md").read_text(encoding="utf-8")
    assert "| Transformer | Vaswani et al. 2017 | hidden dim 64, tied | 4\N{NARROW NO-BREAK SPACE}M |" in text
    assert "### Against sentence length, two threads" in text
    assert "### A sentence at a time, two threads" in text
    assert "figures/throughput2.train-single-by-length.png" in text
    scaling = text.split("### Tokens a second, two threads over one thread")[1].split("###")[0]
    assert scaling.count("| Transformer | 1.75 | 1.75 | 1.75 | 1.75 | 1.75 | 1.75 |") == 3
    assert scaling.count("| Transformer | \N{EN DASH} | 1.75 | 1.75 | 1.75 | 1.75 | 1.75 |") == 1
    verdicts = pd.read_csv(results / "claims.csv")
    assert verdicts["part"].is_unique
    assert verdicts["part"].str.contains(", 2 threads, ").sum() == len(verdicts) / 2
    report("demo", Path("reports/demo/results"))
    assert "measured, not trained" in (tmp_path / "reports/index.html").read_text(encoding="utf-8")


def test_mistakes_are_told(made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        report("demo", Path("elsewhere"))
    results = made_up(tmp_path / "reports/demo/results", **SMALL)
    with pytest.raises(UserError, match="holds results of the study demo, not other"):
        report("other", results)
    (results / "runs.csv").write_text("parameters\nmany\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"runs.csv: column parameters"):
        report("demo", results)
    (results / "runs.csv").unlink()
    (results / "study.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"study.json: not JSON"):
        report("demo", results)


@pytest.mark.parametrize("name", STUDIES)
def test_shipped_studies_survive_the_way_through_json(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    study = load_study(name)
    content = json.loads(json.dumps(describe_study(study)))
    restored = restore_study(content, Path("study.json"))
    for field in (
        "bins",
        "comparisons",
        "claims",
        "primary",
        "pooled",
        "corpora",
        "models",
        "decodings",
        "bench",
        "probe",
    ):
        assert getattr(restored, field) == getattr(study, field)
    assert restored.name == study.name
    assert len(content["planned"]) == len(study.runs)


def test_a_model_is_described_without_importing_it() -> None:
    init_args = {"dim": 64, "heads": 2, "dropout": 0.1, "learning_rate": 1e-3}
    described = describe_model({"class_path": "lit_nmt.models.transformer.Transformer", "init_args": init_args})
    assert described["built"] == {"dim": 64, "heads": 2}
    assert described["title"] == "Transformer"
    assert "1706.03762" in described["paper"]
    nowhere = {"class_path": "nowhere.to.be.Found"}
    assert describe_model(nowhere) == {**nowhere, "built": {}}


def test_reports_never_import_torch() -> None:
    code = "import sys, lit_nmt.report.build; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=HERE, check=False).returncode == 0


def test_study_without_results_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(HERE / "experiments", tmp_path / "experiments")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="lit-nmt score tiny"):
        report("tiny")


@pytest.fixture
def whole(made_up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reports of a study of two others, one of which has been measured and the other not begun."""
    shutil.copytree(HERE / "experiments", tmp_path / "experiments")
    both = tmp_path / "experiments/studies/both.yaml"
    both.write_text(
        "title: Two in one\nquestion: How?\nincludes: [tiny, quick]\nnot_judged: [Whales translate better.]\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    measured = made_up(tmp_path / "made", name="tiny", **SMALL)
    bench = tmp_path / "runs/bench/tiny"
    bench.mkdir(parents=True)
    shutil.copy(measured / "throughput.csv", bench)
    probe = tmp_path / "runs/probe/tiny"
    probe.mkdir(parents=True)
    made_up(tmp_path / "probed", memory=True, **SMALL)
    shutil.copy(tmp_path / "probed/gradients.parquet", probe)
    report("both")
    return tmp_path / "reports"


def test_report_of_studies_copies_what_was_measured_and_links_them(whole: Path) -> None:
    copied = pd.read_csv(whole / "tiny/results/throughput.csv")
    assert len(copied) == len(pd.read_csv("runs/bench/tiny/throughput.csv"))
    probed = Path("runs/probe/tiny/gradients.parquet")
    assert (whole / "tiny/results/gradients.parquet").read_bytes() == probed.read_bytes()
    page = (whole / "tiny/index.html").read_text(encoding="utf-8")
    assert "A smoke test of every stage" in page
    assert "synthetic-tiny: no translations have been scored yet" in page
    assert 'href="../tiny/index.html"' in (whole / "both/index.html").read_text(encoding="utf-8")
    assert "](../tiny/report.md)" in (whole / "both/report.md").read_text(encoding="utf-8")
    index = (whole / "index.html").read_text(encoding="utf-8")
    assert "both/index.html" in index
    assert "tiny/index.html" in index
    assert "made of tiny and quick, verdicts: " in index


def test_the_whole_opens_with_every_verdict_linked_to_its_evidence(whole: Path) -> None:
    page = html.unescape((whole / "both/index.html").read_text(encoding="utf-8"))
    verdicts = read_results(whole / "tiny/results")["claims"]
    assert len(verdicts) > 3
    assert (
        page.index('<section id="verdicts"') < page.index('<section id="open"') < page.index('<section id="studies"')
    )
    assert page.count('href="../tiny/index.html#claim-constant-time"') == len(verdicts)
    assert 'id="claim-constant-time"' in (whole / "tiny/index.html").read_text(encoding="utf-8")
    for row in verdicts.itertuples():
        assert row.part[1:] in page
        assert f"Criterion of {row.study}: {row.criterion}" in page
    text = (whole / "both/report.md").read_text(encoding="utf-8")
    glance = re.sub(r"\*\*", "", text[text.index("At a glance") : text.index('<a id="claim-constant-time"></a>')])
    for statistic, measured in verdicts.groupby("statistic")["verdict"]:
        counts = [str(n or "–") for n in ((measured == v).sum() for v in ("supported", "refuted", "inconclusive"))]
        assert f"{statistic[1:]}](#claim-constant-time) | {' | '.join(counts)} |" in glance
    assert text.index("At a glance") < text.index('<a id="claim-constant-time"></a>')
    assert text.count("](../tiny/report.md#claim-constant-time)") == len(verdicts)
    assert '<a id="claim-constant-time"></a>' in (whole / "tiny/report.md").read_text(encoding="utf-8")
    assert len(load_results(whole / "both")["claims"]) == len(verdicts)


def test_a_shareable_whole_is_made_of_shareable_parts(whole: Path) -> None:
    report("both", shareable=True)
    shareable = whole / "both/shareable"
    claims = pd.read_csv(shareable / "results/claims.csv")
    assert list(claims["part"]) == list(pd.read_csv(whole / "both/results/claims.csv")["part"])
    page = (shareable / "index.html").read_text(encoding="utf-8")
    assert 'href="../../tiny/shareable/index.html"' in page
    assert 'href="../../index.html">lit_nmt' in page
    assert "../index.html" not in page.replace("../../index.html", "")


def test_one_damaged_report_does_not_keep_others_from_being_drawn(whole: Path) -> None:
    (whole / "tiny/results/examples.jsonl").write_text('{"cut": ', encoding="utf-8")
    report("both", whole / "both/results")
    assert "Two in one" in (whole / "index.html").read_text(encoding="utf-8")


def test_the_whole_lists_what_is_not_judged_or_not_there(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = html.unescape((whole / "both/index.html").read_text(encoding="utf-8"))
    opened = page[page.index('<section id="open"') : page.index('<section id="studies"')]
    assert "Whales translate better." in opened
    for claim, (_, function) in CLAIMS.items():
        first = " ".join((function.__doc__ or "").split("\n\n")[0].split())
        assert (first in opened) == (claim != "constant-time")
        assert first in page
    assert "Not there yet: Three architectures on a synthetic language." in page
    assert "../quick/" not in page
    report("both")
    assert "reports/quick/results: no results yet; both goes without" in capsys.readouterr().err


def test_the_whole_can_be_drawn_again_from_its_results(whole: Path, tmp_path: Path) -> None:
    before = _bytes(whole / "both")
    for path in (whole / "both").glob("*.*"):
        path.unlink()
    report("both", whole / "both/results")
    assert _bytes(whole / "both") == before
