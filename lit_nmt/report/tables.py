"""The tidy tables of a study's results: read from a folder, completed, summarised over seeds.

A results folder is self-sufficient: the study itself stands in `study.json`, so pages and verdicts can be made again
where neither runs nor corpora are. Reading forgives: a table that is missing is an empty frame with its columns.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lit_nmt.benchmark.settings import OPERATIONS, THROUGHPUT
from lit_nmt.claims import Verdict
from lit_nmt.errors import UserError
from lit_nmt.evaluation import ComparisonRow, ScoreRow
from lit_nmt.files import replacing, write_text
from lit_nmt.intervals import t_interval
from lit_nmt.metrics import STATISTICS


def _names(text: str) -> list[str]:
    return text.split()


COLUMNS = {
    "runs": _names(
        """study corpus model seed status stopped_by parameters target_tokens train_seconds tokens_per_second
        best_validation_loss best_validation_bleu peak_memory_bytes device threads precision commit"""
    ),
    "curves": _names("study corpus model seed step target_tokens train_seconds validation_loss validation_bleu"),
    "scores": list(ScoreRow._fields),
    "comparisons": list(ComparisonRow._fields),
    "claims": [field.name for field in fields(Verdict)],
    "throughput": THROUGHPUT,
    "operations": OPERATIONS,
}
"""The columns that each table has at least."""
SENTENCE_COLUMNS = [*_names("corpus model seed test_set decoding id source_words score"), *STATISTICS]
GRADIENT_COLUMNS = _names("corpus model seed training id distance log_norm")
EXAMPLE_KEYS = _names("corpus model seed test_set decoding id source reference hypothesis source_words")
NUMBERS = _names(
    """parameters target_tokens train_seconds tokens_per_second best_validation_loss best_validation_bleu
    peak_memory_bytes threads step validation_loss validation_bleu sentences bleu bleu_low bleu_high chrf chrf_low
    chrf_high length_ratio seeds difference low high p_value value source_length windows sentences_per_second
    flops_per_token utilisation padding_share outside_share length operations unconnected"""
)


@dataclass
class Results(Mapping[str, pd.DataFrame]):
    """The tables of one study by name, as `results["scores"]`, with what describes them.

    Attributes:
        folder: where they were read.
        study: the study as in its YAML file, resolved, with its `name` and its `planned` runs.
        provenance: what made the numbers: models, runs with configuration, versions, hardware and command.
        examples: translations by one run a model, each with its source, reference and model.
        environment: of the throughput measurements.
        left_out: what may not be passed on and is not here: corpus -> number of sentences.
    """

    folder: Path
    study: dict[str, Any] = field(default_factory=dict)
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.frames[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)


def read_results(folder: Path) -> Results:
    """Reads every table of a results folder.

    Raises:
        UserError: the folder is not there, or one of its files cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected a study's results; write them with `lit-nmt score STUDY`")
    results = Results(folder)
    for name in COLUMNS:
        results.frames[name] = read_table(folder / f"{name}.csv")
    for name, columns, verb in (("sentences", SENTENCE_COLUMNS, "score"), ("gradients", GRADIENT_COLUMNS, "probe")):
        results.frames[name] = _read_parquet(folder / f"{name}.parquet", columns, verb)
    results.study = read_object(folder / "study.json")
    results.provenance = read_object(folder / "provenance.json")
    runs = results.provenance.get("runs", [])
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise UserError(f"{folder / 'provenance.json'}: runs: found no list of runs; write it again")
    results.environment = read_object(folder / "environment.json")
    results.left_out = read_object(folder / "left_out.json")
    results.examples = _read_lines(folder / "examples.jsonl")
    return results


def read_table(path: Path) -> pd.DataFrame:
    """A CSV table with at least the columns that its name promises; empty where there is no such file.

    Columns of `NUMBERS` are floats with NaN for what is not known; all others, seeds included, are strings.
    """
    if not path.exists() or path.stat().st_size == 0:
        frame = pd.DataFrame(columns=COLUMNS[path.stem], dtype=object)
    else:
        try:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (ValueError, OSError) as error:
            raise UserError(f"{path}: not a CSV table ({error}); delete it and write it again") from None
    for name in COLUMNS[path.stem]:
        if name not in frame:
            frame[name] = pd.Series("", index=frame.index, dtype=object)
    for name in frame:
        if name in NUMBERS:
            try:
                frame[name] = [float(text) if text else np.nan for text in frame[name]]
            except ValueError as error:
                raise UserError(f"{path}: column {name}: {error}; expected numbers, write it again") from None
        else:
            frame[name] = frame[name].astype(object)
    return frame


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Writes a CSV table whose numbers have at most ten significant digits, the same bytes everywhere."""
    text = io.StringIO()
    frame.to_csv(text, index=False, lineterminator="\n", float_format="%.10g")
    write_text(path, text.getvalue())


def copy_file(source: Path, target: Path) -> None:
    """Copies a file whole or not at all; nothing to do where both are one."""
    if source.resolve() != target.resolve():
        with replacing(target) as beside:
            beside.write_bytes(source.read_bytes())


def over_seeds(frame: pd.DataFrame, by: list[str], values: list[str]) -> pd.DataFrame:
    """Means over seeds with t intervals.

    Args:
        frame: one row per seed and group.
        by: columns that make a group, kept in the order of the frame.
        values: columns to average.

    Returns:
        One row per group: `by`, `seeds`, and per value its mean under its own name and `<value>_spread`, half the
        95 % t interval of the mean; NaN below three seeds, where such an interval says nothing.
    """
    rows = []
    for key, group in frame.groupby(by, sort=False, dropna=False):
        row: dict[str, Any] = dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
        row["seeds"] = int(group["seed"].nunique())
        for value in values:
            known = group[value].dropna().to_numpy(float)
            row[value] = float(known.mean()) if len(known) else np.nan
            row[f"{value}_spread"] = half_interval(known)
        rows.append(row)
    spreads = [f"{value}_spread" for value in values]
    return pd.DataFrame(rows, columns=[*by, "seeds", *values, *spreads])


def half_interval(values: np.ndarray) -> float:
    """Half the 95 % t interval of a mean; NaN below three values."""
    if len(values) < 3:
        return float("nan")
    interval = t_interval(values)
    return interval.high - interval.value


def _read_parquet(path: Path, columns: Sequence[str], verb: str) -> pd.DataFrame:
    """A table with at least these columns; empty, without them, where there is no such file."""
    if not path.exists():
        return pd.DataFrame()
    try:
        frame = pd.read_parquet(path)
        missing = [name for name in columns if name not in frame]
        if missing:
            raise ValueError(f"no column {missing[0]}")
        return frame
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); write it again with `lit-nmt {verb}`") from None


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file.

    Raises:
        UserError: it is none.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); delete it and write it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: found {type(content).__name__}, expected a JSON object; write it again")
    return content


def _read_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    rows = []
    # Not splitlines: a sentence may hold U+2028, which ends no line of JSON.
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        try:
            row = json.loads(line.decode("utf-8"))
            missing = [key for key in EXAMPLE_KEYS if key not in row]
            if missing:
                raise ValueError(f"no {missing[0]}")
            rows.append(row)
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}, line {number}: no example ({error}); delete it and write it again") from None
    return rows
