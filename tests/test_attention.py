"""Attention of translations: what the search saw, from subwords to words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lit_nmt.attention import forced_attention, over_words, spread_over_lengths
from lit_nmt.data.corpora import SubwordsConfig
from lit_nmt.data.subwords import Subwords, train_subwords
from lit_nmt.decoding import search
from lit_nmt.models.attention_seq2seq import AttentionSeq2Seq
from lit_nmt.models.conv_s2s import ConvS2S
from lit_nmt.models.seq2seq import Seq2Seq
from lit_nmt.models.transformer import Transformer
from lit_nmt.models.translation import Step, TranslationModule

SENTENCES = ["the miller's donkey carries grain", "flour", "näher \U0001f33e the mill stands", ""]
MODELS = {
    Transformer: {"dim": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 2, "feed_forward_dim": 16},
    AttentionSeq2Seq: {"dim": 16, "hidden_dim": 16, "reverse_source": True},
    ConvS2S: {"dim": 16, "hidden_dim": 16},
}


@pytest.fixture(scope="module")
def subwords(tmp_path_factory: pytest.TempPathFactory) -> Subwords:
    path = tmp_path_factory.mktemp("subwords") / "subwords.model"
    return train_subwords(SENTENCES[:2] * 3, SubwordsConfig(vocabulary_size=281), path)


@pytest.mark.parametrize("kind", MODELS)
def test_it_is_what_the_search_saw(kind: type[TranslationModule]) -> None:
    torch.manual_seed(4)
    model = kind(30, **MODELS[kind]).eval()
    sources = [np.array(ids) for ids in ([7, 9, 11, 6, 5], [8], [12, 5, 9])]
    seen: list[list[torch.Tensor]] = []

    class Watched:
        encode = staticmethod(model.encode)

        @staticmethod
        def step(previous: torch.Tensor, state: object) -> Step:
            step = model.step(previous, state)
            assert step.attention is not None
            seen[-1].append(step.attention[0])
            return step

    targets = []
    for ids in sources:
        seen.append([])
        source = torch.tensor([[*ids.tolist(), 3]])
        targets.append(search(Watched(), source, torch.tensor([len(ids) + 1]))[0][0].tokens)
    found = forced_attention(model, sources, targets, max_tokens=12)
    assert found is not None
    for ids, target, weights, steps in zip(sources, targets, found, seen, strict=True):
        assert weights.shape == (len(target) + 1, len(ids) + 1)
        np.testing.assert_allclose(weights, torch.stack(steps).numpy(), atol=1e-6)


def test_a_model_without_attention_has_none() -> None:
    model = Seq2Seq(30, dim=16, hidden_dim=16).eval()
    assert forced_attention(model, [np.array([5, 6])], [[7]]) is None


def test_words_share_the_attention_of_their_subwords(subwords: Subwords) -> None:
    generator = np.random.default_rng(3)
    for source in SENTENCES:
        for target in SENTENCES:
            ids = subwords.encode([source, target])
            weights = generator.dirichlet(np.ones(len(ids[0]) + 1), size=len(ids[1]) + 1)
            found = over_words(weights, *ids, subwords)
            assert (found["source"], found["target"]) == (source.split(), target.split())
            assert np.shape(found["weights"]) == (len(target.split()) + 1, len(source.split()) + 1)
            assert np.abs(np.sum(found["weights"], 1) - 100).max() <= len(source.split()) + 1


def test_attention_to_subwords_adds_up_and_from_subwords_is_averaged(subwords: Subwords) -> None:
    (word,) = subwords.encode(["grainflour"])
    assert len(word) > 1
    (other,) = subwords.encode(["grainflour mill"])
    weights = np.zeros((len(word) + 1, len(other) + 1))
    weights[:-1, : len(word)] = 0.6 / len(word)  # the word looks at its like
    weights[0, -1], weights[1:-1, -1] = 0.4, 0.4
    weights[-1, -1] = 1
    found = over_words(weights, other, word, subwords)
    assert found["weights"] == [[60, 0, 40], [0, 0, 100]]


def test_sentences_are_spread_from_the_shortest_to_the_longest() -> None:
    lengths = np.array([9, 3, 7, 1, 5])
    assert spread_over_lengths(lengths, 3) == [0, 3, 4]
    assert spread_over_lengths(lengths, 9) == [0, 1, 2, 3, 4]
    assert spread_over_lengths(np.array([], dtype=int)) == []
