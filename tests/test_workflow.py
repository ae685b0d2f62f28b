"""The whole suite, small: from a corpus to a page, what is done again and what is not, and what goes wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from checkout import Checkout, without_network

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow"), pytest.mark.timeout(1800)]

SCORES = "study corpus model seed test_set decoding bin sentences bleu bleu_low bleu_high chrf length_ratio signature"
RUNS = (
    "study corpus model seed status stopped_by parameters target_tokens train_seconds tokens_per_second "
    "best_validation_loss best_validation_bleu peak_memory_bytes device threads precision commit"
)
THROUGHPUT = (
    "model phase corpus source_length tokens_per_second low high windows sentences_per_second peak_memory_bytes "
    "flops_per_token utilisation padding_share outside_share parameters device threads precision"
)
CLAIMS = "claim part study verdict statistic value low high criterion criterion_commit paper evidence reason"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def stamps(folder: Path, *patterns: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for pattern in patterns for path in sorted(folder.glob(pattern))}


def edit(path: Path, **changes: object) -> Path:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False), encoding="utf-8")
    return path


def test_the_report_and_its_tables_are_there(tiny_study: Checkout) -> None:
    report = tiny_study.folder / "reports/tiny"
    for name in ("index.html", "report.md", "results/curves.csv", "results/sentences.parquet"):
        assert (report / name).stat().st_size > 0
    for name, columns in (("scores", SCORES), ("runs", RUNS), ("throughput", THROUGHPUT), ("claims", CLAIMS)):
        rows = rows_of(report / f"results/{name}.csv")
        assert rows, name
        missing = [column for column in columns.split() if column not in rows[0]]
        assert not missing, name
    assert {row["status"] for row in rows_of(report / "results/runs.csv")} == {"finished"}
    assert (report / "results/gradients.parquet").stat().st_size > 0
    assert {row["model"] for row in rows_of(report / "results/operations.csv")} == {"attention-seq2seq", "transformer"}
    scored = {(row["model"], row["decoding"]) for row in rows_of(report / "results/scores.csv")}
    models = {"attention-seq2seq", "transformer"}
    assert scored == {(model, decoding) for model in models for decoding in ("greedy", "beam2")}


def test_all_of_it_ran_with_the_network_cut(tiny_study: Checkout) -> None:
    if not without_network():
        pytest.skip("this system lets no process have a network of its own (unshare)")
    asked = tiny_study.run("python", "-c", "import socket; print([name for _, name in socket.if_nameindex()])")
    assert asked.stdout == "['lo']\n"


def test_a_run_holds_what_others_rely_on(tiny_study: Checkout) -> None:
    for folder in tiny_study.folder.glob("runs/synthetic-tiny/*/seed1"):
        names = {path.name for path in folder.iterdir()}
        assert {"config.yaml", "metrics.csv", "fit.json", "checkpoints", "translations"} <= names
        assert (folder / "checkpoints/best.ckpt").stat().st_size > 0
        translated = (folder / "translations/test.beam2.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["id"] for line in translated] == list(range(len(translated)))


def test_a_second_call_trains_nothing_and_changes_nothing(tiny_study: Checkout) -> None:
    patterns = ("data/**/*", "runs/**/*", "reports/**/*")
    before = stamps(tiny_study.folder, *patterns)
    again = tiny_study.run("./run_all.sh", "tiny")
    assert again.returncode == 0, again.stderr
    assert "2 runs: 2 finished, 0 to train" in again.stdout
    assert "fit " not in again.stdout
    assert stamps(tiny_study.folder, *patterns) == before
    planned = tiny_study.run("./run_all.sh", "--dry-run", "tiny")
    assert "Would run now: nothing, everything is there" in planned.stdout


def test_new_bins_need_no_training_and_no_decoding(tiny_study: Checkout) -> None:
    study = tiny_study.folder / "experiments/studies/tiny.yaml"
    before = study.read_text(encoding="utf-8")
    try:
        edit(study, bins=[[5, 10], [11, 60]], title="Other bins")
        planned = tiny_study.run("./run_all.sh", "--dry-run", "tiny").stdout
        assert planned.splitlines()[-1] == "Would run now: 1 x score, 1 x report"
    finally:
        study.write_text(before, encoding="utf-8")


def test_what_is_deleted_is_made_again_and_nothing_else(tiny_study: Checkout) -> None:
    fits = stamps(tiny_study.folder, "runs/**/fit.json", "runs/**/*.jsonl")
    page = tiny_study.folder / "reports/tiny/index.html"
    content = page.read_text(encoding="utf-8")
    page.unlink()
    again = tiny_study.run("./run_all.sh", "tiny")
    assert again.returncode == 0, again.stderr
    assert page.read_text(encoding="utf-8") == content
    assert stamps(tiny_study.folder, "runs/**/fit.json", "runs/**/*.jsonl") == fits


def test_a_loss_that_explodes_is_reported_in_its_place(tiny_study: Checkout, tmp_path: Path) -> None:
    """Beside a run that `tiny` has trained, which is not trained again."""
    fits = stamps(tiny_study.folder, "runs/**/fit.json")
    source = yaml.safe_load((tiny_study.folder / "experiments/studies/tiny.yaml").read_text(encoding="utf-8"))
    good = source["models"]["transformer"]
    bad = {"base": "transformer", "init_args": {**good["init_args"], "learning_rate": 1e38, "warmup_steps": 0}}
    content = {
        **{key: value for key, value in source.items() if key not in ("bench", "baseline", "comparisons", "claims")},
        "models": {"transformer": good, "exploding": bad},
    }
    study = tmp_path / "a fragile study" / "fragile.yaml"
    study.parent.mkdir()
    study.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = tiny_study.run(str(tiny_study.folder / "run_all.sh"), "fragile.yaml", cwd=study.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = {row["model"]: row for row in rows_of(tiny_study.folder / "reports/fragile/results/runs.csv")}
    assert runs["transformer"]["status"] == "finished"
    assert runs["exploding"]["status"] == "failed"
    assert runs["exploding"]["stopped_by"].startswith("error")
    assert (tiny_study.folder / "reports/fragile/index.html").is_file()
    assert fits.items() <= stamps(tiny_study.folder, "runs/**/fit.json").items()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tyni"], 'no study "tyni"'),
        (["missing.yaml"], "missing.yaml: no such study"),
        (["--profile", "moon", "tiny"], 'no profile "moon"'),
        (["--profile", "tests", "tiny"], "no config.yaml in the profile"),
        (["tiny", "quick"], "one study at a time"),
        (["--fast", "tiny"], "unknown option --fast"),
    ],
)
def test_a_mistake_ends_before_anything_runs(tiny_study: Checkout, arguments: list[str], message: str) -> None:
    before = stamps(tiny_study.folder, "*", "runs/**/*", "data/**/*", "reports/**/*")
    done = tiny_study.run("./run_all.sh", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert stamps(tiny_study.folder, "*", "runs/**/*", "data/**/*", "reports/**/*") == before
