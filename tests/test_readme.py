"""Every command in the README works: executed in order, with the study replaced by `tiny`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from checkout import ROOT, Checkout

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow"), pytest.mark.timeout(1800)]

README = (ROOT / "README.md").read_text(encoding="utf-8")

# What stands in the README, and what is run instead so that it takes seconds
REPLACED = {
    r"\bquick\b": "tiny",
    r"runs/synthetic/": "runs/synthetic-tiny/",
    r"experiments/corpora/synthetic\.yaml": "data/synthetic-tiny.yaml",
    r"experiments/models/transformer\.yaml": "runs/synthetic-tiny/transformer-*/seed1/fit.yaml",
    r"\bprobe memory\b": "probe tiny",
    r"prepare synthetic\b": "prepare data/synthetic-tiny.yaml",
    r"--data\.target_tokens 50000": "--data.target_tokens 5000",
    # The copy in which this runs has no package of its own, so the model's files stand outside it
    r"check-model my-model\b": "check-model my-model.yaml",
    # All tests within a test would never end; the command is looked at below
    r"^tests/run\.sh": "bash -n tests/run.sh",
}


def commands() -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_every_command_works(tiny_study: Checkout) -> None:
    script = ["set -eu"]
    for command in commands():
        for pattern, instead in REPLACED.items():
            command = re.sub(pattern, instead, command)
        script += [f"echo '>>> {command}' >&2", command]
    done = tiny_study.run("bash", "-c", "\n".join(script))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tiny_study.folder / "runs/mine/fit.json").is_file()
    assert (tiny_study.folder / "runs/mine/translations/test.greedy.jsonl").is_file()


def test_results_are_read_as_it_says(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    (block,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(block, names)
    assert len(names["scores"]) > 10
    assert "constant-time" in capsys.readouterr().out


def test_what_is_looked_for_is_there() -> None:
    told = " ".join(commands())
    for command in ("./run_all.sh", "lit-nmt fit", "lit-nmt translate", "lit-nmt report", "tests/run.sh"):
        assert command in told
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for study in re.findall(r"\./run_all\.sh (\w+)(?=[` ])", README):
        assert (ROOT / f"experiments/studies/{study}.yaml").is_file(), study
    assert (ROOT / "tests/run.sh").stat().st_mode & 0o111


def test_no_command_is_left_untried() -> None:
    """Commands in running text are among those in blocks, or name a study that ships."""
    inline = [text for text in re.findall(r"`([^`\n]+)`", README) if text.startswith(("./run_all.sh", "lit-nmt "))]
    verbs = {command.split()[1] for command in commands() if command.startswith("lit-nmt ")}
    for text in inline:
        if text.startswith("lit-nmt "):
            assert text.split()[1] in verbs | {"fetch", "completion"}, text
    assert inline


def test_paths_in_the_layout_exist() -> None:
    for path in re.findall(r"`((?:lit_nmt|experiments|tests)/[\w/.-]+)`", README):
        assert Path(ROOT / path).exists(), path
