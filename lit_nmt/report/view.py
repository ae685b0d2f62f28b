"""How one study's results are looked at: which models and corpora, in which order, by which score."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lit_nmt.data.corpora import EXAMPLES
from lit_nmt.evaluation import ALL, MEAN, NESTED, PAIRED_BOOTSTRAP, POOLED
from lit_nmt.report.content import Cell
from lit_nmt.report.styles import Style, model_styles
from lit_nmt.report.tables import Results, over_seeds


@dataclass
class View:
    """Results with the choices that every part of the report shares.

    Attributes:
        results: the tables.
        styles: model -> label, colour and line, in the study's order.
        papers: model -> its source, or nothing.
        built: model -> how it is built, in words, or nothing.
        corpora: in the study's order.
        decodings: the primary one first.
        case: "mixed" or "lc", of the primary score.
    """

    results: Results
    styles: dict[str, Style]
    papers: dict[str, str]
    built: dict[str, str]
    corpora: list[str]
    decodings: list[str]
    case: str

    @classmethod
    def of(cls, results: Results) -> View:
        study = results.study
        models = _ordered(
            study.get("models") or {}, *(results[name]["model"] for name in ("runs", "scores", "throughput"))
        )
        corpora = _ordered(study.get("corpora") or {}, *(results[name]["corpus"] for name in ("runs", "scores")))
        described = {name: _describe_model(results, name) for name in models}
        primary = study.get("primary") or {}
        decodings = _ordered([primary.get("decoding") or "beam5"], results["scores"]["decoding"])
        found = set(results["scores"]["decoding"])
        return cls(
            results,
            model_styles(described),
            {name: entry["paper"] for name, entry in described.items()},
            {name: entry["built"] for name, entry in described.items()},
            corpora,
            [name for name in decodings if name in found] or decodings[:1],
            primary.get("case") or "mixed",
        )

    @property
    def trains(self) -> bool:
        """Whether the study trains its models; else it only measures them."""
        return bool(self.results.study.get("planned", True)) or len(self.results["runs"]) > 0

    def test_sets(self, corpus: str) -> list[str]:
        """The scored test sets of a corpus, all of them together first."""
        scores = self.results["scores"]
        found = _ordered([], scores[scores["corpus"] == corpus]["test_set"])
        return sorted(found, key=lambda name: name != POOLED)

    def primary_set(self, corpus: str) -> str:
        """The test set of the main table: the study's, or the first where this corpus lacks that."""
        wanted = (self.results.study.get("primary") or {}).get("test_set") or POOLED
        found = self.test_sets(corpus)
        return wanted if wanted in found or not found else found[0]

    def length_set(self, corpus: str) -> str:
        """The test set whose length bins are drawn: the study's, or the primary one."""
        wanted = (self.results.study.get("primary") or {}).get("lengths")
        return wanted if wanted in self.test_sets(corpus) else self.primary_set(corpus)

    def scores(self, case: str = "mixed") -> pd.DataFrame:
        """The scores of single seeds under one signature; `case` is "mixed" or "lc"."""
        scores = self.results["scores"]
        return scores[scores["signature"].str.contains(f"case:{case}", regex=False) & (scores["seed"] != MEAN)]

    def averages(self, case: str = "mixed") -> pd.DataFrame:
        """The scores averaged over seeds, with intervals over seeds and sentences together."""
        scores = self.results["scores"]
        return scores[scores["signature"].str.contains(f"case:{case}", regex=False) & (scores["seed"] == MEAN)]

    def primary_scores(self, corpus: str, case: str = "mixed") -> pd.DataFrame:
        """The scores of single seeds on the whole primary test set, by the primary decoding."""
        return self.whole_scores(corpus, self.primary_set(corpus), case)

    def whole_scores(self, corpus: str, test_set: str, case: str = "mixed") -> pd.DataFrame:
        """The scores of single seeds on a whole test set, by the primary decoding."""
        return self._of_one_decoding(corpus, test_set, case, whole=True)

    def length_scores(self, corpus: str, case: str = "mixed") -> pd.DataFrame:
        """The scores of single seeds on each length bin, by the primary decoding."""
        return self._of_one_decoding(corpus, self.length_set(corpus), case, whole=False)

    def _of_one_decoding(self, corpus: str, test_set: str, case: str, whole: bool) -> pd.DataFrame:
        scores = self.scores(case)
        chosen = (scores["corpus"] == corpus) & (scores["test_set"] == test_set)
        return scores[chosen & (scores["decoding"] == self.decodings[0]) & ((scores["bin"] == ALL) == whole)]

    def ranking(self, corpus: str) -> pd.DataFrame:
        """Models by primary BLEU, best first.

        Columns: model, seeds, means and spreads over seeds, bleu_low and bleu_high over seeds and sentences.
        """
        scores = self.primary_scores(corpus, self.case)
        summary = over_seeds(scores, ["model"], ["bleu", "chrf"])
        averages = self.averages(self.case)
        chosen = (averages["corpus"] == corpus) & (averages["test_set"] == self.primary_set(corpus))
        chosen &= (averages["decoding"] == self.decodings[0]) & (averages["bin"] == ALL)
        intervals = averages[chosen].set_index("model")
        for column in ("bleu_low", "bleu_high"):
            summary[column] = summary["model"].map(intervals[column].to_dict()).astype(float)
        return summary.sort_values("bleu", ascending=False, kind="stable").reset_index(drop=True)

    def contrasts(self, corpus: str) -> pd.DataFrame:
        """Paired differences on the primary score: a row a pair, over seeds and sentences where there are seeds."""
        frame = self.results["comparisons"]
        chosen = (frame["corpus"] == corpus) & (frame["test_set"] == self.primary_set(corpus))
        chosen &= (frame["decoding"] == self.decodings[0]) & (frame["bin"] == ALL) & (frame["seed"] == MEAN)
        chosen &= frame["signature"].str.contains(f"case:{self.case}", regex=False)
        return frame[chosen & frame["method"].isin([NESTED, PAIRED_BOOTSTRAP])]

    def cutting(self, corpus: str) -> list[str]:
        """The models that cut what is longer than they can read or say."""
        runs = self.results.provenance.get("runs") or []
        found = {run["model"] for run in runs if run["corpus"] == corpus and run.get("cut")}
        return [model for model in self.styles if model in found]

    def seeds(self, corpus: str) -> list[str]:
        """The seeds with which a corpus was trained on, or planned to be."""
        planned = [entry for entry in self.results.study.get("planned") or [] if entry[0] == corpus]
        runs = self.results["runs"]
        return _ordered([str(entry[2]) for entry in planned], runs[runs["corpus"] == corpus]["seed"])

    def name(self, model: str) -> Cell:
        """A table's cell that names a model in its colour."""
        style = self.styles.get(model)
        return Cell(style.label if style else model, colour=style.colour if style else None)

    def label(self, model: str) -> str:
        """A model's printed name."""
        return self.styles[model].label if model in self.styles else model


def spoken_decoding(name: str) -> str:
    """Says beam5 as "beam 5"."""
    return f"beam {name[4:]}" if name.startswith("beam") and name[4:].isdigit() else name


def spoken_test_set(name: str) -> str:
    """What a reader calls a test set."""
    return {POOLED: "all test sets together", EXAMPLES: "sentences of our own"}.get(name, name)


def spoken_bin(name: str) -> str:
    """Says 5-10 as "5–10 words"."""
    return f"{name.replace('-', '–')} words"


def best(values: Iterable[float]) -> float:
    """The highest of those that are known; NaN if none is."""
    known = [value for value in values if math.isfinite(value)]
    return max(known) if known else math.nan


def _ordered(first: Iterable[str], *then: Iterable[Any]) -> list[str]:
    """All names once: the first ones, then others as they come."""
    return list(dict.fromkeys([*first, *(name for names in then for name in names if name)]))


def _spoken_setting(name: str, value: object) -> str:
    """Says hidden_dim: 320 as "hidden dim 320", bidirectional: true as "bidirectional"."""
    name = name.replace("_", " ")
    return {"True": name, "False": f"not {name}"}.get(str(value), f"{name} {value}")


def _describe_model(results: Results, name: str) -> dict[str, str]:
    """Class name, printed title, paper and make of a model, as far as the results know them."""
    entry = (results.study.get("model_details") or {}).get(name) or {}
    variant = ((results.study.get("models") or {}).get(name) or {}).get("base") not in (None, name)
    return {
        "architecture": str(entry.get("class_path") or name).rsplit(".", 1)[-1],
        # what a study makes of a model goes by the name that the study gives it
        "title": name if variant else entry.get("title") or name,
        "paper": entry.get("paper") or "",
        "built": ", ".join(_spoken_setting(*setting) for setting in (entry.get("built") or {}).items()),
    }
