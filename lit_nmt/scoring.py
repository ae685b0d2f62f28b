"""From the translations of a study's runs to the tables from which its report can be made again.

`lit-nmt score STUDY` reads run folders and writes `reports/<study>/results/`: the counts behind every score,
one row a hypothesis (`sentences.parquet`), what became of each run (`runs.csv`, `curves.csv`,
`provenance.json`) and the translations side by side (`examples.jsonl`). A run that failed or is missing has
its row in `runs.csv` and stops nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lit_nmt import load_results
from lit_nmt.configuration import read_yaml
from lit_nmt.data.corpora import EXAMPLES
from lit_nmt.errors import UserError
from lit_nmt.files import read_record, replacing, write_json, write_text
from lit_nmt.metrics import STATISTICS, Scorer, sentence_scores, signature
from lit_nmt.report.tables import COLUMNS, Results
from lit_nmt.studies import PlannedRun, Study, load_study

TRANSLATION_COLUMNS: dict[str, Any] = {
    "id": int,
    "source": str,
    "reference": str,
    "hypothesis": str,
    "score": int | float,
    "source_words": int,
}
"""What a line of a translation file holds, and of which types."""
ATTENTION_COLUMNS: dict[str, Any] = {"id": int, "source": list, "target": list, "weights": list}
"""What a line of an attention file holds, and of which types."""


def score(study: str, also: Path | None = None) -> None:
    """Scores the translations of a study: writes the tables behind its report.

    Args:
        study: the name of a study in experiments/studies, or the path of a study YAML.
        also: a report of the same study from elsewhere; of the runs that have not ended here, those of the same
            configuration are taken from there, so a study's runs can be spread over machines.

    Raises:
        UserError: `also` holds no runs of this study, or runs that translated other sentences.
    """
    parts = load_study(study).parts
    if also is not None and len(parts) > 1:
        raise UserError(f"--also: {study} is made of {len(parts)} studies; score them one by one")
    for part in parts:
        _score(part, _read_elsewhere(also, part) if also is not None else None)


def _score(study: Study, elsewhere: Results | None) -> None:
    folder = study.results_folder
    outcomes = {run.folder: _outcome(run) for run in study.runs}
    status = lambda run: outcomes[run.folder]["status"]
    translated = [run for run in study.runs if status(run) == "finished" and _is_translated(study, run)]
    sentences, examples = _collect(study, translated)
    # a run that still trains has no curve to set beside others
    curves = {run.folder: _curve(study, run) if status(run) != "missing" else [] for run in study.runs}
    origins = {run.folder: _origin(run, outcomes[run.folder]) for run in study.runs}
    left_out: dict[str, int] = {}
    if elsewhere is not None:
        missing = [run for run in study.runs if run not in translated and status(run) != "failed"]
        taken = _taken(missing, elsewhere)
        origins |= taken
        outcomes |= taken
        keys = {(run.corpus, run.model, run.seed) for run in missing if run.folder in taken}
        sentences = _joined(study, sentences, elsewhere, keys)
        rows = elsewhere["curves"].astype({"step": int, "target_tokens": int}).to_dict("records")
        for run in missing:
            if run.folder in taken:
                curves[run.folder] = [row for row in rows if _key(row) == (run.corpus, run.model, run.seed)]
        examples = _first_seeds([*examples, *(row for row in elsewhere.examples if _key(row) in keys)])
        shown = {row["corpus"] for row in examples if row["test_set"] != EXAMPLES}
        left_out = {corpus: number for corpus, number in elsewhere.left_out.items() if corpus not in shown}
        print(f"{elsewhere.folder}: {len(taken)} runs taken over")
    _check_subwords(origins.values())
    runs = [{"study": study.name, **_identity(run), **outcomes[run.folder]} for run in study.runs]
    _write_table(folder / "runs.csv", runs)
    _write_table(folder / "curves.csv", [row for run in study.runs for row in curves[run.folder]])
    lines = [json.dumps(example, ensure_ascii=False) + "\n" for example in examples]
    write_text(folder / "examples.jsonl", "".join(lines))
    write_json(folder / "provenance.json", _provenance(study, list(origins.values())))
    if left_out:
        write_json(folder / "left_out.json", left_out)
    else:
        (folder / "left_out.json").unlink(missing_ok=True)
    # last, since it is what tells that all is there
    with replacing(folder / "sentences.parquet") as beside, open(beside, "wb") as file:
        sentences.to_parquet(file, index=False, compression="zstd")
    there = sum(outcome["status"] == "finished" for outcome in outcomes.values())
    print(f"{folder}: {there} of {len(runs)} runs, {len(sentences):,} translations")


def _identity(run: PlannedRun) -> dict[str, Any]:
    return {"corpus": run.corpus, "model": run.model, "seed": run.seed}


def _is_translated(study: Study, run: PlannedRun) -> bool:
    """Whether a run has translated all that the study asks for; what is missing is told on stderr.

    By a part of its test sets a run would be judged on other sentences than the study planned.
    """
    wanted = [_translation_file(run, *part) for part in product(study.test_sets_of(run.corpus), study.decodings)]
    missing = [path for path in wanted if not path.is_file()]
    if missing:
        all_of_them = f"{missing[0]} and {len(missing) - 1} more are" if missing[1:] else f"{missing[0]} is"
        print(f"lit-nmt: {all_of_them} missing; the report leaves this run out", file=sys.stderr)
    return not missing


def _translation_file(run: PlannedRun, test_set: str, decoding: str) -> Path:
    return run.folder / "translations" / f"{test_set}.{decoding}.jsonl"


# ---------------------------------------------------------------------------------------------- translations


def _collect(study: Study, runs: Sequence[PlannedRun]) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The content of `sentences.parquet` and of `examples.jsonl`, from runs that are trained and translated."""
    parts = [_counts({}, pd.DataFrame(columns=list(TRANSLATION_COLUMNS)), np.zeros((0, len(STATISTICS))))]
    examples = []
    for corpus in study.corpora:
        config = study.corpus_config(corpus)
        own = [run for run in runs if run.corpus == corpus]
        # one run a model is enough to see what its translations are like
        shown_runs = {run.model: run for run in reversed(own)}.values()
        unscored = [name for name in config.splits if name == EXAMPLES]
        for test_set in [*study.test_sets_of(corpus), *unscored]:
            found = _translations(own, test_set, study.decodings)
            first = next(iter(found.values()), None)
            if first is None:
                continue
            scorer = Scorer(first["reference"].to_list())
            redistribute = config.redistribute or test_set in unscored
            for (place, decoding), rows in found.items():
                run = own[place]
                system = {**_identity(run), "test_set": test_set, "decoding": decoding}
                counts = scorer.statistics(rows["hypothesis"].to_list())
                if test_set not in unscored:
                    parts.append(_counts(system, rows, counts))
                if run in shown_runs and decoding == study.primary.decoding:
                    attention = _attention(run, test_set, decoding)
                    examples += _examples(system, rows, counts, redistribute, attention)
    return pd.concat(parts, ignore_index=True), examples


def _translations(
    runs: Sequence[PlannedRun], test_set: str, decodings: Sequence[str]
) -> dict[tuple[int, str], pd.DataFrame]:
    """Translations of a test set by place of the run and decoding, all of the same sentences.

    Raises:
        UserError: if the runs did not translate the same sentences.
    """
    found: dict[tuple[int, str], pd.DataFrame] = {}
    first: tuple[Path, pd.DataFrame] | None = None
    for place, run in enumerate(runs):
        for decoding in decodings:
            path = _translation_file(run, test_set, decoding)
            if not path.is_file():  # examples of a run from before its corpus had any
                continue
            lines = _read_lines(path, TRANSLATION_COLUMNS, "translation")
            rows = pd.DataFrame(lines, columns=list(TRANSLATION_COLUMNS))
            tested = rows[["id", "source", "reference", "source_words"]]
            first = first or (path, tested)
            if not tested.equals(first[1]):
                raise UserError(
                    f"{path}: {len(tested)} sentences, not those of {first[0]} ({len(first[1])}); expected "
                    "one test set for all runs: delete the translations of the older one and translate again"
                )
            found[place, decoding] = rows
    return found


def _read_lines(path: Path, columns: Mapping[str, Any], what: str) -> list[list[Any]]:
    rows = []
    # only "\n" ends a line: text may hold other line separators
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                content = json.loads(line.decode("utf-8"))
                wrong = [key for key, kind in columns.items() if not isinstance(content[key], kind)]
                if wrong:
                    raise ValueError(f"{wrong[0]} is {content[wrong[0]]!r}")
                rows.append([content[key] for key in columns])
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{path}, line {number}: no {what} ({error}); delete the file and translate again"
                ) from None
    return rows


def _counts(system: dict[str, Any], rows: pd.DataFrame, counts: np.ndarray) -> pd.DataFrame:
    """Rows of `sentences.parquet`, without text."""
    columns: dict[str, Any] = {
        "corpus": pd.array([system.get("corpus", "")] * len(rows), dtype="str"),
        "model": pd.array([system.get("model", "")] * len(rows), dtype="str"),
        "seed": np.full(len(rows), system.get("seed", 0), dtype=np.int64),
        "test_set": pd.array([system.get("test_set", "")] * len(rows), dtype="str"),
        "decoding": pd.array([system.get("decoding", "")] * len(rows), dtype="str"),
        "id": rows["id"].to_numpy(dtype=np.int32),
        "source_words": rows["source_words"].to_numpy(dtype=np.int32),
        "score": rows["score"].to_numpy(dtype=np.float32),
        **dict(zip(STATISTICS, counts.astype(np.int32).T, strict=True)),
    }
    return pd.DataFrame(columns)


def _examples(
    system: dict[str, Any], rows: pd.DataFrame, counts: np.ndarray, redistribute: bool, attention: dict[int, Any]
) -> list[dict[str, Any]]:
    """Rows of `examples.jsonl`: translations with the scores of each, and its attention where that was kept."""
    examples = []
    for row, (bleu, chrf) in zip(rows.to_dict("records"), sentence_scores(counts).round(2).tolist(), strict=True):
        example = {**system, **row, "bleu": bleu, "chrf": chrf, "redistribute": redistribute}
        if row["id"] in attention:
            example["attention"] = attention[row["id"]]
        examples.append(example)
    return examples


def _attention(run: PlannedRun, test_set: str, decoding: str) -> dict[int, Any]:
    """What `translate` kept of a run's attention, by sentence; nothing where it was translated before that was so.

    Raises:
        UserError: if the file cannot be read.
    """
    path = run.folder / "translations" / f"{test_set}.{decoding}.attention.jsonl"
    rows = _read_lines(path, ATTENTION_COLUMNS, "attention") if path.is_file() else []
    return {row[0]: dict(zip(list(ATTENTION_COLUMNS)[1:], row[1:], strict=True)) for row in rows}


# ------------------------------------------------------------------------------------------------------- runs


def _outcome(run: PlannedRun) -> dict[str, Any]:
    """What `fit.json` says; status "missing" where the run has not ended.

    Raises:
        UserError: if the file cannot be read.
    """
    path = run.folder / "fit.json"
    return read_record(path) if path.is_file() else {"status": "missing"}


def _curve(study: Study, run: PlannedRun) -> list[dict[str, Any]]:
    path = run.folder / "metrics.csv"
    if not path.is_file():
        return []
    try:
        rows = pd.read_csv(path)
        validated = rows[rows["validation_loss"].notna()].reindex(columns=COLUMNS["curves"][4:])
        validated.astype(float)
    except (ValueError, KeyError) as error:  # pandas' own errors are ValueErrors
        raise UserError(f"{path}: damaged ({error}); delete the run's folder, train again") from None
    return [{"study": study.name, **_identity(run), **row} for row in validated.to_dict("records")]


def _origin(run: PlannedRun, outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Where a run's numbers come from: what trained it, on what, with which settings."""
    config = run.folder / "config.yaml"
    settings = sorted((run.folder / "translations").glob("*.json"))
    return {
        **_identity(run),
        "folder": run.folder.as_posix(),
        **outcome,
        "command": f"lit-nmt fit --config {run.config_file.as_posix()}",
        "config": read_yaml(config) if config.is_file() else run.config,
        "translations": {path.stem: _read_settings(path) for path in settings},
    }


def _read_settings(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); delete it and translate again") from None


def _provenance(study: Study, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """For every number where it came from: the study, what scored it, and each run."""
    return {
        "study": {
            "name": study.name,
            "file": study.path.as_posix(),
            "content": read_yaml(study.path),
        },
        "signatures": {name: signature(name) for name in ("mixed", "lc", "chrf", "sentence")},
        "runs": runs,
    }


# -------------------------------------------------------------------------------------------------- elsewhere


def _read_elsewhere(folder: Path, study: Study) -> Results:
    results = load_results(folder)
    name = (results.provenance.get("study") or {}).get("name")
    if name != study.name:
        found = f"results of the study {name}" if name else "no results of a study"
        raise UserError(f"--also: {folder}: found {found}, expected those of {study.name}")
    return results


def _taken(missing: Sequence[PlannedRun], elsewhere: Results) -> dict[Path, dict[str, Any]]:
    """What is known of runs that ended elsewhere: those whose folder, and so whose configuration, is the same.

    Raises:
        UserError: A run ended there with another configuration.
    """
    ended = {_key(run): run for run in elsewhere.provenance.get("runs") or [] if run.get("status") != "missing"}
    taken = {run.folder: ended[_key(_identity(run))] for run in missing if _key(_identity(run)) in ended}
    for folder, origin in taken.items():
        if origin["folder"] != folder.as_posix():
            raise UserError(
                f"--also: {elsewhere.folder}: has {origin['folder']}, expected {folder}: it was trained with another "
                "configuration; leave out --also to train it anew"
            )
    return taken


def _check_subwords(origins: Iterable[Mapping[str, Any]]) -> None:
    """Refuses runs on one corpus whose subwords are not the same, as far as their records tell.

    Raises:
        UserError: There are some.
    """
    known: dict[str, Mapping[str, Any]] = {}
    for origin in origins:
        if "subwords_digest" in origin:
            first = known.setdefault(origin["corpus"], origin)
            if origin["subwords_digest"] != first["subwords_digest"]:
                raise UserError(
                    f"{origin['folder']}: trained with other subwords than {first['folder']}, as their corpus was "
                    "prepared anew in between; train one of them again"
                )


def _joined(
    study: Study, sentences: pd.DataFrame, elsewhere: Results, keys: set[tuple[str, str, int]]
) -> pd.DataFrame:
    """The counts of runs here and elsewhere, of what the study translates.

    Raises:
        UserError: They did not translate the same sentences.
    """
    there = elsewhere["sentences"]
    if not len(there):
        return sentences
    wanted = {(corpus, test_set) for corpus in study.corpora for test_set in study.test_sets_of(corpus)}
    there = there[there["decoding"].isin(study.decodings)]
    there = there[
        [
            (corpus, model, seed) in keys and (corpus, test_set) in wanted
            for corpus, model, seed, test_set in there[["corpus", "model", "seed", "test_set"]].itertuples(index=False)
        ]
    ]
    both = pd.concat([sentences, there], ignore_index=True)
    # a reference's length stands among the counts, so another text shows
    text = both.groupby(["corpus", "test_set", "id"])[["source_words", "bleu_mixed_1"]].nunique()
    sizes = both.groupby(["corpus", "test_set", "model", "seed", "decoding"]).size().groupby(["corpus", "test_set"])
    if (text > 1).any(axis=None) or (sizes.nunique() > 1).any():
        raise UserError(f"{elsewhere.folder}: its runs translated other sentences than those here; leave out --also")
    return both


def _first_seeds(examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each test set one run a model: that of its lowest seed whose text is here."""
    first: dict[tuple[str, str, str], int] = {}
    for row in examples:
        shown = row["corpus"], row["model"], row["test_set"]
        first[shown] = min(int(row["seed"]), first.get(shown, int(row["seed"])))
    return [row for row in examples if int(row["seed"]) == first[row["corpus"], row["model"], row["test_set"]]]


def _key(row: Mapping[str, Any]) -> tuple[str, str, int]:
    return row["corpus"], row["model"], int(row["seed"])


def _write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    columns = COLUMNS[path.stem]
    # objects keep whole numbers whole beside empty cells
    content = pd.DataFrame([[row.get(column) for column in columns] for row in rows], columns=columns, dtype=object)
    write_text(path, content.to_csv(index=False, lineterminator="\n"))
