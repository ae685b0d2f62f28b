"""`lit-nmt score`: from run folders to the tables of a report."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sacrebleu.metrics import BLEU, CHRF

from lit_nmt import cli, scoring
from lit_nmt.errors import UserError
from lit_nmt.evaluation import score_table
from lit_nmt.metrics import STATISTICS
from lit_nmt.scoring import score
from lit_nmt.studies import load_study

WORDS = ["Wheel", "mill", "stone", "river", "grain", "Flour", "night", "sacks", "donkey", "road"]
SEPARATORS = "a\u2028b\u0085c\x0cd"
TEST_SETS = {"market": 40, "harbour": 30}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of two models with two seeds, in a folder of its own: three runs finished, one failed."""
    monkeypatch.chdir(tmp_path)
    files = {
        "corpora/town.yaml": {
            "data": {
                "corpus": {
                    "name": "town",
                    "languages": ["de", "en"],
                    "source": "en",
                    "target": "de",
                    "redistribute": True,
                    "splits": {name: {"kind": "files"} for name in ("train", "validation", *TEST_SETS)},
                }
            }
        },
        **{f"models/{name}.yaml": {"model": {"class_path": f"made.up.{name}"}} for name in ("plain", "fancy")},
        "studies/trial.yaml": {
            "title": "Trial",
            "corpora": {"town": None},
            "models": {"plain": None, "fancy": None},
            "seeds": [1, 2],
            "bins": [[5, 10], [11, 20]],
            "decodings": ["greedy", "beam5"],
            "primary": {"test_set": "pooled"},
            "pooled": True,
        },
    }
    for name, content in files.items():
        path = Path("experiments", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    generator = np.random.default_rng(11)
    texts = {name: [sentence(generator) for _ in range(size)] for name, size in TEST_SETS.items()}
    loaded = load_study("trial")
    for run in loaded.runs:
        finish(run.folder, failed=(run.model, run.seed) == ("fancy", 2))
        if (run.model, run.seed) == ("fancy", 2):
            continue
        for test_set, lines in texts.items():
            for decoding in ("greedy", "beam5"):
                rows = [translation(place, *pair, generator) for place, pair in enumerate(lines)]
                write_translations(run.folder, test_set, decoding, rows)
    return loaded


def sentence(generator):
    source = " ".join(generator.choice(WORDS, size=generator.integers(5, 21)))
    return source, source.replace("mill", "Mühle").replace("night", SEPARATORS)


def translation(place, source, reference, generator):
    hypothesis = " ".join(word for word in reference.split(" ") if generator.random() > 0.2)
    return {
        "id": place,
        "source": source,
        "reference": reference,
        "hypothesis": hypothesis,
        "score": -0.5,
        "source_words": len(source.split()),
    }


def write_translations(folder, test_set, decoding, rows):
    path = folder / "translations" / f"{test_set}.{decoding}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps({"sentences_per_second": 12.5, "device": "cpu"}))


def read_translations(folder, test_set, decoding):
    text = (folder / "translations" / f"{test_set}.{decoding}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def finish(folder, failed=False):
    folder.mkdir(parents=True)
    outcome = {"status": "finished", "stopped_by": "budget", "parameters": 1000, "target_tokens": 6000}
    if failed:
        outcome = {"status": "failed", "stopped_by": "error: loss is not finite", "parameters": 1000}
    outcome |= {
        "device": "cpu",
        "threads": 1,
        "precision": "32-true",
        "commit": "c0ffee",
        "versions": {"torch": "2"},
    }
    (folder / "fit.json").write_text(json.dumps(outcome))
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed_everything": 1, "model": {"init_args": {"dim": 64}}}))
    (folder / "metrics.csv").write_text(
        "step,target_tokens,train_seconds,validation_loss,validation_bleu,train_loss,learning_rate\n"
        "10,1000,1.5,,,4.0,0.001\n10,1000,1.6,3.5,12.5,,\n20,2000,3.1,3.0,15.5,,\n"
    )


def test_the_counts_give_sacrebleus_score_of_every_file(study):
    score("trial")
    sentences = pd.read_parquet(study.results_folder / "sentences.parquet")
    first = ["corpus", "model", "seed", "test_set", "decoding", "id", "source_words", "score"]
    assert list(sentences.columns) == [*first, *STATISTICS]
    assert len(sentences) == 3 * 2 * sum(TEST_SETS.values())
    table = score_table(sentences, study.bins, study="trial", pooled=True)
    for run in study.runs[:3]:
        for test_set in TEST_SETS:
            for decoding in study.decodings:
                rows = read_translations(run.folder, test_set, decoding)
                hypotheses, references = ([row[side] for row in rows] for side in ("hypothesis", "reference"))
                of = table[(table.model == run.model) & (table.seed == str(run.seed)) & (table.bin == "all")]
                of = of[(of.test_set == test_set) & (of.decoding == decoding)]
                cased, lower = of.iloc[0], of.iloc[1]
                assert cased.bleu == BLEU().corpus_score(hypotheses, [references]).score
                assert lower.bleu == BLEU(lowercase=True).corpus_score(hypotheses, [references]).score
                assert cased.chrf == CHRF().corpus_score(hypotheses, [references]).score


def test_failed_and_missing_runs_have_a_row_and_stop_nothing(study):
    missing = study.runs[0]
    (missing.folder / "fit.json").unlink()
    score("trial")
    runs = pd.read_csv(study.results_folder / "runs.csv")
    assert list(runs.columns) == [
        *("study", "corpus", "model", "seed", "status", "stopped_by", "parameters", "target_tokens"),
        *("train_seconds", "tokens_per_second", "best_validation_loss", "best_validation_bleu"),
        *("peak_memory_bytes", "device", "threads", "precision", "commit"),
    ]
    status = {(row.model, row.seed): (row.status, row.stopped_by) for row in runs.itertuples()}
    assert status["fancy", 2] == ("failed", "error: loss is not finite")
    assert status[missing.model, missing.seed][0] == "missing"
    # while it trains its curve is not set beside those of others
    curves = pd.read_csv(study.results_folder / "curves.csv")
    assert curves[(curves.model == missing.model) & (curves.seed == missing.seed)].empty
    assert status["fancy", 1] == ("finished", "budget")
    # whole numbers stay whole beside empty cells
    assert ",1000,6000," in (study.results_folder / "runs.csv").read_text()
    systems = pd.read_parquet(study.results_folder / "sentences.parquet")[["model", "seed"]].drop_duplicates()
    assert len(systems) == 2


def test_no_run_at_all_gives_empty_tables_with_their_columns(study):
    for run in study.runs:
        (run.folder / "fit.json").unlink()
    score("trial")
    sentences = pd.read_parquet(study.results_folder / "sentences.parquet")
    assert len(sentences) == 0
    assert score_table(sentences, study.bins, study="trial").empty
    assert len(pd.read_csv(study.results_folder / "runs.csv")) == 4


def test_curves_hold_the_validations(study):
    score("trial")
    curves = pd.read_csv(study.results_folder / "curves.csv")
    assert len(curves) == 2 * 4
    own = curves[(curves.model == "plain") & (curves.seed == 1)]
    assert own.target_tokens.tolist() == [1000, 2000]
    assert own.train_seconds.tolist() == [1.6, 3.1]
    assert own.validation_bleu.tolist() == [12.5, 15.5]


def test_provenance_says_where_every_run_came_from(study):
    score("trial")
    provenance = json.loads((study.results_folder / "provenance.json").read_text())
    assert len(provenance["runs"]) == 4
    run = provenance["runs"][0]
    assert run["config"]["model"]["init_args"] == {"dim": 64}
    assert run["command"] == f"lit-nmt fit --config {study.runs[0].folder}/fit.yaml"
    assert run["versions"] == {"torch": "2"}
    assert run["translations"]["market.beam5"]["sentences_per_second"] == 12.5
    assert "case:lc" in provenance["signatures"]["lc"]
    assert "eff:yes" in provenance["signatures"]["sentence"]


def test_examples_are_all_sentences_as_one_run_of_each_model_translates_them(study):
    kept = {"id": 7, "source": ["Wheel"], "target": ["Rad", SEPARATORS], "weights": [[90, 10], [80, 20], [0, 100]]}
    path = study.runs[0].folder / "translations" / "market.beam5.attention.jsonl"
    path.write_text(json.dumps(kept, ensure_ascii=False) + "\n", encoding="utf-8")
    score("trial")
    text = (study.results_folder / "examples.jsonl").read_text(encoding="utf-8")
    examples = pd.DataFrame([json.loads(line) for line in text.split("\n") if line])
    assert examples.redistribute.all()
    assert set(examples.groupby("model").seed.agg(lambda seeds: tuple(set(seeds)))) == {(1,)}
    assert set(examples.decoding) == {"beam5"}
    ids = examples.groupby(["model", "test_set"]).id.agg(list)
    for model in ("plain", "fancy"):
        for test_set, size in TEST_SETS.items():
            assert ids[model, test_set] == list(range(size))
    assert examples.reference.str.contains(SEPARATORS, regex=False).any()
    attended = examples[examples.attention.notna()]
    assert attended[["model", "test_set", "id"]].to_numpy().tolist() == [["plain", "market", 7]]
    assert attended.attention.item() == {key: kept[key] for key in ("source", "target", "weights")}
    for row in examples.sample(10, random_state=1).itertuples():
        bleu, chrf = BLEU(effective_order=True), CHRF()
        assert row.bleu == pytest.approx(bleu.sentence_score(row.hypothesis, [row.reference]).score, abs=0.01)
        assert row.chrf == pytest.approx(chrf.sentence_score(row.hypothesis, [row.reference]).score, abs=0.01)


def test_sentences_that_may_be_shown_are_shown_whole_and_not_scored(study):
    before = {(run.corpus, run.model, run.seed): run.folder for run in study.runs}
    path = Path("experiments/corpora/town.yaml")
    content = yaml.safe_load(path.read_text())
    own = [{"en": f"The mill stands still {number}", "de": f"Die Mühle steht still {number}"} for number in range(20)]
    content["data"]["corpus"]["redistribute"] = False
    content["data"]["corpus"]["splits"]["examples"] = {"kind": "inline", "sentences": own}
    path.write_text(yaml.safe_dump(content))
    for run in load_study("trial").runs:
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        before[run.corpus, run.model, run.seed].rename(run.folder)
        rows = [translation(n, pair["en"], pair["de"], np.random.default_rng(n)) for n, pair in enumerate(own)]
        write_translations(run.folder, "examples", "beam5", rows)
    score("trial")
    text = (study.results_folder / "examples.jsonl").read_text(encoding="utf-8")
    examples = pd.DataFrame([json.loads(line) for line in text.split("\n") if line])
    assert (examples.redistribute == (examples.test_set == "examples")).all()
    shown = examples[examples.test_set == "examples"].groupby("model").id.agg(list)
    assert shown.to_dict() == {"plain": list(range(20)), "fancy": list(range(20))}
    sentences = pd.read_parquet(study.results_folder / "sentences.parquet")
    assert set(sentences.test_set) == set(TEST_SETS)


def test_scoring_twice_gives_the_same_bytes(study):
    score("trial")
    before = {path.name: path.read_bytes() for path in study.results_folder.iterdir()}
    score("experiments/studies/trial.yaml")
    after = {path.name: path.read_bytes() for path in study.results_folder.iterdir()}
    assert before.keys() == {
        "sentences.parquet",
        "runs.csv",
        "curves.csv",
        "provenance.json",
        "examples.jsonl",
    }
    assert before == after


def test_what_tells_that_all_is_there_is_written_last(study, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(scoring, "write_json", stopped)  # that of provenance.json
    with pytest.raises(KeyboardInterrupt):
        score("trial")
    assert (study.results_folder / "examples.jsonl").exists()
    assert not (study.results_folder / "sentences.parquet").exists()


def test_a_run_that_lacks_a_translation_is_told_and_left_out(study, capsys):
    run = study.runs[0]
    for decoding in ("greedy", "beam5"):
        (run.folder / "translations" / f"market.{decoding}.jsonl").unlink()
    score("trial")
    path = run.folder / "translations" / "market.greedy.jsonl"
    assert f"{path} and 1 more are missing; the report leaves this run out" in capsys.readouterr().err
    sentences = pd.read_parquet(study.results_folder / "sentences.parquet")
    assert len(sentences) == 2 * 2 * sum(TEST_SETS.values())
    assert (run.model, run.seed) not in set(zip(sentences["model"], sentences["seed"], strict=True))


def test_runs_that_translated_another_text_are_refused_before_anything_is_written(study):
    run = study.runs[1]
    rows = read_translations(run.folder, "market", "beam5")
    rows[3]["reference"] = "another sentence"
    write_translations(run.folder, "market", "beam5", rows)
    with pytest.raises(UserError, match=r"market\.beam5\.jsonl: 40 sentences, not those of .*market\.greedy\.jsonl"):
        score("trial")
    assert not study.results_folder.exists()


def test_a_broken_translation_file_is_named_with_its_line(study):
    path = study.runs[0].folder / "translations" / "market.beam5.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join([*lines[:4], '{"id": 4, "source": "cut of']), encoding="utf-8")
    with pytest.raises(UserError, match=r"market\.beam5\.jsonl, line 5: no translation"):
        score("trial")


def test_a_broken_attention_file_is_named_with_its_line(study):
    path = study.runs[0].folder / "translations" / "market.beam5.attention.jsonl"
    path.write_text('{"id": 4, "source": []}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"market\.beam5\.attention\.jsonl, line 1: no attention"):
        score("trial")


def test_runs_that_ended_elsewhere_are_taken_over(study, capsys):
    score("trial")
    whole = tables(study.results_folder)
    shutil.copytree(study.results_folder, "elsewhere")
    for run in study.runs:
        if (run.model, run.seed) == ("plain", 2):
            shutil.rmtree(run.folder)
        if (run.model, run.seed) == ("fancy", 2):
            (run.folder / "fit.json").unlink()  # begun here and not ended
        if (run.model, run.seed) == ("plain", 1):
            shutil.rmtree(run.folder / "translations")  # trained here as well, and not translated
    assert cli.main(["score", "trial", "--also", "elsewhere"]) == 0
    assert "3 of 4 runs" in capsys.readouterr().out
    joined = tables(study.results_folder)
    assert {name: len(table) for name, table in joined.items()} == {name: len(table) for name, table in whole.items()}
    for name, table in joined.items():
        assert sorted(table) == sorted(whole[name]), name
    # what has been configured otherwise is another run, which takes no other's place
    Path("experiments/models/plain.yaml").write_text(yaml.safe_dump({"model": {"class_path": "made.up.other"}}))
    with pytest.raises(UserError, match=r"plain-.*was trained with another configuration"):
        score("trial", Path("elsewhere"))


def test_text_that_is_here_stays_beside_results_without(study):
    """A published folder holds the first seeds without text, but for sentences that every report may show."""
    score("trial")
    shutil.copytree(study.results_folder, "elsewhere")
    text = Path("elsewhere/examples.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.split("\n")[:-1]]
    shown = [{**row, "test_set": "examples", "source": "The mill."} for row in rows if row["test_set"] == "market"]
    Path("elsewhere/examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shown), encoding="utf-8")
    Path("elsewhere/left_out.json").write_text(json.dumps({"town": 60}), encoding="utf-8")
    first = [run for run in study.runs if run.seed == 1]
    for run in first:
        shutil.rmtree(run.folder)
    score("trial", Path("elsewhere"))
    examples = (study.results_folder / "examples.jsonl").read_text(encoding="utf-8")
    found = {(row["model"], row["seed"], row["test_set"]) for row in map(json.loads, examples.split("\n")[:-1])}
    assert found >= {("plain", 2, "market"), ("plain", 1, "examples"), ("fancy", 1, "examples")}
    told = study.results_folder / "left_out.json"
    assert not told.exists()
    # with no text here it is still told how much is left out, and no longer once there is some
    shutil.copytree("runs", "kept")
    shutil.rmtree("runs")
    score("trial", Path("elsewhere"))
    assert json.loads(told.read_text(encoding="utf-8")) == {"town": 60}
    shutil.copytree("kept", "runs")
    score("trial", Path("elsewhere"))
    assert not told.exists()


def test_runs_with_other_subwords_are_refused(study):
    for number, run in enumerate(study.runs[:2]):
        record = json.loads((run.folder / "fit.json").read_text(encoding="utf-8"))
        (run.folder / "fit.json").write_text(json.dumps({**record, "subwords_digest": f"{number}"}))
    with pytest.raises(UserError, match="trained with other subwords than runs/town/plain"):
        score("trial")


def test_other_text_elsewhere_is_refused(study):
    score("trial")
    shutil.copytree(study.results_folder, "elsewhere")
    sentences = pd.read_parquet("elsewhere/sentences.parquet")
    sentences.loc[sentences.test_set == "market", "bleu_mixed_1"] += 1
    sentences.to_parquet("elsewhere/sentences.parquet")
    shutil.rmtree(next(run.folder for run in study.runs if (run.model, run.seed) == ("plain", 2)))
    with pytest.raises(UserError, match="elsewhere: its runs translated other sentences"):
        score("trial", Path("elsewhere"))
    Path("nothing").mkdir()
    with pytest.raises(UserError, match="nothing: found no results of a study, expected those of trial"):
        score("trial", Path("nothing"))


def tables(folder):
    """Every table of a results folder as lines."""
    sentences = pd.read_parquet(folder / "sentences.parquet").to_csv(index=False).splitlines()
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    return {
        "sentences": sentences,
        "runs": [json.dumps(run, sort_keys=True) for run in provenance["runs"]],
        **{name: (folder / name).read_bytes().split(b"\n") for name in ("runs.csv", "examples.jsonl")},
        "curves": [",".join(map(str, row)) for row in pd.read_csv(folder / "curves.csv").itertuples(index=False)],
    }


def test_a_study_of_studies_scores_each(study):
    Path("experiments/studies/whole.yaml").write_text(yaml.safe_dump({"title": "Whole", "includes": ["trial"]}))
    score("whole")
    assert (study.results_folder / "sentences.parquet").is_file()
