"""What is measured, how long, and the columns that come of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lit_nmt.checks import DECODING
from lit_nmt.errors import UserError

PRECISIONS = ("32-true", "bf16-mixed", "bf16-true")
"""In which a model can be measured, in Lightning's words."""

SINGLE = "-single"
"""What the names of phases end in that have one sentence in a batch."""

THROUGHPUT = (
    "model phase corpus source_length tokens_per_second low high windows sentences_per_second peak_memory_bytes "
    "flops_per_token utilisation padding_share outside_share parameters device threads precision"
).split()
"""The columns of `throughput.csv`."""

OPERATIONS = ["model", "quantity", "length", "operations", "unconnected"]
"""The columns of `operations.csv`."""

_PHASE = re.compile(rf"(train|decode-({DECODING}))({SINGLE})?")


@dataclass(frozen=True)
class Settings:
    """What is measured, and how long.

    Attributes:
        corpus: The prepared corpus on whose own lengths models are measured, too; default none, in a study its first.
        lengths: Of source and target in subwords, EOS counted.
        phases: Of `train`, `decode-greedy` and `decode-beam<hypotheses>`; as `train-single` and so on of `lengths`
            with one sentence in a batch.
        target_tokens: In a batch, but for single sentences.
        windows: Measured for each model, phase and length.
        steps: In a window, at least.
        max_seconds: For all windows together; where they would take longer, those of fixed lengths get fewer steps.
        precisions: As `32-true`; each model is measured in each, default the one that it trains in.
        threads: Of the processor; each model is measured with each number, default the one that it trains with.
        device: `cpu`, `cuda`, or `auto`: a GPU if there is one.
        peak_memory: Whether to measure it, which takes a process for every row but those of single sentences.
        loop_steps: Of a real training, timed beside as many bare steps for `outside_share`; 0 leaves it out.
    """

    corpus: str | None = None
    lengths: list[int] = field(default_factory=list)
    phases: list[str] = field(default_factory=lambda: ["train", "decode-greedy", "decode-beam5"])
    target_tokens: int = 2048
    windows: int = 5
    steps: int = 20
    max_seconds: float | None = None
    precisions: list[str] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    device: str = "auto"
    peak_memory: bool = True
    loop_steps: int = 0

    def check(self, place: str = "") -> None:
        """Refuses what cannot be measured, in one line.

        Args:
            place: what to put before a key, for messages.

        Raises:
            UserError: a number or name without a meaning.
        """
        for name, least in (("target_tokens", 1), ("windows", 1), ("steps", 1), ("loop_steps", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{place}{name}: found {getattr(self, name)}, expected {least} or more")
        if self.max_seconds is not None and self.max_seconds <= 0:
            raise UserError(f"{place}max_seconds: found {self.max_seconds}, expected more than 0")
        if min(self.lengths, default=2) < 2:
            raise UserError(
                f"{place}lengths: found {min(self.lengths)}, expected 2 or more: a subword and the sentence's end"
            )
        if not self.lengths and any(phase.endswith(SINGLE) for phase in self.phases):
            raise UserError(f"{place}lengths: none found, expected some, as phases of single sentences have no others")
        if not self.lengths and not self.corpus:
            raise UserError(f"{place}lengths: none found, expected some, or a corpus whose lengths to measure on")
        for phase in self.phases:
            if not _PHASE.fullmatch(phase):
                raise UserError(
                    f"{place}phases: found {phase!r}, expected train, decode-greedy, or decode-beam and its size, or "
                    f"one of them and {SINGLE}"
                )
        for precision in self.precisions:
            if precision not in PRECISIONS:
                raise UserError(f"{place}precisions: found {precision!r}, expected {', '.join(PRECISIONS)}")
        if min(self.threads, default=1) < 1:
            raise UserError(f"{place}threads: found {min(self.threads)}, expected 1 or more")
        if self.device not in ("auto", "cpu", "cuda"):
            raise UserError(f"{place}device: found {self.device!r}, expected auto, cpu or cuda")
