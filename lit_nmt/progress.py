"""What is seen of a study while it runs: the workflow's messages, and a line for each run that trains.

`WORKFLOW | python -m lit_nmt.progress STUDY`. On a terminal the runs that train stand below the messages and change in
place; elsewhere the line of a run is printed at each tenth of its training. `runs/STUDY.log` keeps it all.
"""

from __future__ import annotations

import queue
import re
import signal
import sys
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lit_nmt.leader import follow
from lit_nmt.status import budget, describe, duration, read_status, seconds_left
from lit_nmt.studies import RUNS, Study, load_study

SECONDS = 5.0
"""Between two looks at the runs."""

_CHATTER = re.compile(
    "(Using profile|Using shell|Assuming|Building DAG|Nothing to be done|Select jobs|Execute |Complete log|"
    "Touching output|Elapsed|$)"
)
_STOPPING = "Terminating processes on user request"
"""After which Snakemake tells of each job that it did not end."""


class Progress:
    """How far the runs of a study are, looked at again and again.

    Args:
        study: with all that it includes.
    """

    def __init__(self, study: Study) -> None:
        self.parts = study.parts
        self.tenths: dict[Path, int] = {}

    def look(self) -> tuple[list[str], list[str]]:
        """The lines of all runs that train with a line on the whole, and those of runs that came a tenth further."""
        training, further = [], []
        ended, runs, left = 0, 0, 0.0
        for part in self.parts:
            states = [read_status(run) for run in part.runs]
            for run, state in zip(part.runs, states, strict=True):
                if state.state == "training":
                    training.append(describe(run, state))
                    tenth = 10 * state.target_tokens // (budget(run) or sys.maxsize)
                    if tenth > self.tenths.setdefault(run.folder, tenth):
                        further.append(training[-1])
                        self.tenths[run.folder] = tenth
            runs += len(states)
            ended += sum(state.state in ("finished", "failed") for state in states)
            left += seconds_left(part, states) or 0.0
        whole = [f"{ended} of {runs} runs done" + (f", about {duration(left)} of training left" if left else "")]
        return [*training, *(whole if runs else [])], further


def main(name: str) -> None:
    """Shows what comes from standard input, and how far the study is, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the workflow, whose last words are still shown
    follow()
    study = load_study(name)
    progress = Progress(study)
    messages: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(messages,), daemon=True).start()
    console = Console(highlight=False, markup=False, emoji=False)
    RUNS.mkdir(exist_ok=True)
    with (
        (RUNS / f"{study.name}.log").open("a", encoding="utf-8") as log,
        Live(console=console, auto_refresh=False, transient=True) as live,
    ):

        def tell(line: str, shown: bool = True) -> None:
            print(line, file=log, flush=True)
            if shown:
                console.print(line, soft_wrap=True)
                console.file.flush()

        look_again = 0.0
        while True:
            try:
                message = messages.get(timeout=SECONDS)
            except queue.Empty:
                message = ""
            if message is None:
                return
            if message:
                tell(message)
            started = time.monotonic()
            if started >= look_again:
                lines, further = progress.look()
                for line in further:
                    tell(f"{time.strftime('%H:%M:%S')}  training   {line}", shown=not console.is_terminal)
                live.update(Text("\n".join(lines)), refresh=console.is_terminal)
                # of a thousand runs a look takes seconds: it shall not take from their processor
                look_again = time.monotonic() + max(SECONDS, 50 * (time.monotonic() - started))


def _read(messages: queue.Queue[str | None]) -> None:
    """Puts what is worth telling into the queue, and None at the end."""
    stopping = False
    for raw in iter(sys.stdin.buffer.readline, b""):
        line = raw.decode("utf-8", "replace")
        stopping = stopping or line.startswith(_STOPPING)
        if not stopping and not _CHATTER.match(line):
            messages.put(line.rstrip("\n"))
    messages.put(None)


if __name__ == "__main__":
    main(sys.argv[1])
