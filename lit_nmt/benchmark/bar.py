"""How far a benchmark is: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from lit_nmt.status import duration

SECONDS = 60.0
"""Between two lines, at least."""


class Bar(tqdm):
    """A bar on a terminal; elsewhere, as in a workflow, a line at each tenth, no more than one a minute.

    Args:
        what: is done, for the line's head.
        total: work, in any unit.
        options: of tqdm.
    """

    def __init__(self, what: str, total: float, **options: Any) -> None:
        super().__init__(total=total, desc=what, disable=not sys.stderr.isatty(), **options)
        self._what, self._whole, self._done, self._tenth = what, total, 0.0, 0
        self._start = self._told = time.monotonic()

    def update(self, n: float | None = 1) -> bool | None:
        """Tells that so much more is done."""
        shown = super().update(n)
        self._done += n or 0
        tenth, now = int(10 * self._done / self._whole), time.monotonic()
        if self.disable and self._tenth < tenth < 10 and now - self._told >= SECONDS:
            left = (now - self._start) * (self._whole - self._done) / self._done
            line = f"{time.strftime('%H:%M:%S')}  {self._what:<10} {10 * tenth} %, about {duration(left)} left"
            print(line, file=sys.stderr, flush=True)
            self._tenth, self._told = tenth, now
        return shown
