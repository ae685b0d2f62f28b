"""The verb `report`: from a study's results to its pages, the same bytes each time.

Results come from `score` and `bench`; with `--from` from a results folder alone, without runs, corpora or the
study's YAML. A shareable report holds no text of corpora that may not be passed on.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lit_nmt.claims import criterion_commits, judge
from lit_nmt.code import arguments, parsed
from lit_nmt.configuration import build
from lit_nmt.errors import UserError
from lit_nmt.evaluation import comparison_table, score_table
from lit_nmt.files import replacing, write_json, write_text
from lit_nmt.report import words
from lit_nmt.report.content import Report
from lit_nmt.report.overview import make_report
from lit_nmt.report.page import Entry, render_html, render_index, render_markdown
from lit_nmt.report.tables import (
    COLUMNS,
    Results,
    copy_file,
    read_object,
    read_results,
    read_table,
    write_table,
)
from lit_nmt.report.whole import make_whole
from lit_nmt.studies import REPORTS, Study, load_study

PUBLISHED = REPORTS / "published"
SHAREABLE = "shareable"
MEASURED = ("throughput.csv", "environment.json", "operations.csv", "gradients.parquet")
"""What `lit-nmt bench` and `lit-nmt probe` write."""
COPIED = ("study.json", "provenance.json", "sentences.parquet", "runs.csv", "curves.csv", *MEASURED)
_UNPRINTABLE = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127), "\N{REPLACEMENT CHARACTER}")
EXTRA = ("name", "planned", "corpus_details", "model_details", "criterion_commits")
"""Keys of study.json that no study YAML has."""


def report(study: str, from_: Path | None = None, shareable: bool = False, publish: bool = False) -> None:
    """Draws a study's pages and tables: reports/STUDY/index.html, report.md, figures and results.

    Args:
        study: the name of a study in experiments/studies, or the path of a study YAML.
        from_: draw from this results folder alone; its report is made again in the folder above it.
        shareable: leave out the text of corpora that may not be passed on; written to reports/STUDY/shareable.
        publish: a shareable report, written to reports/published/STUDY to be committed.
    """
    if from_ is not None:
        name = Path(study).stem if study.endswith((".yaml", ".yml")) else study
        folder = Path(from_)
        known = read_results(folder).study
        if known.get("name") != name:
            raise UserError(
                f"{folder}: holds results of the study {known.get('name')}, not {name}; name that study or folder"
            )
        home = folder.parent if folder.name == "results" else REPORTS / name
        destination = _destination(name, home, shareable, publish)
        if known.get("includes"):
            for file in ("study.json", "claims.csv"):
                copy_file(folder / file, destination / "results" / file)
            _draw(make_whole(read_results(destination / "results")), destination)
        else:
            _make(folder, destination, shareable or publish)
    else:
        loaded = load_study(study)
        for part in loaded.parts:
            if loaded.includes and not _measured(part) and not _scored(part):
                print(f"lit-nmt: {part.results_folder}: no results yet; {loaded.name} goes without", file=sys.stderr)
                continue
            _gather(part)
            destination = _destination(part.name, part.report_folder, shareable, publish)
            _make(part.results_folder, destination, shareable or publish)
        if loaded.includes:
            destination = _destination(loaded.name, loaded.report_folder, shareable, publish)
            folders = [_destination(part.name, part.report_folder, shareable, publish) for part in loaded.parts]
            _gather_parts(loaded, folders, destination)
            _draw(make_whole(read_results(destination / "results")), destination)
    # What is published changes only when something is published.
    for top in [REPORTS, *([PUBLISHED] if PUBLISHED in destination.parents else [])]:
        write_text(top / "index.html", render_index("Reports", _entries(top)))


def _destination(name: str, home: Path, shareable: bool, publish: bool) -> Path:
    if publish:
        return PUBLISHED / name
    # Beside the full report, whose results must stay whole; a shareable one is made again in its place.
    already = (home / "results" / "left_out.json").exists()
    return home / SHAREABLE if shareable and not already else home


def _gather(study: Study) -> None:
    """Completes a study's results folder by what no other stage writes: the study itself, and what was measured."""
    folder, measured = study.results_folder, _measured(study)
    if not measured and not _scored(study):
        raise UserError(
            f"{folder}: no results of the study {study.name}, expected sentences.parquet or throughput.csv; run "
            f"`lit-nmt score {study.name}` or `lit-nmt bench {study.name}` first"
        )
    for path in measured:
        copy_file(path, folder / path.name)
    write_json(folder / "study.json", describe_study(study))


def _measured(study: Study) -> list[Path]:
    paths = [place / name for place in (study.bench_folder, study.probe_folder) for name in MEASURED]
    return [path for path in paths if path.is_file()]


def _scored(study: Study) -> bool:
    return any((study.results_folder / name).exists() for name in ("sentences.parquet", *MEASURED))


def describe_study(study: Study) -> dict[str, Any]:
    """A study as plain values from which `restore_study` makes it again, and what else its pages say of it."""
    content = {field.name: _plain(getattr(study, field.name)) for field in dataclasses.fields(study) if field.init}
    runs = [*study.benched_runs(), *study.runs]
    details = {}
    for name in study.corpora:
        config = study.corpus_config(name)
        details[name] = {
            "source": config.source,
            "target": config.target,
            "redistribute": config.redistribute,
        }
    return {
        "name": study.name,
        **content,
        "planned": [[run.corpus, run.model, run.seed] for run in study.runs],
        "corpus_details": details,
        "model_details": {run.model: describe_model(run.config["model"]) for run in runs},
        "criterion_commits": criterion_commits(study),
    }


def restore_study(content: dict[str, Any], place: Path) -> Study:
    """The study of a study.json; its path is only a name."""
    study = build(Study, {key: value for key, value in content.items() if key not in EXTRA}, str(place))
    study.path = Path(f"{content['name']}.yaml")
    return study


def describe_model(model: dict[str, Any]) -> dict[str, Any]:
    """A model's class, how it is built, and its `title` and `paper`.

    Read from the source of its class, since importing it would import torch.

    Args:
        model: `class_path` and `init_args`; what every model takes (`TranslationModule`), but for `dim`, is left out.
    """
    class_path = model["class_path"]
    common = (arguments("lit_nmt.models.translation.TranslationModule") or frozenset()) - {"dim"}
    built = {key: value for key, value in (model.get("init_args") or {}).items() if key not in common}
    found: dict[str, Any] = {"class_path": class_path, "built": built}
    file_and_class = parsed(class_path)
    for line in file_and_class[1].body if file_and_class else []:
        target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
        value = getattr(line, "value", None)
        if isinstance(target, ast.Name) and target.id in ("title", "paper") and isinstance(value, ast.Constant):
            found[target.id] = str(value.value)
    return found


def _make(source: Path, destination: Path, shareable: bool) -> None:
    """Computes the tables of a results folder, writes all of them to `destination`, and draws the pages."""
    results = read_results(source)
    place = source / "study.json"
    if not results.study:
        raise UserError(f"{place}: not there; expected the study itself, written by `lit-nmt report` beside runs")
    study = restore_study(results.study, place)
    folder = destination / "results"
    if PUBLISHED in destination.parents:
        _check_nothing_is_lost(results["runs"], folder)
    for name in COPIED:
        if (source / name).exists():
            copy_file(source / name, folder / name)
    _write_examples(results, folder, shareable)
    sentences = results["sentences"]
    if len(sentences):
        scores = score_table(sentences, study.bins, study=study.name, pooled=study.pooled)
        write_table(folder / "scores.csv", scores)
        pairs = study.comparisons or _against(study)
        compared = comparison_table(sentences, pairs, study.bins, study=study.name, pooled=study.pooled)
        write_table(folder / "comparisons.csv", compared)
    else:
        for name in ("scores.csv", "comparisons.csv"):
            (folder / name).unlink(missing_ok=True)
    tables = {name: frame for name, frame in read_results(folder).items() if len(frame)}
    verdicts = judge(study, tables, results.study.get("criterion_commits", {}))
    write_table(folder / "claims.csv", verdicts)
    _draw(make_report(read_results(folder)), destination)


def _check_nothing_is_lost(runs: pd.DataFrame, published: Path) -> None:
    """Refuses to publish fewer runs than are published: results are often all that is left of a training.

    Raises:
        UserError: a published run is not among these.
    """

    def finished(frame: pd.DataFrame) -> set[tuple[str, str, str]]:
        return {(row.corpus, row.model, str(row.seed)) for row in frame.itertuples() if row.status == "finished"}

    lost = sorted(finished(read_table(published / "runs.csv")) - finished(runs))
    if lost:
        raise UserError(
            f"{published}: {words.count(len(lost), 'run')} would be lost, as {' '.join(lost[0])}; take them over "
            f"with `lit-nmt score STUDY --also {published}`, or delete that folder"
        )


def _against(study: Study) -> list[tuple[str, str]]:
    """Every other model against the baseline, for a study that names no pairs."""
    return [(name, study.baseline) for name in study.models if study.baseline and name != study.baseline]


def _write_examples(results: Results, folder: Path, shareable: bool) -> None:
    """Writes the examples that may stand here, and the number of those that may not."""
    kept, left_out = results.examples, dict(results.left_out)
    if shareable:
        # A corpus that does not say so may not be passed on.
        kept = [row for row in results.examples if row.get("redistribute") is True]
        hidden = [row for row in results.examples if row.get("redistribute") is not True]
        for corpus in {row["corpus"]: None for row in hidden}:
            sentences = {(row["test_set"], row["id"]) for row in hidden if row["corpus"] == corpus}
            left_out[corpus] = len(sentences)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in kept]
    write_text(folder / "examples.jsonl", "".join(lines))
    if left_out or shareable or (results.folder / "left_out.json").exists():
        write_json(folder / "left_out.json", left_out)
    else:
        (folder / "left_out.json").unlink(missing_ok=True)


def _draw(content: Report, destination: Path) -> None:
    figures = destination / "figures"
    drawn = set()
    for panel in content.panels():
        write_text(figures / f"{panel.name}.svg", panel.svg)
        with replacing(figures / f"{panel.name}.png") as beside:
            beside.write_bytes(panel.png)
        drawn |= {f"{panel.name}.svg", f"{panel.name}.png"}
    for path in sorted(figures.glob("*")):
        if path.name not in drawn and path.suffix in (".svg", ".png"):
            path.unlink()
    # a bad translation may hold characters that no page can
    write_text(destination / "report.md", render_markdown(content).translate(_UNPRINTABLE))
    others = "../../index.html" if destination.name == SHAREABLE else "../index.html"
    write_text(destination / "index.html", render_html(content, others).translate(_UNPRINTABLE))
    print(f"{destination / 'index.html'}")


def _gather_parts(study: Study, folders: Sequence[Path], destination: Path) -> None:
    """Writes the results of a study that is made of others: their verdicts, and what each of them is.

    Args:
        study: made of others.
        folders: of the reports of these.
        destination: of its own.
    """
    parts, verdicts = [], []
    for part, folder in zip(study.parts, folders, strict=True):
        link = Path(os.path.relpath(folder / "index.html", destination)).as_posix()
        there = (folder / "results").is_dir()
        told = {"name": part.name, "title": part.title, "question": " ".join(part.question.split())}
        parts.append({**told, "state": _entry(folder, link).state, "link": link if there else ""})
        verdicts += [read_table(folder / "results" / "claims.csv")] if there else []
    write_json(destination / "results" / "study.json", {"name": study.name, **_plain(study), "parts": parts})
    joined = pd.concat(verdicts, ignore_index=True) if verdicts else pd.DataFrame(columns=COLUMNS["claims"])
    write_table(destination / "results" / "claims.csv", joined)


def _entries(top: Path) -> list[tuple[str, list[Entry]]]:
    """The reports in a folder, and under `reports` the published ones too."""
    groups = [("", _entries_of(top, ""))]
    if top == REPORTS and PUBLISHED.is_dir():
        groups.append(("Published", _entries_of(PUBLISHED, "published/")))
    return [(title, entries) for title, entries in groups if entries]


def _entries_of(top: Path, prefix: str) -> list[Entry]:
    folders = sorted(path.parent.parent for path in top.glob("*/results/study.json"))
    return [
        _entry(folder, f"{prefix}{folder.name}/index.html") for folder in folders if (folder / "index.html").exists()
    ]


def _entry(folder: Path, link: str) -> Entry:
    if not (folder / "results").is_dir():
        return Entry(link, folder.name, "", "not there yet")
    study = read_object(folder / "results" / "study.json")
    counted = _counted(read_table(folder / "results" / "claims.csv"))
    if study.get("includes"):
        parts = words.listing(list(study["includes"]))
        return Entry(link, str(study.get("title")), "", ", ".join([f"made of {parts}", *counted]))
    runs = read_table(folder / "results" / "runs.csv")
    done = f"{int((runs['status'] == 'finished').sum())} of {len(runs)} runs finished" if len(runs) else "no runs"
    state = [
        words.sentence(words.count(len(study.get("models") or {}), "model")),
        words.count(len(study.get("corpora") or {}), "corpus", "corpora"),
        done if study.get("planned", True) else "measured, not trained",
    ]
    question = " ".join(str(study.get("question") or "").split())
    return Entry(link, str(study.get("title") or folder.name), question, ", ".join(state + counted))


def _counted(claims: pd.DataFrame) -> list[str]:
    verdicts = claims["verdict"]
    counts = {name: int((verdicts == name).sum()) for name in dict.fromkeys(verdicts)}
    return [f"verdicts: {words.listing([words.count(n, name, name) for name, n in counts.items()])}"] if counts else []


def _plain(value: Any) -> Any:
    """Dataclasses, tuples and paths as what JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
