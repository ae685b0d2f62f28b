"""The verb `translate` on a run of a scripted model: files, standard input, mistakes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from lit_nmt import cli
from lit_nmt import translate as stage
from lit_nmt.data.corpora import SubwordsConfig
from lit_nmt.data.subwords import EOS, Subwords, train_subwords
from lit_nmt.models.transformer import Transformer
from lit_nmt.models.translation import Step, TranslationModule

SENTENCES = [
    "the old boat leaves the harbour",
    "a kite",
    "nobody\u2028saw who had painted the\u0085green door",
    "two birds sit on the roof of the tall house and sing",
    "rain fell",
]
"""Lines with characters that are no ends of lines."""


class Reverser:
    """Says the source back to front, a token a step, surely; a copy in order is its second guess."""

    calls = 0
    longest_source: int | None = None
    longest_target: int | None = None
    count_cut = TranslationModule.count_cut

    def __init__(self, vocabulary_size: int) -> None:
        self.vocabulary_size = vocabulary_size
        self.output_bias = nn.Parameter(torch.zeros(1))

    def encode(self, source: Tensor, source_lengths: Tensor) -> Any:
        Reverser.calls += 1
        return source, source_lengths, torch.zeros_like(source_lengths), torch.zeros_like(source_lengths)

    def step(self, previous: Tensor, state: Any) -> Step:
        source, lengths, position, forward = state
        # the first token decides the direction; ambiguous where both ends are the same, never in these sentences
        forward = torch.where(position == 1, (previous == source[:, 0]).long(), forward)
        last = lengths - 2 - position
        back = source.gather(1, last.clamp(min=0)[:, None])[:, 0]
        on = source.gather(1, torch.minimum(position, lengths - 1)[:, None])[:, 0]
        logits = torch.full((len(source), self.vocabulary_size), -20.0)
        token = torch.where(last < 0, EOS, torch.where(forward.bool(), on, back))
        logits.scatter_(1, token[:, None], 0.0)
        logits[position == 0] = logits[position == 0].scatter(1, on[position == 0, None], -1.0)
        return Step(logits, (source, lengths, position + 1, forward))


@pytest.fixture(scope="module")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared corpus with the test sets `first` and `second`, by hand."""
    folder = tmp_path_factory.mktemp("work") / "data" / "letters-xx-yy"
    folder.mkdir(parents=True)
    adjectives, nouns = ("the", "old", "green", "tall"), ("door", "house", "roof", "boat")
    text = [*SENTENCES, *(f"{adjective} {noun}" for adjective in adjectives for noun in nouns)]
    subwords = train_subwords(text, SubwordsConfig(vocabulary_size=300), folder / "subwords.model")
    splits = {"train": [], "validation": SENTENCES[:1], "first": SENTENCES, "second": SENTENCES[3:]}
    splits["examples"] = SENTENCES[1:2]
    for name, sentences in splits.items():
        for side in ("source", "target"):
            rows = subwords.encode(list(sentences))
            np.save(folder / f"{name}.{side}.tokens.npy", np.array([t for row in rows for t in row], dtype=np.uint16))
            np.save(folder / f"{name}.{side}.offsets.npy", np.cumsum([0, *map(len, rows)]))
            (folder / f"{name}.{side}.txt").write_bytes("".join(s + "\n" for s in sentences).encode())
        np.save(folder / f"{name}.source_words.npy", np.array([len(s.split()) for s in sentences], dtype=np.int32))
    manifest = {
        "name": folder.name,
        "digest": "01234567",
        "vocabulary_size": subwords.vocabulary_size,
        "splits": {name: {"pairs": len(sentences)} for name, sentences in splits.items()},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def make_run(folder: Path, weights: bytes = b"weights") -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.ckpt").write_bytes(weights)
    config = {"seed_everything": 1, "threads": 1, "data": {"corpus": {"name": "letters-xx-yy"}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture
def run(corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained run, in the working directory of its corpus, that reverses."""
    monkeypatch.chdir(corpus_folder.parent.parent)
    size = Subwords.load(corpus_folder / "subwords.model").vocabulary_size
    monkeypatch.setattr(stage, "load_model", lambda run, device: Reverser(size))
    return make_run(tmp_path / "run")


def reversed_text(corpus_folder: Path, sentence: str) -> str:
    subwords = Subwords.load(corpus_folder / "subwords.model")
    return subwords.decode([subwords.encode([sentence])[0][::-1]])[0]


def type_in(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text), encoding="utf-8"))


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]


def test_test_sets_are_translated_into_files(run: Path, corpus_folder: Path) -> None:
    assert cli.main(["translate", str(run), "--test_sets", "all", "--decodings", "greedy", "beam3"]) == 0
    names = {path.name for path in (run / "translations").iterdir()}
    assert names == {
        f"{t}.{d}.{s}"
        for t in ("first", "second", "examples")
        for d in ("greedy", "beam3")
        for s in ("jsonl", "json", "attention.jsonl")
    }
    for decoding in ("greedy", "beam3"):
        lines = records(run / "translations" / f"first.{decoding}.jsonl")
        assert [line["id"] for line in lines] == list(range(len(SENTENCES)))
        assert [line["source"] for line in lines] == [line["reference"] for line in lines] == SENTENCES
        assert [line["hypothesis"] for line in lines] == [reversed_text(corpus_folder, s) for s in SENTENCES]
        assert [line["source_words"] for line in lines] == [len(s.split()) for s in SENTENCES]
        assert all(-0.2 < line["score"] < 0 for line in lines)
    made = json.loads((run / "translations" / "first.beam3.json").read_text())
    assert made["sentences"] == len(SENTENCES)
    assert made["settings"]["beam_size"] == 3
    assert (made["device"], made["threads"], made["precision"]) == ("cpu", 1, "32-true")
    assert made["sentences_per_second"] == pytest.approx(made["sentences"] / made["seconds"])
    assert made["cut"] == {}


def test_sentences_that_a_model_cuts_are_counted(
    run: Path, corpus_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = [len(ids) for ids in Subwords.load(corpus_folder / "subwords.model").encode(SENTENCES)]
    monkeypatch.setattr(Reverser, "longest_target", sorted(lengths)[2])
    assert cli.main(["translate", str(run), "--test_sets", "first", "--decodings", "greedy"]) == 0
    made = json.loads((run / "translations" / "first.greedy.json").read_text())
    assert made["cut"] == {"sentences": 5, "sources": 0, "targets": 2}


def test_only_what_is_missing_or_outdated_is_translated(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def searches(*options: str) -> int:
        Reverser.calls = 0
        assert cli.main(["translate", str(run), "--test_sets", "second", *options]) == 0
        return Reverser.calls

    each = 2  # a search, and once more for the attention
    assert searches() == 4 * each
    path = run / "translations" / "second.greedy.jsonl"
    before = path.read_bytes()
    assert searches() == 0
    assert "there already" in capsys.readouterr().out
    assert searches("--force") == 4 * each
    path.unlink()  # as if killed
    assert searches() == each
    assert path.read_bytes() == before
    path.with_suffix(".json").write_text("{")
    assert searches() == each
    path.with_suffix(".attention.jsonl").unlink()
    assert searches() == each
    assert searches("--length_penalty", "0.5") == 4 * each
    (run / "checkpoints" / "best.ckpt").write_bytes(b"trained on")
    assert searches("--length_penalty", "0.5") == 4 * each
    assert searches("--length_penalty", "0.5") == 0


def test_several_runs_in_one_call(run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other")
    assert cli.main(["translate", str(run), str(other), "--test_sets", "second", "--decodings", "greedy"]) == 0
    one, two = (records(r / "translations" / "second.greedy.jsonl") for r in (run, other))
    assert one == two != []


def test_standard_input_is_translated_line_by_line(
    run: Path, corpus_folder: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(stage, "CHUNK_LINES", 2)
    type_in(monkeypatch, (SENTENCES[0] + "\r\n\n" + "\n".join(SENTENCES[1:])).encode())
    assert cli.main(["translate", str(run)]) == 0
    expected = [reversed_text(corpus_folder, s) for s in SENTENCES]
    assert capfdbinary.readouterr().out.decode().split("\n") == [expected[0], "", *expected[1:], ""]


def test_n_best_and_scores(
    run: Path, corpus_folder: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    type_in(monkeypatch, (SENTENCES[0] + "\n" + SENTENCES[4] + "\n").encode())
    assert cli.main(["translate", str(run), "--n_best", "2"]) == 0
    rows = [line.split("\t") for line in capfdbinary.readouterr().out.decode().split("\n")[:-1]]
    assert [row[0] for row in rows] == ["1", "1", "2", "2"]
    assert [row[2] for row in rows[:2]] == [reversed_text(corpus_folder, SENTENCES[0]), SENTENCES[0]]
    assert float(rows[0][1]) > float(rows[1][1])
    type_in(monkeypatch, SENTENCES[1].encode())
    assert cli.main(["translate", str(run), "--scores", "--decodings", "greedy"]) == 0
    score, text = capfdbinary.readouterr().out.decode().removesuffix("\n").split("\t")
    assert float(score) < 0
    assert text == reversed_text(corpus_folder, SENTENCES[1])


def test_interactive_answers_each_sentence_before_the_next_is_read(
    run: Path, corpus_folder: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    answered = []

    def answer(prompt: str) -> str:
        answered.append(capfdbinary.readouterr().out.decode())
        if len(answered) > 2:
            raise EOFError
        return SENTENCES[len(answered) - 1]

    monkeypatch.setattr("builtins.input", answer)
    type_in(monkeypatch, b"")
    assert cli.main(["translate", str(run), "--interactive"]) == 0
    assert answered == ["", *(reversed_text(corpus_folder, s) + "\n" for s in SENTENCES[:2])]


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        (["--test_sets", "third"], "no test set 'third'; expected all, first, second"),
        (["--test_sets", "train"], "no test set 'train'"),
        (["--decodings", "beam"], "decoding 'beam': expected greedy, or beam and its size"),
        (["--decodings", "greedy", "beam5"], "expected one for text"),
        (["--n_best", "6"], "n_best: 6 found, at most beam_size"),
        (["--test_sets", "all", "--scores"], "are for text"),
        (["--device", "quantum"], "--device: 'quantum' cannot be used"),
        (["--threads", "0"], "expected 1 or more"),
        (["--length_penalty", "-1"], "length_penalty: -1.0 found"),
    ],
)
def test_mistakes_take_one_line(
    run: Path, options: list[str], finding: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    type_in(monkeypatch, b"rain\n")
    assert cli.main(["translate", str(run), *options]) == 2
    told = capsys.readouterr()
    assert finding in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
    assert not (run / "translations").exists()


def test_what_is_no_run_is_told(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str) -> str:
        assert cli.main(["translate", *arguments]) == 2
        return capsys.readouterr().err

    assert "not a run (no config.yaml)" in told(str(tmp_path / "nowhere"))
    assert "text is translated by one run" in told(str(run), str(run))
    untrained = make_run(tmp_path / "untrained")
    (untrained / "checkpoints" / "best.ckpt").unlink()
    assert "not trained yet; run lit-nmt fit" in told(str(untrained), "--test_sets", "all")
    monkeypatch.setattr(stage, "load_model", lambda run, device: Reverser(77))
    assert "trained with 77 subwords" in told(str(run))
    (run / "fit.json").write_text(json.dumps({"status": "finished", "subwords_digest": "of others as many"}))
    assert "trained with other subwords than data/letters-xx-yy has" in told(str(run))
    monkeypatch.chdir(tmp_path)
    assert "run `lit-nmt prepare letters-xx-yy`" in told(str(run))


def test_a_diverged_model_is_told(
    run: Path, corpus_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverged(self: Reverser, previous: Tensor, state: Any) -> Step:
        return Step(torch.full((len(previous), self.vocabulary_size), torch.nan), state)

    monkeypatch.setattr(Reverser, "step", diverged)
    for decoding in ("greedy", "beam5"):
        assert cli.main(["translate", str(run), "--test_sets", "second", "--decodings", decoding]) == 2
        assert "its training diverged" in capsys.readouterr().err
    assert not (run / "translations").exists()


def test_bytes_that_are_not_utf8_are_told_by_line(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    type_in(monkeypatch, b"rain\nca\xf1on\n")
    assert cli.main(["translate", str(run)]) == 2
    assert "standard input, line 2: byte 3 is not UTF-8" in capsys.readouterr().err


def test_a_trained_checkpoint_is_loaded(
    corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(corpus_folder.parent.parent)
    size = Subwords.load(corpus_folder / "subwords.model").vocabulary_size
    sizes = {"dim": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feed_forward_dim": 16}
    run = make_run(tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"] = {"class_path": "lit_nmt.models.transformer.Transformer", "init_args": sizes}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save({"state_dict": Transformer(size, **sizes).state_dict()}, run / "checkpoints" / "best.ckpt")
    assert cli.main(["translate", str(run), "--test_sets", "first", "--max_tokens", "20"]) == 0
    for decoding in ("greedy", "beam5"):
        lines = records(run / "translations" / f"first.{decoding}.jsonl")
        assert len(lines) == len(SENTENCES)
        assert all(line["score"] < 0 for line in lines)
        attended = records(run / "translations" / f"first.{decoding}.attention.jsonl")
        assert [row["id"] for row in attended] == list(range(len(SENTENCES)))
        for line, row in zip(lines, attended, strict=True):
            assert " ".join(row["source"]).split() == line["source"].split()
            assert " ".join(row["target"]).split() == line["hypothesis"].split()
            assert all(len(weights) == len(row["source"]) + 1 for weights in row["weights"])
            assert len(row["weights"]) == len(row["target"]) + 1


def test_a_model_without_attention_leaves_an_empty_file(run: Path) -> None:
    assert cli.main(["translate", str(run), "--test_sets", "first", "--decodings", "greedy"]) == 0
    assert (run / "translations" / "first.greedy.attention.jsonl").read_bytes() == b""
