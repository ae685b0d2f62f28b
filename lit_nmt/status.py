"""How far a study is: a line per run, and the time that the rest takes, from what earlier runs measured."""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from lit_nmt.code import class_digest, class_file, commit
from lit_nmt.data.corpora import DATA
from lit_nmt.devices import gpus
from lit_nmt.studies import RUNS, PlannedRun, Study, load_study

State = Literal["waiting", "training", "interrupted", "finished", "failed"]

# A run validates, and so writes, every minute or so; after this many silent seconds nobody trains it.
_SILENCE = 600

_WATCH_SECONDS = 5.0
_CLEAR = "\x1b[H\x1b[2J"


@dataclass(frozen=True)
class RunStatus:
    """How far one run is.

    Attributes:
        state: `interrupted` is a run that was begun and that nobody seems to train now.
        target_tokens: Trained so far.
        tokens_per_second: While training; None before the first measurement.
        validation_bleu: The best so far.
        seconds: Spent on training so far.
        commit: The code's, of a run that has ended.
        model_digest: Of the file of the model's class, then.
        reason: Why it ended, for `failed`.
    """

    state: State
    target_tokens: int = 0
    tokens_per_second: float | None = None
    validation_bleu: float | None = None
    seconds: float = 0.0
    commit: str | None = None
    model_digest: str = ""
    reason: str = ""


def status(study: str, watch: bool = False) -> None:
    """Tells how far a study is: a line per run, then what is left and about how long it takes.

    Args:
        study: a study's name, or a path to its YAML.
        watch: tell it again every few seconds until every run has ended.

    Raises:
        UserError: no such study.
    """
    parts = load_study(study).parts
    if watch:
        while True:
            print(f"{_CLEAR if sys.stdout.isatty() else ''}{chr(10).join(map(summary, parts))}", flush=True)
            states = [read_status(planned).state for part in parts for planned in part.runs]
            if set(states) <= {"finished", "failed"}:
                return
            time.sleep(_WATCH_SECONDS)
    for part in parts:
        print(summary(part))


def summary(study: Study) -> str:
    """The lines that `status` prints for a study that includes no others."""
    states = [read_status(run) for run in study.runs]
    lines = [f"{study.name}: {study.title}"]
    lines += [f"  {describe(run, state)}" for run, state in zip(study.runs, states, strict=True)]
    missing = [name for name, config in study.corpus_configs.items() if not is_prepared(name, config.digest())]
    if missing:
        lines.append(f"  corpora to prepare: {', '.join(missing)}")
    current = commit()
    others = sorted({state.commit for state in states if state.commit and state.commit != current})
    if current and others:
        lines.append(f"  made by other code than {current}: runs of commit {', '.join(others)}")
    class_paths = {run.config["model"]["class_path"] for run in study.runs}
    digests = {class_path: class_digest(class_path) for class_path in class_paths}
    for run, state in zip(study.runs, states, strict=True):
        class_path = run.config["model"]["class_path"]
        if state.model_digest and digests[class_path] not in ("", state.model_digest):
            lines.append(f"  {class_file(class_path)} has changed since: rm -r {run.folder} trains that run again")
    if not states:
        return "\n".join([*lines, f"  {_measurement(study)}", *_report_line(study)])
    counts = {name: sum(state.state == name for state in states) for name in ("finished", "failed")}
    left = len(states) - sum(counts.values())
    done = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none done"
    lines.append(f"  {len(states)} run{'s' if len(states) > 1 else ''}: {done}, {left} to train")
    if left:
        seconds = seconds_left(study, states)
        lines.append(f"  training takes about {duration(seconds)}" if seconds else "  training time: not known yet")
    return "\n".join([*lines, *_report_line(study)])


def _measurement(study: Study) -> str:
    """The line on a study that trains nothing."""
    models = f"{len(study.benched_runs())} models, untrained"
    if (study.bench_folder / "throughput.csv").is_file():
        return f"{models}: measured"
    takes = f", about {duration(study.estimate_minutes * 60)}" if study.estimate_minutes else ""
    return f"{models}: to measure{takes}"


def _report_line(study: Study) -> list[str]:
    page = study.report_folder / "index.html"
    return [f"  report: {page}"] if page.is_file() else []


def read_status(run: PlannedRun) -> RunStatus:
    """Reads how far a run is from `fit.json`, where it has ended, else from `metrics.csv`."""
    ended = _read_json(run.folder / "fit.json")
    if ended is not None:
        return RunStatus(
            "finished" if ended.get("status") == "finished" else "failed",
            target_tokens=int(ended.get("target_tokens") or 0),
            tokens_per_second=ended.get("tokens_per_second"),
            validation_bleu=ended.get("best_validation_bleu"),
            seconds=_wall_seconds(ended),
            commit=ended.get("commit"),
            model_digest=str(ended.get("model_digest") or ""),
            reason=str(ended.get("stopped_by") or ""),
        )
    metrics = run.folder / "metrics.csv"
    rows = _read_rows(metrics)
    if not rows:
        return RunStatus("waiting")
    silent = time.time() - metrics.stat().st_mtime > _SILENCE
    column = lambda name: [value for row in rows if (value := _number(row.get(name))) is not None]
    tokens, seconds = column("target_tokens"), column("train_seconds")
    return RunStatus(
        "interrupted" if silent else "training",
        target_tokens=int(max(tokens, default=0)),
        tokens_per_second=max(tokens) / max(seconds) if tokens and seconds and max(seconds) > 0 else None,
        validation_bleu=max(column("validation_bleu"), default=None),
        seconds=max(seconds, default=0.0),
    )


def describe(run: PlannedRun, state: RunStatus) -> str:
    """One line: which run, its state, speed, validation BLEU, time."""
    name = str(run.folder.relative_to(RUNS))
    parts = [f"{name:<52} {state.state:<11}"]
    whole = budget(run)
    if state.state in ("training", "interrupted") and whole:
        parts.append(f"{min(1.0, state.target_tokens / whole):>4.0%}")
    if state.tokens_per_second:
        parts.append(f"{state.tokens_per_second:>7,.0f} tokens/s")
    if state.validation_bleu is not None:
        parts.append(f"validation BLEU {state.validation_bleu:>5.1f}")
    if state.state == "finished":
        parts.append(duration(state.seconds))
    elif state.state == "training" and whole and state.tokens_per_second:
        parts.append(f"{duration(max(0.0, whole - state.target_tokens) / state.tokens_per_second)} left")
    elif state.state == "failed":
        parts.append(state.reason)
    return "  ".join(parts).rstrip()


def seconds_left(study: Study, states: list[RunStatus]) -> float | None:
    """About how long the training of what is left takes on this machine, runs side by side; None if unknown.

    By the rate of the same model on the same corpus, else of the same model on any, else by the study's
    `estimate_minutes`.
    """
    waiting = sum(state.state not in ("finished", "failed") for state in states)
    if not waiting:
        return 0.0
    share = study.estimate_minutes * 60 / len(study.runs) if study.estimate_minutes else None
    rates = _known_rates(study)
    total = 0.0
    for run, state in zip(study.runs, states, strict=True):
        if state.state in ("finished", "failed"):
            continue
        whole = budget(run)
        rate = rates.get((run.corpus, run.model)) or rates.get((None, run.model))
        left = max(0.0, 1 - state.target_tokens / whole) if whole else 1.0
        if rate and whole:
            total += left * whole / rate
        elif share is not None:
            # The estimate is of the study's wall time, in which runs go on side by side.
            total += left * share * min(_side_by_side(study), len(study.runs))
        else:
            return None
    return total / min(_side_by_side(study), waiting)


def duration(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _side_by_side(study: Study) -> int:
    devices = max(run.devices for run in study.runs)
    places, leases = cores() // (study.threads * devices), len(gpus()) // devices
    return max(1, min(places, leases) if leases else places)


def _known_rates(study: Study) -> dict[tuple[str | None, str], float]:
    """Target tokens a second of wall time, by corpus and model, and by model alone under the corpus None."""
    rates: dict[tuple[str | None, str], float] = {}
    for model in study.models:
        for path in sorted(RUNS.glob(f"*/{model}-????????/seed*/fit.json")):
            ended = _read_json(path) or {}
            seconds = _wall_seconds(ended)
            if ended.get("status") == "finished" and ended.get("threads") == study.threads and seconds > 0:
                rate = float(ended.get("target_tokens") or 0) / seconds
                rates[(path.parts[-4], model)] = rates[(None, model)] = rate
    return rates


def budget(run: PlannedRun) -> int | None:
    """The target tokens that it trains on; None without a limit."""
    tokens = (run.config.get("data") or {}).get("target_tokens")
    return int(tokens) if tokens else None


def _wall_seconds(ended: dict[str, Any]) -> float:
    """From start to end where that is on record, else the seconds of training alone."""
    try:
        span = datetime.fromisoformat(ended["finished"]) - datetime.fromisoformat(ended["started"])
        return max(span.total_seconds(), float(ended.get("train_seconds") or 0))
    except (KeyError, TypeError, ValueError):
        return float(ended.get("train_seconds") or 0)


def is_prepared(name: str, digest: str) -> bool:
    """Whether the corpus of this name was prepared whole, with the configuration of this digest."""
    return (_read_json(DATA / name / "manifest.json") or {}).get("digest") == digest


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:  # nothing there, or a line that is being written
        return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError:
        return []
