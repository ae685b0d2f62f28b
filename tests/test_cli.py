"""The command line: quick to answer, typed, and one line for every mistake."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import docstring_parser
import pytest

from lit_nmt import cli, status
from lit_nmt.errors import UserError
from lit_nmt.studies import load_study

ROOT = Path(__file__).parents[1]


def example(
    runs: list[Path],
    beam: int = 5,
    decodings: list[str] | None = None,
    case: Literal["mixed", "lc"] = "mixed",
    from_: Path | None = None,
    interactive: bool = False,
) -> tuple[object, ...]:
    """Does nothing.

    Args:
        runs: what to do it with.
        beam: how wide, at 100 % of the cost.
    """
    return runs, beam, decodings, case, from_, interactive


def call(*arguments: str) -> object:
    return cli.call(example, arguments, "lit-nmt example")


def test_arguments_become_what_the_function_takes() -> None:
    assert call("a", "b") == ([Path("a"), Path("b")], 5, None, "mixed", None, False)
    assert call("a", "--beam", "3", "--decodings", "greedy", "beam2", "--from", "there", "--interactive") == (
        [Path("a")],
        3,
        ["greedy", "beam2"],
        "mixed",
        Path("there"),
        True,
    )
    assert call("--no_interactive", "--case=lc", "a") == ([Path("a")], 5, None, "lc", None, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: runs"),
        (["a", "--beam", "wide"], '"beam".*int.*wide'),
        (["a", "--case", "upper"], '"case".*mixed.*lc.*upper'),
        (["a", "--beem", "3"], "unrecognized arguments: --beem"),
        (["a", "--beam"], "--beam: expected one argument"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    told = cli.one_line(str(caught.value))
    assert re.search(message, told)
    assert "\n" not in told
    assert told.endswith("(see lit-nmt example --help)")


def test_help_is_the_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        call("--help")
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Does nothing." in shown
    assert "how wide, at 100 % of the cost. (type: int, default: 5)" in shown


def test_the_overview_names_every_verb_at_once() -> None:
    started = time.process_time()
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "lit_nmt.cli", "--help"], capture_output=True)
    assert done.returncode == 0
    for verb in cli.VERBS:
        assert re.search(rf"^  {verb} ", done.stdout.decode(), re.MULTILINE)
    # Import times rather than wall time, which a busy machine stretches
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.decode().splitlines() if "|" in line}
    assert not imported & {"torch", "numpy", "pandas", "yaml", "jsonargparse", "snakemake"}
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("verb", [verb for verb in cli.VERBS if verb != "fit"])
def test_every_verb_tells_its_options(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([verb, "--help"])
    assert caught.value.code == 0
    assert f"usage: lit-nmt {verb}" in capsys.readouterr().out
    module, _, name = cli.VERBS[verb][0].partition(":")
    function = getattr(importlib.import_module(module), name)
    told = {parameter.arg_name for parameter in docstring_parser.parse(function.__doc__).params}
    assert told == set(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trnslate"], 'no verb "trnslate"'),
        (["status", "no-such-study"], 'no study "no-such-study"'),
        (["status"], "required: study"),
        (["prepare", "no-such-corpus"], "no-such-corpus"),
        (["fetch", "no-such-corpus"], "no-such-corpus"),
        (["score", "no-such-study"], 'no study "no-such-study"'),
    ],
)
def test_a_mistake_ends_with_status_2_and_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("lit-nmt: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_version_and_no_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"lit-nmt \d+\.\d+.*\n", capsys.readouterr().out)
    assert cli.main([]) == 2


def test_ctrl_c_has_its_own_exit_status(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", stop)
    assert cli.main(["status", "tiny"]) == 130
    assert capsys.readouterr().err == "lit-nmt: stopped\n"
    assert cli.main(["fit"]) == 130
    assert capsys.readouterr().err == "lit-nmt: stopped; the same command goes on from here\n"


def test_a_reader_that_has_seen_enough_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(cli, "_run", write)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    assert cli.main(["status", "tiny"]) == 0


def test_a_full_disk_takes_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> None:
        with open("/dev/full", "w", encoding="utf-8") as file:
            file.write("more than there is room for")

    monkeypatch.setattr(cli, "_run", write)
    assert cli.main(["status", "tiny"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("lit-nmt: the disk is full")
    assert told.count("\n") == 1


# --------------------------------------------------------------------------------------------------- completion


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "lit-nmt.bash"
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        assert cli.main(["completion", "bash"]) == 0
    path.write_text(told.getvalue(), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("st", ["status"]),
        ("status q", ["quick"]),
        ("status --wa", ["--watch"]),
        ("score --al", ["--also"]),
        ("prepare europarl-v", ["europarl-v7-en-fr"]),
        ("check-model conv", ["conv-s2s"]),
        ("translate exp", ["experiments"]),
        ("completion z", ["zsh"]),
        ("fit --print", ["--print_config"]),
        ("bench --no_p", ["--no_peak_memory"]),
    ],
)
def test_a_shell_completes_verbs_options_and_names(script: Path, typed: str, offered: list[str]) -> None:
    ask = 'COMP_WORDS=(lit-nmt "${@:2}"); COMP_CWORD=$(($# - 1)); _shtab_lit_nmt; printf "%s\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f'source "$1"; {ask}', "bash", str(script), *typed.split()],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == offered


# ------------------------------------------------------------------------------------------------------- status


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the shipped experiments and nothing run."""
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_status_follows_a_run_to_its_end(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = load_study("tiny").runs
    assert status.read_status(first).state == "waiting"

    first.folder.mkdir(parents=True)
    metrics = first.folder / "metrics.csv"
    metrics.write_text(
        "step,target_tokens,train_seconds,validation_loss,validation_bleu,train_loss\n"
        "5,2000,1.0,,,6.1\n10,4000,2.0,5.5,1.5,\n",
        encoding="utf-8",
    )
    training = status.read_status(first)
    assert (training.state, training.target_tokens, training.validation_bleu) == ("training", 4000, 1.5)
    assert training.tokens_per_second == 2000
    assert "50%" in status.describe(first, training)
    assert "2 s left" in status.describe(first, training)

    os.utime(metrics, (time.time() - 7200,) * 2)
    assert status.read_status(first).state == "interrupted"

    ended = {
        "status": "finished",
        "stopped_by": "budget",
        "target_tokens": 8000,
        "train_seconds": 4.0,
        "tokens_per_second": 2000.0,
        "best_validation_bleu": 3.25,
        "threads": 1,
        "commit": "0123456789ab",
        "model_digest": "0123456789abcdef",
        "started": "2026-01-01T10:00:00+00:00",
        "finished": "2026-01-01T10:00:40+00:00",
    }
    (first.folder / "fit.json").write_text(json.dumps(ended), encoding="utf-8")
    assert status.read_status(first).state == "finished"
    second.folder.mkdir(parents=True)
    failed = {**ended, "status": "failed", "stopped_by": "error: loss is NaN at step 7"}
    (second.folder / "fit.json").write_text(json.dumps(failed), encoding="utf-8")

    status.status("tiny")
    shown = capsys.readouterr().out
    assert "2 runs: 1 finished, 1 failed, 0 to train" in shown
    assert "loss is NaN at step 7" in shown
    assert f"models/attention_seq2seq.py has changed since: rm -r {first.folder} trains that run again" in shown
    assert "made by other code" in shown or not (ROOT / ".git").exists()

    # watching ends with the last run
    (second.folder / "fit.json").unlink()
    monkeypatch.setattr(time, "sleep", lambda _: (second.folder / "fit.json").write_text(json.dumps(failed)))
    status.status("tiny", watch=True)
    shown = capsys.readouterr().out
    assert shown.index("1 finished, 1 to train") < shown.index("1 finished, 1 failed, 0 to train")


def test_time_left_comes_from_what_was_measured_else_from_the_study(tiny: Path) -> None:
    study = load_study("quick")
    waiting = [status.read_status(run) for run in study.runs]
    assert study.estimate_minutes
    assert status.seconds_left(study, waiting) == pytest.approx(60 * study.estimate_minutes)

    # Every model once elsewhere at 100 tokens a second of wall time
    budget = study.runs[0].config["data"]["target_tokens"]
    for model in study.models:
        folder = Path(f"runs/other/{model}-01234567/seed1")
        folder.mkdir(parents=True)
        ended = {"status": "finished", "target_tokens": 1000, "train_seconds": 10, "threads": study.threads}
        (folder / "fit.json").write_text(json.dumps(ended), encoding="utf-8")
    side_by_side = min(max(1, status.cores() // study.threads), len(study.runs))
    expected = len(study.runs) * budget / 100 / side_by_side
    assert status.seconds_left(study, waiting) == pytest.approx(expected)


def test_a_study_that_only_measures_is_told_so(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = lambda: (status.status("throughput"), capsys.readouterr().out)[1]
    study = load_study("throughput")
    takes = study.estimate_minutes / 60
    assert f"  3 models, untrained: to measure, about {takes:.1f} h\n" in shown()
    assert status.seconds_left(study, []) == 0
    study.bench_folder.mkdir(parents=True)
    (study.bench_folder / "throughput.csv").touch()
    assert "  3 models, untrained: measured\n" in shown()


def test_a_broken_record_counts_as_none(tiny: Path) -> None:
    run = load_study("tiny").runs[0]
    run.folder.mkdir(parents=True)
    (run.folder / "fit.json").write_text('{"status": "fini', encoding="utf-8")
    assert status.read_status(run).state == "waiting"
