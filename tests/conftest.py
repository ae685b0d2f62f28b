"""What several test files share: one study carried out from nothing to its report."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from checkout import Checkout


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=6, help="how often test_faults.py kills a study")
    parser.addoption("--kill-seed", type=int, default=1, help="of the moments at which it does")


@pytest.fixture(autouse=True)
def subnormal_numbers() -> Iterator[None]:
    """A training makes the whole process count them as 0; the tests after it compute as a fresh process does."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the study `tiny` was carried out once, after a dry run."""
    checkout = Checkout.make(tmp_path_factory.mktemp("suite") / "a checkout")
    planned = checkout.run("./run_all.sh", "--dry-run", "tiny")
    assert planned.returncode == 0, planned.stderr
    for told in ("2 runs: none done, 2 to train", "training takes about", "1 x prepare", "2 x fit"):
        assert told in planned.stdout
    generated = ("data", "runs", "reports")
    assert not any((checkout.folder / name).exists() for name in generated), "a dry run writes nothing"
    done = checkout.run("./run_all.sh", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("Report: reports/tiny/index.html\n")
    return checkout
