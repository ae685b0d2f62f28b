"""Studies on a real SLURM, of two nodes on this machine, whose daemons are started here."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from checkout import ROOT, Checkout

CONFIGURATION = Path("/etc/slurm")
"""Debian's place; SLURM_CONF would not reach the steps of a job."""

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "munged", "munge")


def missing() -> str:
    """Why SLURM cannot be started here; nothing where it can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: slurm-wlm munge)"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "not installed: snakemake-executor-plugin-slurm (./install.sh slurm)"
    if os.geteuid():
        return "slurmd needs root"
    if (CONFIGURATION / "slurm.conf").exists():
        return f"{CONFIGURATION} holds a configuration already"
    return ""


pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.timeout(18000),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


def wait_for(question: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Waits until the answer is yes."""
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def answers(*command: str) -> str:
    """What a command prints; nothing where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout if not done.returncode else ""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The daemons, with two nodes of four cores, 8 GB and two made-up GPUs each; gives the folder of their logs."""
    folder = tmp_path_factory.mktemp("slurm")
    host, cores = socket.gethostname().split(".")[0], 4
    configuration = f"""
    ClusterName=test
    SlurmctldHost={host}(127.0.0.1)
    SlurmctldPort={free_port()}
    SlurmUser=root
    SlurmdUser=root
    AuthType=auth/munge
    ProctrackType=proctrack/pgid
    TaskPlugin=task/none
    SelectType=select/cons_tres
    SelectTypeParameters=CR_Core_Memory
    GresTypes=gpu
    SlurmdParameters=config_overrides
    StateSaveLocation={folder}/state
    SlurmdSpoolDir={folder}/%n
    SlurmctldPidFile={folder}/slurmctld.pid
    SlurmdPidFile={folder}/%n.pid
    MinJobAge=3600
    NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs={cores} RealMemory=8192 Gres=gpu:2
    NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs={cores} RealMemory=8192 Gres=gpu:2
    PartitionName=all Nodes=ALL Default=YES State=UP
    """
    with open(CONFIGURATION / "slurm.conf", "x", encoding="utf-8") as file:  # another's is left alone
        file.write(configuration)
    gpus = "".join(f"NodeName=one,two Name=gpu File=/dev/{name}\n" for name in ("null", "zero"))
    (CONFIGURATION / "gres.conf").write_text(gpus, encoding="utf-8")
    (folder / "state").mkdir()
    daemons = [["slurmctld", "-D"], ["slurmd", "-D", "-N", "one"], ["slurmd", "-D", "-N", "two"]]
    if not answers("sh", "-c", "munge -n | unmunge"):
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        daemons.insert(0, ["runuser", "-u", "munge", "--", "munged", "--foreground", "--force"])
    started: list[subprocess.Popen[bytes]] = []
    try:
        for daemon in daemons:
            with open(folder / f"{daemon[0]}-{daemon[-1]}.log", "wb") as log:
                started.append(subprocess.Popen(daemon, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
            if "munged" in daemon:
                with contextlib.suppress(AssertionError):  # the nodes will not be idle then
                    wait_for(lambda: bool(answers("sh", "-c", "munge -n | unmunge")), "munged")
        try:
            wait_for(lambda: answers("sinfo", "--Node", "--noheader").count(" idle ") == 2, "two idle nodes")
        except AssertionError as error:
            said = [path.read_text(errors="replace").strip()[-200:] for path in folder.glob("*.log")]
            pytest.skip(f"SLURM does not start on this machine: {error}; {'; '.join(said)}")
        yield folder
    finally:
        answers("scancel", "--user=root")
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=60)
        for name in ("slurm.conf", "gres.conf"):
            (CONFIGURATION / name).unlink()


@pytest.fixture(scope="module")
def checkout(slurm: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout whose profile asks SLURM after the first second."""
    made = Checkout.make(tmp_path_factory.mktemp("cluster") / "checkout")
    profile = made.folder / "experiments/profiles/slurm/config.yaml"
    with open(profile, "a", encoding="utf-8") as file:
        file.write("slurm-status-command: squeue\nslurm-init-seconds-before-status-checks: 1\n")
    return made


@pytest.fixture(scope="module")
def jobs(checkout: Checkout) -> dict[str, str]:
    """What SLURM says of each job of the study `tiny`, by the job's comment, which names rule and wildcards."""
    done = checkout.run("./run_all.sh", "--profile", "slurm", "tiny", network=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return told()


def told() -> dict[str, str]:
    shown = [block for block in answers("scontrol", "show", "job").split("\n\n") if block.strip()]
    return {found[1]: block for block in shown if (found := re.search(r"Comment=(\S+)", block))}


def test_every_job_was_queued_and_ran(jobs: dict[str, str]) -> None:
    rules = sorted(re.sub(r"_wildcards.*", "", comment) for comment in jobs)
    wanted = ["bench", "fit", "fit", "prepare", "probe", "report", "score", "translate", "translate"]
    assert rules == [f"rule_{name}" for name in wanted]
    assert all("JobState=COMPLETED" in block for block in jobs.values())


def test_results_are_those_of_a_local_run(jobs: dict[str, str], checkout: Checkout, tiny_study: Checkout) -> None:
    here = sorted(path.relative_to(tiny_study.folder) for path in tiny_study.folder.glob("runs/*/*/seed*"))
    assert len(here) == 2
    for run in here:
        weights = [
            torch.load(study.folder / run / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
            for study in (tiny_study, checkout)
        ]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
        for path in sorted((tiny_study.folder / run / "translations").glob("*.jsonl")):
            assert (checkout.folder / run / "translations" / path.name).read_bytes() == path.read_bytes()
    scores = [(study.folder / "reports/tiny/results/scores.csv").read_bytes() for study in (tiny_study, checkout)]
    assert scores[0] == scores[1]
    with open(checkout.folder / "reports/tiny/results/runs.csv", encoding="utf-8", newline="") as file:
        assert {row["status"] for row in csv.DictReader(file)} == {"finished"}


def test_a_training_gets_what_its_study_asks_for(jobs: dict[str, str], checkout: Checkout) -> None:
    """Two nodes train one model; GPUs are asked for, and the training tells that these are none."""
    study = yaml.safe_load((checkout.folder / "experiments/studies/tiny.yaml").read_text(encoding="utf-8"))
    small = study["models"]["transformer"]
    seen = {"callbacks": ["seen.Seen"]}
    wide = {**small, "base": "transformer", "fit": {"trainer": {"num_nodes": 2, "accelerator": "cpu", **seen}}}
    gpus = {**small, "base": "transformer", "fit": {"trainer": {"devices": 2, "accelerator": "gpu"}}}
    for key in ("bench", "baseline", "comparisons", "claims"):
        study.pop(key)
    study |= {"models": {"wide": wide, "gpus": gpus}, "cluster": {"memory_gib": 1.5, "hours": 0.5}}
    path = checkout.folder / "wide.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    planned = checkout.run(
        "python", "-c",
        "from lit_nmt.studies import load_study; print(*(run.folder for run in load_study('wide.yaml').runs))",
    )  # fmt: skip
    folders = planned.stdout.split()
    done = checkout.run(
        "env", "MASTER_ADDR=127.0.0.1", f"PYTHONPATH={ROOT}:{ROOT / 'tests'}",  # no name server knows the nodes
        "python", "-m", "snakemake", "--snakefile", "experiments/Snakefile", "--profile", "experiments/profiles/slurm",
        "--retries", "0", "--config", f"study={path}", "--", *(f"{folder}/fit.json" for folder in folders),
        network=True,
    )  # fmt: skip
    run = next(checkout.folder / folder for folder in folders if "/wide-" in folder)
    ranks = [json.loads((run / f"seen-{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]
    assert {rank["world_size"] for rank in ranks} == {2}
    assert ranks[0]["job"] == ranks[1]["job"] is not None
    assert json.loads((run / "fit.json").read_text(encoding="utf-8"))["status"] == "finished"
    shown = {name: block for comment, block in told().items() for name in ("wide", "gpus") if f"_{name}-" in comment}
    for words in ("NumNodes=2", "NumTasks=2", "TimeLimit=00:30:00", "JobState=COMPLETED"):
        assert words in shown["wide"]
    for words in ("NumNodes=1", "NumTasks=2", "TresPerNode=gres:gpu:2", "JobState=FAILED"):
        assert words in shown["gpus"]
    for block in shown.values():  # the executor adds what its own process takes
        found = re.search(r"MinMemoryNode=([0-9.]+)([MG])", block)
        assert found, block
        assert 1536 <= float(found[1]) * {"M": 1, "G": 1024}[found[2]] < 2048
    assert done.returncode == 1
