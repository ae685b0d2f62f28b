"""`lit-nmt bench`: measures the models of a study, or models by name, and writes the table."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from lit_nmt.benchmark.machine import BUSY_CORES, FreshProcesses, cores_busy_with_others, machine_to_itself
from lit_nmt.benchmark.settings import OPERATIONS, THROUGHPUT, Settings
from lit_nmt.configuration import read_yaml
from lit_nmt.data.corpora import DATA
from lit_nmt.data.prepared import PreparedCorpus
from lit_nmt.errors import UserError
from lit_nmt.files import write_json, write_rows
from lit_nmt.studies import MODELS, RUNS, Study, load_study, read_model

_SETTINGS = {field.name for field in fields(Settings)}


def bench(
    targets: list[str],
    corpus: str | None = None,
    lengths: list[int] | None = None,
    phases: list[str] | None = None,
    target_tokens: int | None = None,
    windows: int | None = None,
    steps: int | None = None,
    max_seconds: float | None = None,
    precisions: list[str] | None = None,
    threads: list[int] | None = None,
    device: str | None = None,
    peak_memory: bool | None = None,
    loop_steps: int | None = None,
    vocabulary_size: int = 8000,
    against: str | None = None,
) -> None:
    """Measures throughput, memory and utilisation of a study's models, or of single models, in alternation.

    Writes throughput.csv and environment.json to runs/bench/STUDY, or runs/bench/models, and the models' exact numbers
    of sequential operations to operations.csv. Waits until no other benchmark runs on this machine. One that is killed
    goes on, when it is called again, with what unfinished.json there has kept.

    Args:
        targets: a study's name or path; or models, by name or path of their YAML.
        corpus: the prepared corpus on whose own lengths models are measured, too (default: the study's).
        lengths: of source and target in subwords, the end of sentence counted.
        phases: train, decode-greedy, decode-beam5 or another beam; as train-single with one sentence in a batch.
        target_tokens: in a batch, but for single sentences.
        windows: measured for each model, phase and length.
        steps: in a window, at least.
        max_seconds: for all windows together; where they would take longer, those of fixed lengths get fewer steps.
        precisions: as 32-true, bf16-mixed, bf16-true; each model is measured in each (default: what it trains
            in).
        threads: of the processor; each model is measured with each number (default: the one that it trains with).
        device: cpu or cuda (default: a GPU if there is one).
        peak_memory: measure it, which takes a process for every row but those of single sentences (default: it is).
        loop_steps: of a real training, timed beside as many bare steps, to tell the time spent outside the
            model.
        vocabulary_size: of models measured without a corpus.
        against: another revision of this code, as a commit or a tag: both are measured in alternation, as often as
            there are windows, and the ratios written to runs/bench/against-REVISION.csv.
    """
    asked = locals().items()
    given: dict[str, Any] = {key: value for key, value in asked if key in _SETTINGS and value is not None}
    if against:
        from lit_nmt.benchmark.against import compare

        rounds = given.pop("windows", Settings.windows)
        given.pop("peak_memory", None)
        compare(against, targets, {**given, "vocabulary_size": vocabulary_size}, rounds)
        return
    studies = [target for target in targets if _is_study(target)]
    if not studies:
        settings = replace(Settings(lengths=[8, 32, 128]), **given)
        fragments = {Path(target).stem: read_model(target) for target in targets}
        if len(fragments) < len(targets):
            raise UserError(f"{' '.join(targets)}: two models of one name; expected a name of its own for each")
        _measure_into(RUNS / "bench" / "models", fragments, settings, vocabulary_size)
        return
    if len(targets) > 1:
        raise UserError(
            f"{studies[0]}: a study is measured alone; found {len(targets)} targets, expected it or models"
        )
    parts = [part for part in load_study(studies[0]).parts if part.bench]
    if not parts:
        raise UserError(f"{studies[0]}: no key `bench` in this study; add one that says what to measure")
    for part in parts:
        fragments, settings = _of_study(part, given)
        _measure_into(part.bench_folder, fragments, settings, vocabulary_size)


def _is_study(target: str) -> bool:
    """Whether a target means a study: a YAML without a model in it, or a name that no model has."""
    if target.endswith((".yaml", ".yml")):
        return "model" not in read_yaml(Path(target))
    return not (MODELS / f"{target}.yaml").is_file()


def _of_study(study: Study, given: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], Settings]:
    """The resolved configurations of a study's models by name, and what to measure."""
    assert study.bench is not None
    settings = replace(study.bench, **given)
    settings = replace(settings, corpus=settings.corpus or study.bench_corpus)
    return {run.model: run.config for run in study.benched_runs(settings.corpus or "")}, settings


def _measure_into(
    folder: Path, fragments: dict[str, dict[str, Any]], settings: Settings, vocabulary_size: int
) -> None:
    """Measures models and writes the table.

    Args:
        folder: for the results.
        fragments: LightningCLI fragments with `model` and, maybe, `trainer`, by the models' names.
        settings: what to measure.
        vocabulary_size: where there is no corpus.
    """
    settings.check()
    prepared = PreparedCorpus.open(DATA / settings.corpus) if settings.corpus else None
    with machine_to_itself():
        others = cores_busy_with_others()
        if others > BUSY_CORES:
            print(f"lit-nmt: {_warning(others)}", file=sys.stderr)
        with FreshProcesses("lit_nmt.benchmark.measuring") if settings.peak_memory else nullcontext() as fresh:
            # imported here, beside the other process: torch takes seconds
            from lit_nmt.benchmark import measuring, operations

            size = prepared.vocabulary_size if prepared else vocabulary_size
            settings = measuring.with_device(settings)
            subjects = measuring.subjects_of(fragments, settings, size)
            unfinished = measuring.read_unfinished(folder / "unfinished.json", subjects, settings, prepared)
            if (earlier := unfinished.get("cores busy with others")) is not None:
                print(f"lit-nmt: goes on with what an earlier call has measured: {unfinished.path}", file=sys.stderr)
                others = max(others, earlier)
            unfinished.keep({("cores busy with others",): others})
            rows, environment = measuring.measure(subjects, settings, prepared, fresh, unfinished)
    counted = operations.count_all(fragments)
    if not rows:
        raise UserError(f"{folder}: nothing could be measured: {'; '.join(environment['skipped'])}")
    write_json(
        folder / "environment.json",
        {
            "settings": asdict(settings),
            "cores_busy_with_others": round(others, 2),
            "warning": _warning(others) if others > BUSY_CORES else None,
            **environment,
        },
    )
    write_rows(folder / "operations.csv", OPERATIONS, counted)
    write_rows(folder / "throughput.csv", THROUGHPUT, rows)
    unfinished.forget()
    print(f"{folder / 'throughput.csv'}: {len(rows)} rows")


def _warning(others: float) -> str:
    return f"other processes kept {others:.1f} cores busy before the benchmark; figures may be too low"
