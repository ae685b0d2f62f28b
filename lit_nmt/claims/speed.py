"""Claims about time: who trains faster, and how time grows with length."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from lit_nmt.benchmark.settings import SINGLE
from lit_nmt.claims.verdicts import Criterion, Finding, Tables, conclude, decide, table, undecided
from lit_nmt.intervals import Interval

if TYPE_CHECKING:
    from lit_nmt.studies import Study


@dataclass(frozen=True)
class TrainingSpeed(Criterion):
    """Of `recurrence_is_slower_to_train`: a Transformer, and recurrent models, each compared by itself."""

    transformer: str = "transformer"
    recurrent: list[str] = field(default_factory=lambda: ["seq2seq", "attention-seq2seq"])

    def named(self) -> Mapping[str, Sequence[str]]:
        return {"transformer": [self.transformer], "recurrent": self.recurrent}


@dataclass(frozen=True)
class ConstantTime(Criterion):
    """Of `constant_time`: the model of which it is said."""

    model: str = "transformer"

    def named(self) -> Mapping[str, Sequence[str]]:
        return {"model": [self.model]}


def recurrence_is_slower_to_train(study: Study, tables: Tables, criterion: TrainingSpeed) -> list[Finding]:
    """Recurrence does not parallelise, so the Transformer trains faster than recurrent models.

    Source: Vaswani et al. 2017, sections 1 and 4. Claimed of training; whether decoding, which is sequential
    in every architecture, is faster too is judged apart.

    Statistic: the ratio of target tokens per second, Transformer over recurrent model, at the corpus's own
    lengths, on the same device with the same threads and precision. Its interval sets the ends of both
    models' windows against each other (slowest over fastest, fastest over slowest): the range of n windows
    holds the median speed with probability 1 - 2^(1 - n), of five 94 %, and the ratio of two such ranges more
    often.

    Supported where the whole interval lies above `smallest_effect` (a ratio, as 1.1), refuted where it lies below:
    for that hardware, since what a GPU does side by side one thread of a processor does in turn.
    """
    paper = "Vaswani et al. 2017, arXiv:1706.03762"
    statistic = "ratio of target tokens/s in {}, Transformer / recurrent"
    transformer = criterion.transformer
    found = []
    rows = table(tables, "throughput")
    rows = rows[rows["source_length"].isna()] if len(rows) else rows
    for setup, group in setups(rows):
        fast = group[group["model"] == transformer]
        for recurrent in criterion.recurrent:
            slow = group[group["model"] == recurrent]
            if len(fast) != 1 or len(slow) != 1:
                continue
            a, b = fast.iloc[0], slow.iloc[0]
            ratio = Interval(
                float(a["tokens_per_second"] / b["tokens_per_second"]),
                float(a["low"] / b["high"]),
                float(a["high"] / b["low"]),
            )
            found.append(
                conclude(
                    f"{setup}, {a['corpus']}, against {recurrent}",
                    statistic.format(_spoken_task(a)),
                    paper,
                    ratio,
                    decide(ratio.low, ratio.high, criterion.smallest_effect),
                    [],
                    [
                        f"{transformer} {a['tokens_per_second']:,.0f} tokens/s",
                        f"{recurrent} {b['tokens_per_second']:,.0f} tokens/s",
                    ],
                    "throughput.csv",
                )
            )
    reason = f"no throughput of {transformer} and a recurrent model on one device at one precision"
    return found or [undecided("training", statistic.format("training"), paper, reason)]


def constant_time(study: Study, tables: Tables, criterion: ConstantTime) -> list[Finding]:
    """The Transformer is O(1) in the length of a sequence, where recurrence is O(n).

    Source: Vaswani et al. 2017, Table 1, which says it of sequential operations and of path length per layer,
    never of time; self-attention does O(n^2 d) work. In short it is often said of time. So three things are
    judged: wall time of a sentence; operations that wait for one another, when a given sequence is read or
    trained on, and when a translation is written, a token after the other; and operations between two positions.

    Statistic: the exponent of length, 0 is constant, 1 linear, between the two longest lengths: there weighs least
    what takes as long for any sentence, as the update of all weights does that ends a step of training. Of time, each
    batch is a single sentence: with equally many tokens in a batch, a machine that does all of them at once would show
    1, as it has the fewer sentences side by side, the longer they are. Its interval sets the ends of both lengths'
    windows against each other, as in `recurrence_is_slower_to_train`. Operations were counted while the model ran
    (`operations`): exact, so that they have no interval.

    Supported where the exponent's whole interval lies below `smallest_effect` (an exponent, as 0.1), refuted
    where it lies above. Of paths inconclusive where some positions are not joined by any.
    """
    paper = "Vaswani et al. 2017, arXiv:1706.03762, Table 1"
    model, limit = criterion.model, criterion.smallest_effect
    found = []
    statistic = "exponent of the wall time of a sentence in its length, in {}"
    rows = table(tables, "throughput")
    rows = rows[rows["source_length"].notna() & rows["phase"].str.endswith(SINGLE)] if len(rows) else rows
    for setup, group in setups(rows):
        exponents = {
            str(name): _exponent(part) for name, part in group.groupby("model") if part["source_length"].nunique() >= 2
        }
        if model not in exponents:
            continue
        own = exponents[model]
        lengths = sorted(group.loc[group["model"] == model, "source_length"].astype(int))[-2:]
        beside = [f"beside it {name} {fit.value:.2f}" for name, fit in exponents.items() if name != model]
        row = group.iloc[0]
        found.append(
            conclude(
                f"time, {setup}",
                statistic.format(_spoken_task(row)),
                paper,
                own,
                decide(-own.high, -own.low, -limit),
                [],
                [f"{model} from {lengths[0]} to {lengths[1]} subwords", *beside],
                "throughput.csv",
            )
        )
    if not found:
        reason = f"no time of {model} with single sentences of two lengths or more"
        found.append(undecided("time", statistic.format("training"), paper, reason))

    return found + [_counted(table(tables, "operations"), *part, model, limit, paper) for part in COUNTED.items()]


COUNTED = {
    "sequential operations, reading and training": ("sequential-training",),
    "sequential operations, decoding": ("sequential-decoding",),
    "path length": ("path-source-target", "path-target-target"),
}
"""What is judged by exact counts, and the quantities of `operations.csv` that it is the largest of."""


EXACT = "exact count"
"""What a statistic speaks of that has no interval."""


def _counted(
    rows: pd.DataFrame, part: str, quantities: Sequence[str], model: str, limit: float, paper: str
) -> Finding:
    statistic = f"{part}: exponent of the {EXACT} in the length"
    rows = rows[rows["quantity"].isin(quantities)] if len(rows) else rows
    largest = {
        str(name): own.groupby("length")[["operations", "unconnected"]].max()
        for name, own in (rows.groupby("model", sort=False) if len(rows) else [])
    }
    own = largest.get(model)
    if own is None or len(own) < 2:
        reason = f"operations of {model} at two lengths or more are missing; `lit-nmt bench` counts them"
        return undecided(part, statistic, paper, reason)
    counts = {name: each["operations"] for name, each in largest.items() if each["operations"].notna().all()}
    shown = "; ".join(f"{name} {', '.join(f'{n:g}' for n in each)}" for name, each in counts.items())
    told = f"operations at {', '.join(f'{n:g}' for n in own.index)} subwords: {shown}"
    apart = own["unconnected"].iloc[-1]
    if apart > 0:
        return undecided(part, statistic, paper, f"{apart:.0%} of the pairs of positions are not joined; {told}")
    (shorter, few), (longer, many) = own["operations"].iloc[-2:].items()
    exponent = math.log(many / few) / math.log(longer / shorter)
    exact, verdict = Interval(exponent, exponent, exponent), decide(-exponent, -exponent, -limit)
    return conclude(part, statistic, paper, exact, verdict, [], [told], "operations.csv")


def _exponent(rows: pd.DataFrame) -> Interval:
    """The exponent of the time of a sentence in its length, between the two longest; its interval over windows."""
    shorter, longer = (row for _, row in rows.sort_values("source_length").iloc[-2:].iterrows())
    lengths = longer["source_length"] / shorter["source_length"]
    # of two speeds; the time of a sentence is its length over the speed
    between = lambda fast, slow: math.log(lengths * fast / slow) / math.log(lengths)
    return Interval(
        between(shorter["tokens_per_second"], longer["tokens_per_second"]),
        between(shorter["low"], longer["high"]),
        between(shorter["high"], longer["low"]),
    )


def _spoken_task(row: pd.Series) -> str:
    """What a bench row timed, and on what, without how it was decoded."""
    task = "training" if row["phase"].startswith("train") else "decoding"
    return f"{task} on {row['device']}{_spoken_threads(row['threads'])}"


def _spoken_threads(threads: float) -> str:
    return f", {threads:g} thread{'s' if threads != 1 else ''}" if threads == threads else ""


def setups(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows of `throughput.csv` measured alike, with a name that says how: phase, device, threads, precision."""
    phases = {"train": "training", "decode-greedy": "greedy decoding"}
    keys = ["phase", "corpus", "device", "threads", "precision"]
    if rows.empty:
        return
    for (phase, _, device, threads, precision), group in rows.groupby(keys, sort=False, dropna=False):
        base = phase.removesuffix(SINGLE)
        named = phases.get(base) or f"decoding with {base.removeprefix('decode-')}"
        named += ", single sentences" if phase != base else ""
        yield f"{named}, {device}{_spoken_threads(threads)}, {precision}", group
