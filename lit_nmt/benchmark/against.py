"""Two checkouts of the code measured in alternation: what a change makes faster, and what slower.

Each measurement is `lit-nmt bench` in a process of its own, with one window; the order turns about with every round,
so that a drift of the machine hits both alike. What counts is the ratio within a round.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from lit_nmt.code import git
from lit_nmt.data.corpora import DATA
from lit_nmt.errors import UserError
from lit_nmt.files import write_rows
from lit_nmt.leader import LEADER, this_process
from lit_nmt.studies import RUNS

WHAT = ["model", "phase", "corpus", "source_length", "precision", "threads", "device"]
"""Columns of throughput.csv that tell what was measured."""
COLUMNS = [*WHAT, "tokens_per_second", "against", "ratio", "low", "high", "rounds"]
"""`against`: tokens a second of the other revision; `low`, `high`: the smallest and the largest ratio of a round."""

Speeds = dict[tuple[str, ...], float]


def compare(revision: str, targets: Sequence[str], options: Mapping[str, Any], rounds: int) -> None:
    """Measures the code here and another revision of it in alternation; writes and prints the ratios.

    Args:
        revision: a commit, branch or tag of the checkout that this code is in.
        targets: of `lit-nmt bench`; each side reads its own YAML of a name.
        options: of `lit-nmt bench`, by name.
        rounds: in each of which both are measured once.

    Raises:
        UserError: there is no such revision, or one side cannot be measured.
    """
    code = Path(__file__).resolve().parents[2]
    commit = git(code, "rev-parse", "--verify", "--quiet", "--short=12", f"{revision}^{{commit}}")
    if not commit:
        raise UserError(f"--against: no revision {revision!r} in {code}; expected a commit, branch or tag of its git")
    words = [str(Path(target).resolve()) if Path(target).is_file() else target for target in targets]
    for name, value in {**options, "windows": 1}.items():
        words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    words.append("--no_peak_memory")
    measured: list[tuple[Speeds, Speeds]] = []
    with tempfile.TemporaryDirectory() as folder, _worktree(code, commit, Path(folder) / "code") as other:
        sides = [_side(Path(folder) / "here", code, Path.cwd()), _side(Path(folder) / "there", other, other)]
        with tqdm(total=2 * rounds, desc=f"against {commit}", unit=" measurements", disable=None) as bar:
            for number in range(rounds):
                speeds: dict[int, Speeds] = {}
                for side in (0, 1) if number % 2 == 0 else (1, 0):
                    speeds[side] = _measure(*sides[side], words)
                    bar.update()
                measured.append((speeds[0], speeds[1]))
    rows = list(_rows(measured))
    if not rows:
        raise UserError(f"--against: nothing could be measured both here and at {commit}")
    path = RUNS / "bench" / f"against-{commit}.csv"
    write_rows(path, COLUMNS, rows)
    for row in rows:
        place = f"{row['source_length']} subwords" if row["source_length"] else row["corpus"]
        print(
            f"{row['model']}, {row['phase']}, {place}, {row['precision']}: {row['ratio']} times {commit} "
            f"({row['low']} to {row['high']}), {row['tokens_per_second']} against {row['against']} tokens/s"
        )
    print(f"{path}: {len(rows)} rows")


def _rows(measured: Sequence[tuple[Speeds, Speeds]]) -> Iterator[dict[str, Any]]:
    """What was measured on both sides in every round."""
    first = measured[0][0]
    for key in first:
        if not all(key in here and key in there for here, there in measured):
            continue
        ratios = [here[key] / there[key] for here, there in measured]
        yield {
            **dict(zip(WHAT, key, strict=True)),
            "tokens_per_second": f"{median(here[key] for here, _ in measured):.1f}",
            "against": f"{median(there[key] for _, there in measured):.1f}",
            "ratio": f"{median(ratios):.3f}",
            "low": f"{min(ratios):.3f}",
            "high": f"{max(ratios):.3f}",
            "rounds": len(ratios),
        }


@contextmanager
def _worktree(code: Path, commit: str, folder: Path) -> Iterator[Path]:
    """A checkout of another revision, gone afterwards."""
    git(code, "worktree", "prune")  # of one that was killed
    git(code, "worktree", "add", "--detach", str(folder), commit)
    if not folder.is_dir():
        raise UserError(f"--against: {commit} could not be checked out from {code}; is its .git writable?")
    try:
        yield folder
    finally:
        git(code, "worktree", "remove", "--force", str(folder))


def _side(folder: Path, code: Path, settings: Path) -> tuple[Path, Path]:
    """A working directory with the experiments of one side and the data of here; and where its code is."""
    folder.mkdir()
    (folder / "experiments").symlink_to((settings / "experiments").resolve())
    (folder / DATA).symlink_to(DATA.resolve())
    return folder, code


def _measure(folder: Path, code: Path, words: Sequence[str]) -> Speeds:
    """Tokens a second of everything that a side measures."""
    path = os.pathsep.join([str(code), str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, LEADER: this_process()}
    command = [sys.executable, "-m", "lit_nmt.cli", "bench", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it ended without a word"]
        raise UserError(f"--against: the code in {code} cannot be measured: {said[-1]}")
    print(
        "".join(line for line in done.stderr.splitlines(True) if line.startswith("lit-nmt:")), end="", file=sys.stderr
    )
    speeds = {}
    for found in sorted((folder / RUNS / "bench").glob("*/throughput.csv")):
        with found.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                speeds[tuple(row[name] for name in WHAT)] = float(row["tokens_per_second"])
    return speeds
