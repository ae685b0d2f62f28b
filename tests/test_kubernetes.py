"""The Kubernetes profile with a made-up `kubectl`, which runs a Job's command here."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, Checkout

PROFILE = ROOT / "experiments/profiles/kubernetes"

KUBECTL = f"""#!{sys.executable}
import os, pathlib, subprocess, sys, yaml
folder = pathlib.Path(os.environ["JOBS"])
verb, *arguments = sys.argv[1:]
if verb == "create":
    name = f"lit-nmt-{{len(list(folder.glob('*.yaml')))}}"
    text = sys.stdin.read()
    (folder / f"{{name}}.yaml").write_text(text)
    (container,) = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
    run = "import subprocess, sys; done = subprocess.run(sys.argv[3:], cwd=sys.argv[2]).returncode; "
    run += "open(sys.argv[1], 'w').write('Failed' if done else 'SuccessCriteriaMet Complete')"
    command = [sys.executable, "-c", run, str(folder / name), container["workingDir"], *container["command"]]
    if "RUN" in os.environ:
        with open(folder / f"{{name}}.log", "w") as log:
            subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    print(f"job.batch/{{name}}")
if verb == "get":
    path = folder / arguments[0].removeprefix("job.batch/")
    if os.environ.get("SILENT"):
        sys.exit("Unable to connect to the server")
    if path.with_suffix(".yaml").exists():
        print("there", path.read_text() if path.exists() else "", ".", end="")
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """With `kubectl` on the path, and what the profile reads."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "jobs").mkdir()
    program = tmp_path / "bin" / "kubectl"
    program.write_text(KUBECTL, encoding="utf-8")
    program.chmod(0o755)
    variables = {"LIT_NMT_IMAGE": "images.example/nmt:1", "LIT_NMT_CLAIM": "checkouts", "LIT_NMT_MOUNT": "/shared"}
    path = f"{tmp_path / 'bin'}:{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    return {**os.environ, **variables, "PATH": path, "JOBS": str(tmp_path / "jobs")}


def call(environment: dict[str, str], program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(PROFILE / program), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("gpus", [0, 4])
def test_a_job_asks_for_what_its_study_asks_for(environment: dict[str, str], tmp_path: Path, gpus: int) -> None:
    submitted = call(environment, "submit.sh", "8", "65536", str(gpus), "90", "/shared/nmt/job.sh")
    assert submitted.stdout == "job.batch/lit-nmt-0\n"
    job = yaml.safe_load((tmp_path / "jobs" / "lit-nmt-0.yaml").read_text(encoding="utf-8"))
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert job["spec"]["activeDeadlineSeconds"] == 90 * 60
    assert container["image"] == "images.example/nmt:1"
    assert container["command"] == ["bash", "/shared/nmt/job.sh"]
    assert container["resources"]["requests"] == {"cpu": 8, "memory": "65536M"}
    assert container["resources"]["limits"] == {"memory": "65536M"} | ({"nvidia.com/gpu": 4} if gpus else {})
    assert {"name": "checkout", "mountPath": "/shared"} in container["volumeMounts"]
    assert {"name": "checkout", "persistentVolumeClaim": {"claimName": "checkouts"}} in pod["volumes"]


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (None, "running"),
        ("Suspended", "running"),
        ("SuccessCriteriaMet", "running"),
        ("SuccessCriteriaMet Complete", "success"),
        ("FailureTarget Failed", "failed"),
    ],
)
def test_how_a_job_is(environment: dict[str, str], tmp_path: Path, conditions: str | None, said: str) -> None:
    (tmp_path / "jobs" / "j.yaml").touch()
    if conditions:
        (tmp_path / "jobs" / "j").write_text(conditions, encoding="utf-8")
    assert call(environment, "status.sh", "job.batch/j").stdout == f"{said}\n"
    assert call(environment, "status.sh", "job.batch/gone").stdout == "failed\n"
    assert call({**environment, "SILENT": "yes"}, "status.sh", "job.batch/j").stdout == "running\n"


def test_what_is_not_set_is_told(environment: dict[str, str]) -> None:
    del environment["LIT_NMT_CLAIM"]
    done = call(environment, "submit.sh", "1", "1024", "0", "60", "job.sh")
    assert done.returncode == 2
    assert done.stderr == "submit.sh: LIT_NMT_CLAIM is not set; see experiments/profiles/README.md\n"


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
@pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_cluster_generic") is None,
    reason="not installed: snakemake-executor-plugin-cluster-generic (./install.sh kubernetes)",
)
def test_a_job_of_the_workflow_runs(environment: dict[str, str], tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path / "a checkout")
    command = ["python", "-m", "snakemake", "--snakefile", "experiments/Snakefile"]
    command += ["--profile", "experiments/profiles/kubernetes", "--latency-wait", "5", "--config", "study=tiny"]
    done = subprocess.run(
        [*command, "--", "data/synthetic-tiny/manifest.json"],
        cwd=checkout.folder, env={**environment, "RUN": "yes"}, capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    logs = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "jobs").glob("*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    assert (checkout.folder / "data/synthetic-tiny/manifest.json").is_file()
    assert [path.name for path in (tmp_path / "jobs").glob("*.yaml")] == ["lit-nmt-0.yaml"]
