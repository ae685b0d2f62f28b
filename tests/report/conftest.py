"""Made-up results of a study, as `lit-nmt score` and `lit-nmt bench` would leave them; all sentences are our own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lit_nmt.metrics import STATISTICS

MODELS = {
    "seq2seq": ("lit_nmt.models.seq2seq.Seq2Seq", "Seq2seq", 33.0, 0.30),
    "attention-seq2seq": ("lit_nmt.models.attention_seq2seq.AttentionSeq2Seq", "Attention seq2seq", 43.0, 0.06),
    "transformer": ("lit_nmt.models.transformer.Transformer", "Transformer", 44.0, 0.02),
}
SENTENCES = [
    ("A baker carries two warm loaves home .", "Ein Bäcker trägt zwei warme Brote nach Hause .", True),
    ("The old lighthouse stands alone .", "Der alte Leuchtturm steht allein .", True),
    (
        "Behind the station , three students wait with their bicycles for the last train to the coast .",
        "Hinter dem Bahnhof warten drei Studenten mit ihren Rädern auf den letzten Zug zur Küste .",
        True,
    ),
    (
        "While the rain drums on the tin roof , a grandmother tells the children how she crossed the river .",
        "Während der Regen auf das Blechdach trommelt , erzählt eine Großmutter den Kindern , wie sie einst den Fluss "
        "überquerte .",
        True,
    ),
    ("My neighbour paints <b>his</b> fence & sings .", "Mein Nachbar streicht <b>seinen</b> Zaun & singt .", True),
    ("This sentence belongs to nobody else .", "Dieser Satz gehört niemandem sonst .", False),
]


def write_results(
    folder: Path,
    *,
    name: str = "demo",
    corpora: dict[str, list[int]] | None = None,
    test_sets: tuple[str, ...] = ("market", "harbour"),
    sentences: int = 240,
    bins: tuple[tuple[int, int], ...] = ((5, 10), (11, 15), (16, 20), (21, 60)),
    throughput: bool = True,
    memory: bool = False,
    failed: tuple[tuple[str, str, int], ...] = (),
    hypothesis: str | None = None,
    examples: int = len(SENTENCES),
) -> Path:
    """Fills a results folder; the same arguments give the same bytes."""
    generator = np.random.default_rng(7)
    corpora = corpora or {"market-en-de": [1, 2, 3, 4, 5], "market-de-en": [1]}
    folder.mkdir(parents=True, exist_ok=True)
    frames, runs, curves, origins = [], [], [], []
    words = {test: generator.gamma(6, 2.3, sentences).astype(int).clip(3, 58) for test in test_sets}
    for corpus, seeds in corpora.items():
        for model, (class_path, _, level, slope) in MODELS.items():
            for seed in seeds:
                row: dict[str, Any] = {"study": name, "corpus": corpus, "model": model, "seed": seed}
                config = {
                    "seed_everything": seed,
                    "model": {"class_path": class_path, "init_args": {"dim": 192, "dropout": 0.2}},
                    "data": {"corpus": {"name": corpus}, "max_tokens": 2048, "target_tokens": 6000000},
                }
                if (corpus, model, seed) in failed:
                    row |= {"status": "failed", "stopped_by": "error: the loss is not finite at step 812"}
                    runs.append(row)
                    origins.append({**row, "command": "lit-nmt fit --config fit.yaml", "config": config})
                    continue
                skill = level + generator.normal(0, 0.5)
                speed = {"seq2seq": 7200, "attention-seq2seq": 6100, "transformer": 4100}[model]
                row |= {
                    "status": "finished",
                    "stopped_by": "budget",
                    "parameters": {"seq2seq": 3961344, "attention-seq2seq": 4040960, "transformer": 4107648}[model],
                    "target_tokens": 6000000 + int(generator.integers(0, 900)),
                    "train_seconds": 6e6 / speed,
                    "tokens_per_second": speed,
                    "best_validation_loss": 2.1 - skill / 100,
                    "best_validation_bleu": skill - 1.2,
                    "peak_memory_bytes": 1.1e9,
                    "device": "cpu",
                    "threads": 1,
                    "precision": "32-true",
                    "commit": "0123456789abcdef0123456789abcdef01234567",
                }
                runs.append(row)
                hardware = {"cpu": "A processor of 2 cores", "cores": 2, "memory_bytes": 8 * 2**30, "gpu": None}
                origins.append(
                    {
                        **row,
                        "versions": {"torch": "2.13.0", "sacrebleu": "2.5.1"},
                        "hardware": hardware,
                        "command": f"lit-nmt fit --config runs/{corpus}/{model}-1a2b3c4d/seed{seed}/fit.yaml",
                        "config": config,
                    }
                )
                for step in range(1, 21):
                    share = step / 20
                    curves.append(
                        {
                            **{key: row[key] for key in ("study", "corpus", "model", "seed")},
                            "step": step * 150,
                            "target_tokens": 300000 * step + int(generator.integers(0, 900)),
                            "train_seconds": share * row["train_seconds"] * (1 + generator.normal(0, 0.01)),
                            "validation_loss": 1.6 + 4 * np.exp(-4 * share) - skill / 100,
                            "validation_bleu": (skill - 1.2) * (1 - np.exp(-3.5 * share)) + generator.normal(0, 0.4),
                        }
                    )
                for test in test_sets:
                    for decoding, gain in (("greedy", -1.2), ("beam5", 0.0)):
                        counts = _counts(words[test], skill + gain, slope, generator)
                        frame = pd.DataFrame(dict(zip(STATISTICS, counts.T, strict=True)))
                        frame.insert(0, "corpus", corpus)
                        frame.insert(1, "model", model)
                        frame.insert(2, "seed", seed)
                        frame.insert(3, "test_set", test)
                        frame.insert(4, "decoding", decoding)
                        frame.insert(5, "id", np.arange(sentences, dtype=np.int32))
                        frame.insert(6, "source_words", words[test].astype(np.int32))
                        frame.insert(7, "score", np.float32(-0.4))
                        frames.append(frame)
    if frames:
        pd.concat(frames, ignore_index=True).to_parquet(folder / "sentences.parquet", index=False)
    pd.DataFrame(runs).to_csv(folder / "runs.csv", index=False)
    pd.DataFrame(curves).to_csv(folder / "curves.csv", index=False)
    _write_json(folder / "provenance.json", {"study": {"name": name}, "runs": origins})
    _write_json(folder / "study.json", _study(name, corpora, bins))
    if throughput:
        _throughput(generator, next(iter(corpora))).to_csv(folder / "throughput.csv", index=False)
        _write_json(folder / "environment.json", {"hardware": {"cpu": "A processor of 2 cores"}, "warning": ""})
    if memory:
        _gradients(generator, next(iter(corpora))).to_parquet(folder / "gradients.parquet", index=False)
        _operations().to_csv(folder / "operations.csv", index=False)
    lines = [
        json.dumps(row, ensure_ascii=False) + "\n"
        for corpus in corpora
        for row in _examples(corpus, test_sets[0], hypothesis, examples)
    ]
    (folder / "examples.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Path]:
    """The function that fills a results folder."""
    return write_results


def _counts(words: np.ndarray, skill: float, slope: float, generator: np.random.Generator) -> np.ndarray:
    """Counts per sentence of a translator that is right at a token with a chance that falls with length."""
    rows = []
    for length in words:
        chance = np.clip((skill + 42 - slope * length * 1.6) / 100, 0.05, 0.99)
        right = generator.random(length) < chance
        runs = [right[: length - n + 1] for n in range(1, 5)]
        for n in range(2, 5):
            for shift in range(1, n):
                runs[n - 1] = runs[n - 1] & right[shift : length - n + 1 + shift]
        correct = [int(run.sum()) for run in runs]
        total = [max(0, length - n) for n in range(4)]
        reference = max(1, length + int(generator.integers(-1, 2)))
        bleu = [length, reference, *correct, *total]
        chrf = []
        for n in range(6):
            size = max(0, 5 * length - n)
            chrf += [size, max(0, 5 * reference - n), int(min(size, 5 * reference) * chance ** (1 + n / 2))]
        rows.append(bleu + bleu + chrf)
    return np.array(rows, dtype=np.int32)


def _examples(corpus: str, test_set: str, hypothesis: str | None, count: int) -> list[dict[str, Any]]:
    """Translations of so many sentences, the first six of them different; with attention where a model has it."""
    rows = []
    for number in range(count):
        source, reference, redistribute = SENTENCES[number % len(SENTENCES)]
        for model in MODELS:
            drop = {"seq2seq": 3, "attention-seq2seq": 1, "transformer": 0}[model]
            said = reference.split(" ")
            if drop:
                said = [word for place, word in enumerate(said) if place % 5 != drop]
            row = {
                "corpus": corpus,
                "model": model,
                "seed": 1,
                "test_set": test_set,
                "decoding": "beam5",
                "id": number * 7,
                "source": source,
                "reference": reference,
                "hypothesis": hypothesis or " ".join(said),
                "score": -0.42,
                "source_words": len(source.split(" ")),
                "bleu": 100.0 - 20 * drop,
                "chrf": 100.0 - 10 * drop,
                "redistribute": redistribute,
            }
            if model != "seq2seq" and number < len(SENTENCES):
                ours, theirs = len(row["hypothesis"].split(" ")) + 1, row["source_words"] + 1
                weights = (100 * np.eye(ours, theirs)).astype(int).tolist()
                words = {"source": source.split(" "), "target": row["hypothesis"].split(" ")}
                row["attention"] = {**words, "weights": weights}
            rows.append(row)
    return rows


def _throughput(generator: np.random.Generator, corpus: str) -> pd.DataFrame:
    rows = []
    for model in MODELS:
        for phase, speed in (("train", 5000), ("decode-greedy", 3200), ("decode-beam5", 900)):
            for length in (None, 8, 16, 32, 64, 128):
                factor = {"seq2seq": 1.3, "attention-seq2seq": 1.1, "transformer": 0.8}[model]
                if phase == "train" and model == "transformer":
                    factor *= 1 + (length or 14) / 90
                if phase != "train":
                    factor /= 1 + (length or 14) / (200 if model != "transformer" else 60)
                value = speed * factor * (1 + generator.normal(0, 0.02))
                rows.append(
                    {
                        "model": model,
                        "phase": phase,
                        "corpus": corpus,
                        "source_length": length,
                        "tokens_per_second": value,
                        "low": value * 0.96,
                        "high": value * 1.05,
                        "windows": 5,
                        "sentences_per_second": value / (length or 14),
                        "peak_memory_bytes": int(3e8 + 2e6 * (length or 14) * factor),
                        "flops_per_token": 2.4e7,
                        "utilisation": 0.31 * factor if phase == "train" else None,
                        "padding_share": 0.04 if length is None else 0.0,
                        "outside_share": 0.03 if phase == "train" and length is None else None,
                        "parameters": 4000000,
                        "device": "cpu",
                        "threads": 1,
                        "precision": "32-true",
                    }
                )
    return pd.DataFrame(rows)


def _gradients(generator: np.random.Generator, corpus: str) -> pd.DataFrame:
    """Norms that fall with distance, the less after training, in the model without attention."""
    parts = []
    for model in MODELS:
        for training, slope in (("before", -0.3), ("after", -0.1)):
            for sentence in range(12):
                distance = np.arange(9, 30, dtype=np.int16)
                log_norm = (slope if model == "seq2seq" else 0.0) * distance - 2 + generator.normal(0, 0.5, 21)
                part = {"corpus": corpus, "model": model, "seed": 1, "training": training, "id": sentence}
                parts.append(pd.DataFrame({**part, "distance": distance, "log_norm": log_norm.astype(np.float32)}))
    return pd.concat(parts, ignore_index=True)


def _operations() -> pd.DataFrame:
    grown = {"seq2seq": (5, 5, 3, 3), "attention-seq2seq": (5, 5, 0, 3), "transformer": (0, 5, 0, 0)}
    quantities = ("sequential-training", "sequential-decoding", "path-source-target", "path-target-target")
    return pd.DataFrame(
        [
            {"model": model, "quantity": quantity, "length": n, "operations": 20 + step * n, "unconnected": 0.0}
            for model, steps in grown.items()
            for n in (4, 8, 16)
            for quantity, step in zip(quantities, steps, strict=True)
        ]
    )


def _study(name: str, corpora: dict[str, list[int]], bins: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    papers = ["Sutskever et al. 2014", "Bahdanau et al. 2015", "Vaswani et al. 2017"]
    return {
        "name": name,
        "title": "Three architectures at the market",
        "question": "At one parameter budget, how well do three architectures translate, and how fast?",
        "corpora": {corpus: {"seeds": seeds} for corpus, seeds in corpora.items()},
        "models": dict.fromkeys(MODELS),
        "seeds": [1],
        "fit": {"data": {"max_tokens": 2048, "target_tokens": 6000000}},
        "pooled": True,
        "bins": [list(part) for part in bins],
        "baseline": "attention-seq2seq",
        "comparisons": [["transformer", "attention-seq2seq"], ["attention-seq2seq", "seq2seq"]],
        "claims": {
            "recurrence-is-slower-to-train": {
                "criterion": "The Transformer trains on at least 1.1 times as many target tokens a second.",
                "smallest_effect": 1.1,
            }
        },
        "tuning": {
            "note": "Two learning rates each, half the budget.",
            "trials": {
                model: {"rate 1e-3": level - 3.5, "rate 2e-3": level - 2} for model, (*_, level, _) in MODELS.items()
            },
        },
        "planned": [[corpus, model, seed] for corpus, seeds in corpora.items() for seed in seeds for model in MODELS],
        "corpus_details": {corpus: {"source": "en", "target": "de", "redistribute": False} for corpus in corpora},
        "model_details": {
            model: {
                "class_path": entry[0],
                "title": entry[1],
                "paper": paper,
                "built": {"hidden_dim": 64, "tied": True},
            }
            for (model, entry), paper in zip(MODELS.items(), papers, strict=True)
        },
        "criterion_commits": {"recurrence-is-slower-to-train": "f00d"},
    }


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
