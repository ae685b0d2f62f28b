"""Neural machine translation architectures, trained and judged on one footing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lit_nmt.report.tables import Results


def load_results(folder: str | Path) -> Results:
    """The tables of a report as pandas frames by name: `scores`, `runs`, `curves`, `throughput`, `claims`, and more.

    Args:
        folder: of a report, as `reports/published/quick`, or its `results`.

    Raises:
        lit_nmt.errors.UserError: there is no such folder, or one of its files cannot be read.
    """
    from lit_nmt.report.tables import read_results  # not before it is asked for: the command line starts at once

    inner = Path(folder) / "results"
    return read_results(inner if inner.is_dir() else Path(folder))
