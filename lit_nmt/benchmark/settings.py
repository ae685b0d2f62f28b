"""What is measured, and how long."""

from __future__ import annotations

from dataclasses import dataclass, field

from lit_nmt.checks import check_measured
from lit_nmt.errors import UserError


@dataclass(frozen=True)
class Settings:
    """What is measured, and how long.

    Attributes:
        corpus: the prepared corpus on whose own lengths models are measured, too; None: on none.
        lengths: of source and target in subwords, EOS counted.
        phases: "train", "decode-greedy", "decode-beam<hypotheses>".
        target_tokens: in a batch.
        windows: measured for each model, phase and length.
        steps: in a window, at least.
        max_seconds: for all windows together; where they would take longer, all get fewer steps, in
            proportion.
        precisions: in Lightning's words; each model is measured in each. Empty: in the one that it trains in.
        threads: of the processor.
        device: "cpu", "cuda", or "auto": a GPU if there is one.
        peak_memory: whether to measure it, which takes a process for every row.
        loop_steps: of a real training, timed beside as many bare steps for `outside_share`; 0: not measured.
    """

    corpus: str | None = None
    lengths: list[int] = field(default_factory=list)
    phases: list[str] = field(default_factory=lambda: ["train", "decode-greedy", "decode-beam5"])
    target_tokens: int = 2048
    windows: int = 5
    steps: int = 20
    max_seconds: float | None = None
    precisions: list[str] = field(default_factory=list)
    threads: int = 1
    device: str = "auto"
    peak_memory: bool = True
    loop_steps: int = 0

    def check(self) -> None:
        """Refuses what cannot be measured, in one line.

        Raises:
            UserError: a number or name without a meaning.
        """
        check_measured(self)
        if self.threads < 1:
            raise UserError(f"threads: found {self.threads}, expected 1 or more")
        if not self.lengths and not self.corpus:
            raise UserError("lengths: none found, expected some, or a corpus whose lengths to measure on")
        if self.device not in ("auto", "cpu", "cuda"):
            raise UserError(f"device: found {self.device!r}, expected auto, cpu or cuda")
