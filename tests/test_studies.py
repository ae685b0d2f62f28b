"""Studies: what a YAML means, which folder a run has, and how mistakes are told."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lit_nmt import status, studies
from lit_nmt.configuration import StrictDumper, StrictLoader, build, merge, read_yaml
from lit_nmt.errors import UserError
from lit_nmt.studies import PlannedRun, Study, load_study, write_plan

ROOT = Path(__file__).parents[1]

CORPUS = {
    "data": {
        "corpus": {
            "languages": ["qta", "qor"],
            "source": "qta",
            "target": "qor",
            "splits": {
                "train": {"kind": "synthetic", "pairs": 100},
                "validation": {"kind": "synthetic", "pairs": 10},
                "test_a": {"kind": "synthetic", "pairs": 10},
                "test_b": {"kind": "synthetic", "pairs": 10},
            },
        }
    }
}
MODEL = {"model": {"class_path": "lit_nmt.models.seq2seq.Seq2Seq", "init_args": {"dim": 32, "dropout": 0.1}}}
STUDY: dict[str, Any] = {
    "title": "A study",
    "corpora": {"words": None, "words-short": {"base": "words", "overrides": {"filters": {"max_words": 9}}}},
    "models": {"plain": None, "reversed": {"base": "plain", "init_args": {"reverse_source": True}}},
    "seeds": [1, 2],
    "fit": {"trainer": {"precision": "32-true"}, "data": {"target_tokens": 1000}},
    "bins": [[5, 10], [11, 20]],
    "comparisons": [["plain", "reversed"]],
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with one corpus and one model."""
    monkeypatch.chdir(tmp_path)
    write("experiments/corpora/words.yaml", CORPUS)
    write("experiments/models/plain.yaml", MODEL)
    return tmp_path


def write(path: str, content: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")


def study(**changes: Any) -> Study:
    write("experiments/studies/words-study.yaml", {**STUDY, **changes})
    return load_study("words-study")


def run_of(planned: Study, corpus: str = "words", model: str = "plain", seed: int = 1) -> PlannedRun:
    (found,) = (r for r in planned.runs if (r.corpus, r.model, r.seed) == (corpus, model, seed))
    return found


def test_runs_are_the_product_of_corpora_models_and_seeds(checkout: Path) -> None:
    runs = study().runs
    assert {(run.corpus, run.model, run.seed) for run in runs} == {
        (corpus, model, seed)
        for corpus in ("words", "words-short")
        for model in ("plain", "reversed")
        for seed in (1, 2)
    }
    assert len({run.folder for run in runs}) == len(runs)


def test_a_corpus_may_have_seeds_of_its_own(checkout: Path) -> None:
    runs = study(corpora={"words": {"seeds": [7]}, "words-short": STUDY["corpora"]["words-short"]}).runs
    assert {run.seed for run in runs if run.corpus == "words"} == {7}
    assert {run.seed for run in runs if run.corpus == "words-short"} == {1, 2}


def test_a_model_may_be_trained_with_some_of_the_seeds(checkout: Path) -> None:
    models = {**STUDY["models"], "plain": {**(STUDY["models"]["plain"] or {}), "seeds": [2, 5]}}
    planned = study(models=models, bench={"lengths": [8]})
    assert {run.seed for run in planned.runs if run.model == "plain"} == {2}
    assert {run.seed for run in planned.runs if run.model == "reversed"} == {1, 2}
    assert [(run.model, run.seed) for run in planned.benched_runs()] == [("plain", 2), ("reversed", 1)]
    models["plain"]["seeds"] = [5]
    with pytest.raises(UserError, match=r"seeds of plain: \[5\] found, none of which a corpus has"):
        study(models=models)


def test_a_study_may_measure_models_without_training_them(checkout: Path) -> None:
    bench = {"lengths": [8], "threads": [1, 2]}
    trained, measured = study(bench=bench), study(seeds=[], bench=bench)
    assert measured.runs == []
    assert [run.model for run in measured.benched_runs()] == list(STUDY["models"])
    assert [run.folder for run in measured.benched_runs()] == [run.folder for run in trained.benched_runs()]
    assert {run.folder for run in trained.benched_runs()} < {run.folder for run in trained.runs}
    assert [run.corpus for run in measured.benched_runs("words-short")] == ["words-short"] * 2
    assert (measured.bench_corpus, measured.bench_threads, trained.threads) == ("words", 2, 1)
    with pytest.raises(UserError, match=r'bench: no corpus "word".*did you mean "words"'):
        measured.benched_runs("word")


def test_the_configuration_merges_corpus_model_variant_and_study(checkout: Path) -> None:
    run = run_of(study(), "words-short", "reversed", 2)
    assert run.config["seed_everything"] == 2
    assert run.config["threads"] == 1
    assert run.config["model"]["class_path"] == MODEL["model"]["class_path"]
    assert run.config["model"]["init_args"] == {"dim": 32, "dropout": 0.1, "reverse_source": True}
    assert run.config["data"]["target_tokens"] == 1000
    assert run.config["data"]["corpus"]["name"] == "words-short"
    assert run.config["data"]["corpus"]["filters"]["max_words"] == 9
    assert run.config["trainer"]["precision"] == "32-true"
    assert run.config["trainer"]["default_root_dir"] == str(run.folder)


def test_a_run_lies_in_a_folder_of_corpus_model_digest_and_seed(checkout: Path) -> None:
    parts = run_of(study(), "words", "reversed", 2).folder.parts
    assert parts[:2] == ("runs", "words")
    assert parts[2].startswith("reversed-")
    assert len(parts[2]) == len("reversed-") + 8
    assert parts[3] == "seed2"


def test_a_corpus_may_have_a_budget_of_its_own(checkout: Path) -> None:
    long = {"fit": {"data": {"target_tokens": 5000}}}
    models = {**STUDY["models"], "reversed": {"base": "plain", "fit": {"data": {"target_tokens": 7000}}}}
    planned = study(corpora={"words": long, "words-short": STUDY["corpora"]["words-short"]}, models=models)
    found = {(run.corpus, run.model): run.config["data"]["target_tokens"] for run in planned.runs}
    assert found == {
        ("words", "plain"): 5000,
        ("words-short", "plain"): 1000,
        ("words", "reversed"): 7000,
        ("words-short", "reversed"): 7000,
    }
    with pytest.raises(UserError, match=r"corpora\.words\.fit\.data\.target_tokens: found a whole number 0"):
        study(corpora={"words": {"fit": {"data": {"target_tokens": 0}}}})


def test_seeds_share_a_digest_and_what_else_differs_does_not(checkout: Path) -> None:
    before = run_of(study()).folder
    assert run_of(study(), seed=2).folder.parent == before.parent
    for change in (
        {"threads": 2},
        {"fit": {**STUDY["fit"], "data": {"target_tokens": 2000}}},
        {"fit": {**STUDY["fit"], "trainer": {"precision": "bf16-mixed"}}},
        {"models": {"plain": {"init_args": {"dim": 64}}, "reversed": {"base": "plain"}}},
    ):
        assert run_of(study(**change)).folder.parent != before.parent, change
    write(
        "experiments/corpora/words.yaml",
        merge(CORPUS, {"data": {"corpus": {"subwords": {"vocabulary_size": 99}}}}),
    )
    assert run_of(study()).folder.parent != before.parent


def test_what_is_only_about_presentation_moves_no_run(checkout: Path) -> None:
    before = [run.folder for run in study().runs]
    changed = study(title="Another", question="Why?", bins=[[1, 9]], decodings=["beam5"], estimate_minutes=3)
    assert [run.folder for run in changed.runs] == before
    assert changed.digest() != study().digest()


def test_studies_that_agree_share_a_run(checkout: Path) -> None:
    first = run_of(study())
    write("elsewhere/other.yaml", {**STUDY, "title": "Other", "seeds": [1]})
    assert run_of(load_study("elsewhere/other.yaml")) == first


def test_the_order_of_keys_means_nothing(checkout: Path) -> None:
    before = [run.folder for run in study().runs]
    shuffled = {"model": dict(reversed(MODEL["model"].items()))}
    shuffled["model"]["init_args"] = dict(reversed(MODEL["model"]["init_args"].items()))
    write("experiments/models/plain.yaml", yaml.safe_dump(shuffled, sort_keys=False))
    assert [run.folder for run in study().runs] == before


def test_test_sets_are_the_corpus_s_unless_the_study_chooses(checkout: Path) -> None:
    assert study().test_sets_of("words") == ["test_a", "test_b"]
    assert run_of(study(test_sets=["test_b"])).test_sets == ["test_b"]
    with pytest.raises(UserError, match=r"test_sets: no corpus .* has test_c"):
        _ = study(test_sets=["test_b", "test_c"]).runs
    with pytest.raises(UserError, match=r"primary\.lengths: no corpus .* has test_c"):
        _ = study(primary={"lengths": "test_c"}).runs
    splits = {"train": {"kind": "synthetic", "pairs": 9}, "validation": {"kind": "synthetic", "pairs": 9}}
    own = {**CORPUS["data"]["corpus"], "splits": {**splits, "test_c": {"kind": "synthetic", "pairs": 9}}}
    write("experiments/corpora/other.yaml", {"data": {"corpus": own}})
    with pytest.raises(UserError, match=r"test_sets: other has none of these; add one of its own: test_c"):
        _ = study(corpora={"words": None, "other": None}, test_sets=["test_a"]).runs
    assert study(primary={"test_set": "test_a"}).primary.length_set == "test_a"
    assert study(primary={"test_set": "test_a", "lengths": "test_b"}).primary.length_set == "test_b"


def test_a_study_may_include_others(checkout: Path) -> None:
    study()
    write("experiments/studies/all.yaml", {"title": "All", "includes": ["words-study"]})
    whole = load_study("all")
    assert [part.name for part in whole.parts] == ["words-study"]
    assert whole.runs == []
    assert [part.name for part in study().parts] == ["words-study"]


def test_the_plan_is_written_once_and_again_only_where_it_changed(checkout: Path) -> None:
    planned = study()
    write_plan(planned)
    files = [run.config_file for run in planned.runs] + [studies.corpus_file(name) for name in planned.corpora]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert read_yaml(planned.runs[0].config_file) == planned.runs[0].config
    write_plan(study(title="Another"))
    assert {path: path.stat().st_mtime_ns for path in files} == before
    files[0].write_text("title: by hand\n", encoding="utf-8")
    write_plan(planned)
    assert read_yaml(files[0]) == planned.runs[0].config


def test_the_written_corpus_is_the_study_s_corpus(checkout: Path) -> None:
    planned = study()
    write_plan(planned)
    for name, config in planned.corpus_configs.items():
        assert studies.load_corpus_config(str(studies.corpus_file(name))) == config


MISTAKES = {
    "unknown key": ({"sedes": [1]}, r'unknown key "sedes"; did you mean "seeds"\?'),
    "no title": ({"title": None}, r"title: found nothing, expected text"),
    "no seeds": ({"seeds": []}, r"seeds: none for corpus words"),
    "a seed twice": ({"seeds": [1, 1]}, r"seeds of words: 1 is given twice"),
    "a seed that is a word": ({"seeds": ["one"]}, r"seeds\[0\]: found text 'one', expected a whole number"),
    "a seed that is true": (
        {"seeds": [True]},
        r"seeds\[0\]: found true or false True, expected a whole number",
    ),
    "a negative seed": ({"seeds": [-1]}, r"seeds of words: found -1, expected 0 or more"),
    "seeds not listed": ({"seeds": 5}, r"seeds: found a whole number 5, expected a list"),
    "no time": ({"cluster": {"hours": 0}}, r"cluster\.hours: found 0, expected more than 0"),
    "no corpora": ({"corpora": {}}, r"corpora: nothing there"),
    "no models": ({"models": {}}, r"models: nothing there"),
    "models listed": ({"models": ["plain"]}, r"models: found a list of 1, expected keys with values"),
    "unknown key of a model": ({"models": {"plain": {"dim": 3}}}, r'models\.plain: unknown key "dim"'),
    "a name with a slash": ({"models": {"a/b": {"base": "plain"}}}, r'models: "a/b" becomes a folder'),
    "threads": ({"threads": 0}, r"threads: found 0, expected 1 or more"),
    "decoding": ({"decodings": ["beem5"]}, r'decodings: found "beem5", expected greedy or beam'),
    "decoding twice": ({"decodings": ["beam5", "beam5"]}, r"decodings: beam5 is given twice"),
    "primary": ({"decodings": ["greedy"]}, r'primary\.decoding: "beam5" is not among the decodings'),
    "case": ({"primary": {"case": "upper"}}, r"primary: case: found text 'upper', expected mixed or lc"),
    "bins upside down": ({"bins": [[10, 5]]}, r"bins: found \[10, 5\]"),
    "bins that overlap": ({"bins": [[5, 10], [10, 20]]}, r"bins: one ends at 10 and the next begins at 10"),
    "a bin of three": ({"bins": [[5, 10, 15]]}, r"bins\[0\]: found a list of 3, expected a list of 2"),
    "comparison": ({"comparisons": [["plain", "plane"]]}, r'no model "plane" .*did you mean "plain"'),
    "baseline": ({"baseline": "none"}, r'baseline: no model "none"'),
    "bench corpus": ({"bench": {"corpus": "sentences"}}, r'bench\.corpus: no corpus "sentences"'),
    "bench threads": ({"bench": {"threads": [0]}}, r"bench\.threads: found 0, expected 1 or more"),
    "bench device": ({"bench": {"device": "gpu"}}, r"bench\.device: found 'gpu', expected auto, cpu or cuda"),
    "nothing to do": ({"seeds": []}, r"seeds: none for corpus words; add for example `seeds: \[1, 2\]`, or `bench`"),
    "bench key": ({"bench": {"length": [3]}}, r'bench: unknown key "length"; did you mean "lengths"'),
    "probe corpus": ({"probe": {"corpus": "wordz"}}, r'probe\.corpus: no corpus "wordz" .*did you mean "words"'),
    "probe test set": ({"probe": {"test_set": "test_c"}}, r'probe\.test_set: words has no test set "test_c"'),
    "probe sentences": ({"probe": {"sentences": 0}}, r"probe\.sentences: found 0, expected 1 or more"),
    "probe words": ({"probe": {"words": [9, 3]}}, r"probe\.words: found \[9, 3\]"),
    "claim without criterion": (
        {"claims": {"constant-time": {"smallest_effect": 1}}},
        r'claims\.constant-time: .*"criterion"',
    ),
    "claim without effect": (
        {"claims": {"constant-time": {"criterion": "x"}}},
        r'claims\.constant-time: .*"smallest_effect"',
    ),
    "claims of other studies": ({"not_judged": ["x"]}, r"not_judged: belongs to a study that includes others"),
    "includes and corpora": ({"includes": ["words-study"]}, r"includes other studies"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line_with_file_and_key(checkout: Path, mistake: str) -> None:
    changes, message = MISTAKES[mistake]
    with pytest.raises(UserError, match=message) as caught:
        study(**changes)
    assert "\n" not in str(caught.value)
    assert "experiments/studies/words-study.yaml" in str(caught.value)


def test_devices_and_machines_of_a_run(checkout: Path) -> None:
    run = study(threads=3, fit={"trainer": {"devices": 4, "num_nodes": 2, "accelerator": "gpu"}}).runs[0]
    assert (run.threads, run.devices, run.nodes, run.accelerator) == (3, 4, 2, "gpu")
    run = study(cluster={"memory_gib": 64, "hours": 0.5}).runs[0]
    assert (run.threads, run.devices, run.nodes, run.accelerator) == (1, 1, 1, "auto")
    assert (run.cluster.memory_gib, run.cluster.hours) == (64, 0.5)
    assert run.folder == study().runs[0].folder, "what a cluster is asked for is no part of a run's name"
    for found in ("auto", -1, 0, [0, 1], True):
        with pytest.raises(
            UserError, match=r"words-study\.yaml: trainer\.devices of \w+: found .*, expected 1 or more"
        ):
            _ = study(fit={"trainer": {"devices": found}}).runs


def test_names_that_lead_nowhere(checkout: Path) -> None:
    study()
    with pytest.raises(UserError, match=r'no study "words-stud" .*did you mean "words-study"'):
        load_study("words-stud")
    with pytest.raises(UserError, match=r"missing\.yaml: no such study"):
        load_study("missing.yaml")
    with pytest.raises(UserError, match=r'no model "plane" .*did you mean "plain"'):
        _ = study(models={"plane": None}, comparisons=[]).runs
    with pytest.raises(UserError, match="wordz"):
        _ = study(corpora={"wordz": None}).runs
    write("experiments/models/plain.yaml", {"model": {"init_args": {}}})
    with pytest.raises(UserError, match=r"plain\.yaml: no model\.class_path"):
        _ = study().runs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: a\ntitle: b\n", 'line 2: .*"title" is given twice'),
        ("title: [a\n", "not valid YAML"),
        ("- a\n- b\n", "found a list of 2, expected keys with values"),
        ("just words\n", "found text 'just words'"),
        ("", 'the key "title" is missing'),
        ("title: !!python/object:os.system x\n", "not valid YAML"),
        ("? [a, b]\n: c\n", "not valid YAML"),
    ],
)
def test_files_that_are_no_study(checkout: Path, text: str, message: str) -> None:
    write("broken.yaml", text)
    with pytest.raises(UserError, match=message) as caught:
        load_study("broken.yaml")
    assert str(caught.value).startswith("broken.yaml")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text(checkout: Path) -> None:
    Path("broken.yaml").write_bytes("title: Größe".encode("latin-1"))
    with pytest.raises(UserError, match=r"broken\.yaml: byte 9 is not UTF-8"):
        load_study("broken.yaml")
    Path("folder.yaml").mkdir()
    with pytest.raises(UserError, match=r"folder\.yaml"):
        load_study("folder.yaml")


# Not the line ends of Unicode, which YAML folds.
words = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=12,
)
mappings = st.dictionaries(words, plain, max_size=4)


like_yaml = st.text("ab:[]{}&*!|>'\"#-?,~%@`\\.0123456789 \n\t", max_size=60)
anything = (
    st.binary(max_size=60) | like_yaml.map(str.encode) | mappings.map(lambda content: yaml.safe_dump(content).encode())
)


@given(anything)
@settings(deadline=None, max_examples=300)
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(content)
    told = str(path)
    try:
        build(Study, read_yaml(path), str(path))
    except UserError as error:
        told = str(error)
    assert told.startswith(str(path))


def places(content: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in plain values: the keys and numbers that lead to each."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [above, *(place for key, value in inner for place in places(value, (*above, key)))]


@st.composite
def spoilt(draw: st.DrawFn, content: dict[str, Any]) -> dict[str, Any]:
    """Plain values of which one or two are others, gone, or have company."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 2))):
        *above, last = draw(st.sampled_from([place for place in places(content) if place] or [("new",)]))
        inner: Any = content
        for key in above:
            inner = inner[key]
        what = draw(st.sampled_from(["other", "gone", "company"]))
        if what == "gone" and inner:
            del inner[last]
        elif what == "other" or not isinstance(inner, dict):
            inner[last] = draw(plain | st.floats())
        else:
            inner[draw(words)] = draw(plain)
    return content


WHOLE = {
    **STUDY,
    "threads": 1,
    "test_sets": ["test_a"],
    "decodings": ["greedy", "beam5"],
    "baseline": "plain",
    "primary": {"test_set": "test_a", "decoding": "greedy"},
    "tuning": {"note": "none", "trials": {"plain": {"learning rate 1e-3": 1.5}}},
    "claims": {"constant-time": {"criterion": "none", "smallest_effect": 0.1}},
    "bench": {"lengths": [8], "phases": ["train"], "max_seconds": 5.0},
}


@given(spoilt(WHOLE), spoilt(CORPUS), spoilt(MODEL), st.sampled_from(["study", "corpus", "model"]))
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_study_that_is_spoilt_anywhere_is_planned_or_refused(
    checkout: Path, of_study: dict[str, Any], of_corpus: dict[str, Any], of_model: dict[str, Any], which: str
) -> None:
    contents = {"study": WHOLE, "corpus": CORPUS, "model": MODEL, which: locals()[f"of_{which}"]}
    files = {"study": "studies/words-study", "corpus": "corpora/words", "model": "models/plain"}
    for name, content in contents.items():
        write(f"experiments/{files[name]}.yaml", content)
    told = "planned"
    try:
        planned = load_study("words-study")
        for run in planned.runs:
            assert run.config["model"]["class_path"]
            status.describe(run, status.read_status(run))
        write_plan(planned)
    except UserError as error:
        told = str(error)
    assert told


@given(mappings)
def test_what_is_written_reads_back_the_same(content: dict[str, Any]) -> None:
    assert yaml.load(yaml.dump(content, Dumper=StrictDumper, allow_unicode=True), StrictLoader) == content


@given(mappings, mappings)
def test_merging_takes_the_second_and_changes_neither(base: dict[str, Any], over: dict[str, Any]) -> None:
    before = copy.deepcopy((base, over))
    merged = merge(base, over)
    assert (base, over) == before
    assert merge(merged, over) == merged
    assert set(merged) == set(base) | set(over)
    for key, value in over.items():
        if not (isinstance(value, dict) and isinstance(base.get(key), dict)):
            assert merged[key] == value


def test_numbers_and_words_are_read_as_people_mean_them(tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text("rate: 1e-3\nlanguages: [no, en, on]\nis_on: true\nday: 2026-11-22\n", encoding="utf-8")
    expected = {"rate": 1e-3, "languages": ["no", "en", "on"], "is_on": True, "day": "2026-11-22"}
    assert read_yaml(path) == expected


@pytest.mark.parametrize("path", sorted((ROOT / "experiments/studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_studies_plan_their_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for part in load_study(path.stem).parts:
        assert part.runs or part.benched_runs()
        assert part.question
        assert part.estimate_minutes
        assert all(run.test_sets for run in part.runs)


@pytest.mark.parametrize("path", sorted((ROOT / "experiments/models").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_models_are_fragments(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert studies.read_model(path.stem)["model"]["class_path"]
