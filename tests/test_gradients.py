"""Gradients over distance: those of autograd itself, of a recurrence whose decay is known, and of a study's runs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import Tensor, nn

from lit_nmt import fit
from lit_nmt.claims.memory import slopes
from lit_nmt.conformance import make_batch
from lit_nmt.data.batching import collate
from lit_nmt.data.corpora import SubwordsConfig
from lit_nmt.data.prepare import prepare
from lit_nmt.data.prepared import EncodedSplit, Ragged
from lit_nmt.data.subwords import train_subwords
from lit_nmt.errors import UserError
from lit_nmt.gradients import choose_sentences, last_words, measure, probe, source_gradients, wordlike_ids
from lit_nmt.models.attention_seq2seq import AttentionSeq2Seq
from lit_nmt.models.conv_s2s import ConvS2S
from lit_nmt.models.feed_forward import FeedForward
from lit_nmt.models.loading import load_initial_model, load_model
from lit_nmt.models.seq2seq import Seq2Seq
from lit_nmt.models.transformer import Transformer
from lit_nmt.models.translation import TranslationModule
from lit_nmt.studies import Probe, load_study, write_plan

V = 30
ALL_WORDS = torch.ones(V, dtype=torch.bool)
MODELS = {
    "seq2seq": lambda: Seq2Seq(V, dim=8, hidden_dim=10, layers=2, bidirectional=True),
    "reversed": lambda: Seq2Seq(V, dim=8, hidden_dim=10, cell="gru", reverse_source=True, context_every_step=True),
    "attention": lambda: AttentionSeq2Seq(V, dim=8, hidden_dim=10, reverse_source=True),
    "transformer": lambda: Transformer(V, dim=8, encoder_layers=1, decoder_layers=1, heads=2, feed_forward_dim=8),
    "convolution": lambda: ConvS2S(V, dim=8, hidden_dim=8, encoder_layers=1, decoder_layers=1),
    "feed-forward": lambda: FeedForward(V, dim=8, hidden_dim=8, window=2, longest_source=16, longest_target=16),
}


def made(name: str) -> TranslationModule:
    torch.manual_seed(2)
    model: TranslationModule = MODELS[name]()
    return model.double().eval()


def split_of(lengths: list[tuple[int, int]]) -> EncodedSplit:
    """Sentences whose source words are all different, and differ from those of the target."""
    generator = np.random.default_rng(4)
    rows = [
        (generator.permutation(np.arange(4, 17))[:m], generator.permutation(np.arange(17, V))[:n]) for m, n in lengths
    ]
    sides = [
        Ragged(np.concatenate([row[k] for row in rows]), np.cumsum([0, *(len(row[k]) for row in rows)]))
        for k in (0, 1)
    ]
    return EncodedSplit("test", *sides, source_words=np.array([m for m, _ in lengths], np.int32))


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_the_words_alone_whatever_the_order_of_reading(name: str) -> None:
    model, batch = made(name), collate(split_of([(6, 4), (3, 5), (9, 2), (1, 1)]), np.arange(4))
    found = source_gradients(model, batch, batch.target_lengths - 2)
    looked_up: list[tuple[Tensor, Tensor]] = []

    def keep(_: nn.Module, arguments: tuple[Tensor], embedded: Tensor) -> None:
        embedded.retain_grad()
        looked_up.append((arguments[0], embedded))

    model.embedding.register_forward_hook(keep)
    log_probabilities = model(batch).log_softmax(-1)
    for row in range(4):
        last = int(batch.target_lengths[row]) - 2
        (-log_probabilities[row, last, batch.target[row, last]]).backward(retain_graph=True)
    # no word of the source stands anywhere twice, so that it tells its place
    expected = torch.zeros_like(found)
    for ids, embedded in looked_up:
        assert embedded.grad is not None
        for row, column in (ids > 3).nonzero().tolist():
            place = (batch.source[row] == ids[row, column]).nonzero().flatten().tolist()
            if place:
                expected[row, place[0]] = embedded.grad[row, column].norm()
    assert (expected > 0).sum() == 6 + 3 + 9 + 1
    torch.testing.assert_close(found, expected)
    assert "forward" not in vars(model.embedding)


def test_distance_counts_the_steps_between_reading_a_word_and_writing_the_last() -> None:
    measured = measure(made("seq2seq"), split_of([(3, 4), (2, 1)]), np.array([1, 0]), ALL_WORDS)
    # after the last of three words: end of sentence, beginning of sentence, three words; then the fourth is written
    assert measured[measured["id"] == 0]["distance"].tolist() == [5, 6, 7]
    assert measured[measured["id"] == 1]["distance"].tolist() == [2, 3]
    assert measured["log_norm"].notna().all()


def test_the_last_word_is_not_the_full_stop_after_it() -> None:
    stop = 29
    wordlike = torch.arange(V) != stop
    batch = make_batch([[5, 6], [7], [8], [9]], [[20, 21, stop], [stop], [20, stop, 22, 23], [20, stop, stop]])
    assert last_words(batch, wordlike).tolist() == [1, 0, 3, 0]
    split = EncodedSplit(
        "test",
        Ragged(np.array([5, 6, 7]), np.array([0, 3])),
        Ragged(np.array([20, 21, stop]), np.array([0, 3])),
        source_words=np.array([3], np.int32),
    )
    near, far = (measure(made("seq2seq"), split, np.array([0]), known) for known in (wordlike, ALL_WORDS))
    assert near["distance"].tolist() == [3, 4, 5]
    assert far["distance"].tolist() == [4, 5, 6]


def test_marks_are_no_words(tmp_path: Path) -> None:
    subwords = train_subwords(["sun, moon; stars."] * 9, SubwordsConfig(vocabulary_size=272), tmp_path / "m.model")
    wordlike = wordlike_ids(subwords)
    found = {piece: bool(wordlike[i]) for i, piece in enumerate(subwords.pieces(list(range(len(wordlike)))))}
    assert {piece: found[piece] for piece in (".", ",", "s")} == {".": False, ",": False, "s": True}


def test_a_recurrence_that_shrinks_by_a_tenth_a_step_shows_a_slope_of_that() -> None:
    model = Seq2Seq(V, dim=8, hidden_dim=8, cell="rnn")
    with torch.no_grad():
        for recurrence in (model.encoder.rnn, model.decoder.rnn):
            recurrence.weight_hh_l0.mul_(0.9)  # was orthogonal
            recurrence.weight_ih_l0.mul_(1e-5)  # so small that tanh is linear
    sentences = split_of([(n, 3) for n in range(6, 13)])
    measured = measure(model, sentences, np.arange(7), ALL_WORDS)
    measured = measured.assign(corpus="a", model="rnn", seed=1, training="before")
    # of one type of words, so that distance alone tells them apart
    ((_, _, _, seeds, interval),) = slopes(measured)
    assert seeds == [1]
    assert interval.low < math.log(0.9) < interval.high
    assert interval.value == pytest.approx(math.log(0.9), abs=0.03)


def test_sentences_are_spread_over_those_of_the_length_wanted() -> None:
    split = split_of([(n, 2) for n in (2, 9, 5, 6, 12, 7, 8, 3)])
    assert choose_sentences(split, Probe(sentences=3, words=(5, 9)), "here").tolist() == [1, 3, 6]
    assert choose_sentences(split, Probe(sentences=99), "here").tolist() == list(range(8))
    with pytest.raises(UserError, match=r"here: no sentence of 20 to 30 words in test; change probe\.words"):
        choose_sentences(split, Probe(words=(20, 30)), "here")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of a model that is trained for a few steps which change nothing, so small is their learning rate."""
    folder = tmp_path_factory.mktemp("checkout")
    splits = {
        "train": {"kind": "recall", "pairs": 300, "bins": [[3, 9]]},
        "validation": {"kind": "recall", "pairs": 8, "bins": [[3, 9]]},
        "test": {"kind": "recall", "pairs": 40, "bins": [[3, 9]]},
    }
    corpus = {
        "name": "recall",
        "languages": ["list", "answer"],
        "source": "list",
        "target": "answer",
        "splits": splits,
    }
    corpus["subwords"] = {"vocabulary_size": 520, "algorithm": "bpe"}
    model = {"class_path": "lit_nmt.models.seq2seq.Seq2Seq", "init_args": {"dim": 8, "hidden_dim": 8, "dropout": 0.2}}
    model["init_args"] |= {"learning_rate": 1e-60, "warmup_steps": 2}  # in single precision it is 0
    study = {
        "title": "a",
        "corpora": {"recall": None},
        "models": {"still": None, "ranged": {"base": "still", "init_args": {"initial_range": 0.1}}},
        "seeds": [5],
        "fit": {"data": {"max_tokens": 200, "target_tokens": 500, "validations": 1}},
        "decodings": ["greedy"],
        "primary": {"decoding": "greedy"},
        "probe": {"sentences": 9, "words": [5, 9]},
    }
    for name, content in (
        ("corpora/recall", {"data": {"corpus": corpus}}),
        ("models/still", {"model": model}),
        ("studies/quiet", study),
        ("studies/unasked", {**study, "probe": None}),
    ):
        path = folder / f"experiments/{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises(UserError, match="probe: no run on recall is trained yet"):
            probe("quiet")
        planned = load_study("quiet")
        write_plan(planned)
        prepare(planned.corpus_config("recall"))
        for run in planned.runs:
            fit.main(["--config", str(run.config_file), "--trainer.enable_progress_bar", "false"])
        probe("quiet")
    return folder


def test_before_training_is_what_the_training_began_with(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    still, ranged = (run.folder for run in load_study("quiet").runs)
    trained, initial = load_model(still).state_dict(), load_initial_model(still).state_dict()
    assert all(torch.equal(initial[name], weights) for name, weights in trained.items())
    assert max(weights.detach().abs().max().item() for weights in load_initial_model(ranged).parameters()) <= 0.1


def test_a_study_s_gradients_are_written_before_and_after_training(checkout: Path) -> None:
    table = pd.read_parquet(checkout / "runs/probe/quiet/gradients.parquet")
    assert list(table) == ["corpus", "model", "seed", "training", "id", "distance", "log_norm"]
    assert set(table["model"]) == {"still", "ranged"}
    assert set(table["seed"]) == {5}
    words = table.groupby(["model", "training", "id"]).size().unstack(["model", "training"])
    assert len(words) == 9
    assert words.min(axis=None) >= 5
    assert words.max(axis=None) <= 9
    own = table[table["model"] == "still"].set_index("training")["log_norm"]
    assert own["before"].tolist() == own["after"].tolist()


def test_a_study_that_asks_for_no_gradients_gets_none(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    with pytest.raises(UserError, match="unasked: no key `probe` in this study"):
        probe("unasked")
