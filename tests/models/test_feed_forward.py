"""What only a network with a bounded number of inputs and outputs does: cut what is longer, end, and say so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lit_nmt.conformance import PROMISES, Candidate, make_batch, random_pairs
from lit_nmt.data.prepared import EncodedSplit, Ragged
from lit_nmt.data.subwords import EOS, PAD
from lit_nmt.decoding import Search, search
from lit_nmt.models.feed_forward import FeedForward
from lit_nmt.models.seq2seq import Seq2Seq
from lit_nmt.models.translation import TranslationModule
from lit_nmt.studies import read_model

MODELS = Path(__file__).parents[2] / "experiments" / "models"
SHORT = {"longest_source": 4, "longest_target": 3}

KEPT_BEYOND = (
    "`step`, token by token",
    "A sentence alone",
    "The loss and its gradients",
    "A state's tensors",
    "A translation's score",
)


def candidate(**options: Any) -> Candidate:
    return Candidate(read_model(str(MODELS / "feed-forward.yaml")), options)


@pytest.mark.parametrize("window", [0, 1, 3])
@pytest.mark.parametrize("words", KEPT_BEYOND)
def test_promises_hold_of_sentences_that_are_cut(window: int, words: str) -> None:
    (told,) = (told for told in PROMISES if told.startswith(words))
    PROMISES[told](candidate(window=window, **SHORT))  # of up to nine words


@pytest.mark.parametrize("window", [0, 2])
@pytest.mark.parametrize("beam", [1, 4])
def test_a_translation_ends_where_the_outputs_end(window: int, beam: int) -> None:
    model = candidate(window=window, **SHORT).make()
    torch.nn.init.constant_(model.output_bias[EOS : EOS + 1].detach(), -50.0)
    batch = make_batch(*random_pairs(6, longest=9))
    for hypotheses in search(model, batch.source, batch.source_lengths, Search(beam, n_best=beam)):
        assert {len(hypothesis.tokens) for hypothesis in hypotheses} == {3}


def test_what_is_beyond_the_inputs_is_not_read_and_all_before_is() -> None:
    model = candidate(**SHORT).make()
    source, target = [5, 9, 7, 12, 6, 8], [4, 10]

    def logits(words: list[int]) -> torch.Tensor:
        with torch.no_grad():
            return model(make_batch([words], [target]))

    for place in range(len(source)):
        changed = [*source[:place], source[place] + 1, *source[place + 1 :]]
        assert torch.equal(logits(changed), logits(source)) == (place >= 4)


def test_a_window_is_as_wide_as_it_says() -> None:
    model = candidate(window=2).make()
    target = [5, 9, 7, 12, 6, 8]
    batch = make_batch([[4, 5]], [target])
    with torch.no_grad():
        before = model(batch)
        for place in range(1, len(target) + 1):
            previous = batch.previous.clone()
            previous[0, place] += 1
            moved = (model(replace(batch, previous=previous)) != before).any(-1)[0]
            assert moved.nonzero()[:, 0].tolist() == [at for at in (place, place + 1) if at <= len(target)]


def test_it_is_the_network_on_paper() -> None:
    """One matrix of every layer for a whole sentence, written out for each position."""
    torch.manual_seed(3)
    model = FeedForward(
        20, dim=6, hidden_dim=7, layers=1, position_dim=3, window=2, longest_source=5, longest_target=4
    ).eval()
    batch = make_batch([[5, 9, 7]], [[6, 8, 4]])
    first, last = model.encoder[0][0], model.encoder[1]
    into, (project, norm) = model.decoder[0][0], model.decoder[1]
    words = torch.tensor([5, 9, 7, EOS, PAD])
    vectors = model.embedding.weight * 6**0.5
    h = torch.zeros(7) + first.bias
    for place, word in enumerate(words):
        h = h + first.weight[:, 3 * place : 3 * place + 3] @ (model.features.weight @ vectors[word])
    h = h.relu()
    said = [PAD, *batch.previous[0].tolist()]
    for place in range(4):
        output = last.weight[3 * place : 3 * place + 3] @ h + last.bias[3 * place : 3 * place + 3]
        inputs = torch.cat([output, vectors[said[place]], vectors[said[place + 1]]])
        state = F.layer_norm(project((into.weight @ inputs + into.bias).relu()), (6,), norm.weight, norm.bias)
        torch.testing.assert_close(model(batch)[0, place], model.embedding.weight @ state + model.output_bias)


@pytest.mark.parametrize(
    "wrong",
    [{"layers": 0}, {"window": -1}, {"longest_source": 0}, {"longest_target": 0}],
    ids=lambda wrong: str(wrong),
)
def test_sizes_without_a_meaning_are_refused(wrong: dict[str, int]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name}: "):
        FeedForward(20, **wrong)


def split_of(sources: list[int], targets: list[int]) -> EncodedSplit:
    """Sentences of so many subwords."""
    sides = [Ragged(np.full(sum(sizes), 5), np.cumsum([0, *sizes])) for sizes in (sources, targets)]
    return EncodedSplit("made-up", *sides, source_words=np.array(sources, np.int32))


def test_what_is_cut_is_counted() -> None:
    bounded: TranslationModule = FeedForward(20, **SHORT)
    split = split_of([3, 4, 5, 9], [1, 3, 4, 2])
    assert bounded.count_cut(split) == {"sentences": 4, "sources": 2, "targets": 1}
    assert bounded.count_cut(split_of([3, 4], [1, 3])) == {}
    assert Seq2Seq(20, dim=8, hidden_dim=8).count_cut(split) == {}
