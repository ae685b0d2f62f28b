"""What every architecture promises (`lit_nmt.models.translation`), for each model YAML that ships and its options.

A new YAML in experiments/models/ is tested without a change here.
"""

import inspect
import itertools
import math
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import functional as F

from lit_nmt.data.batching import Batch
from lit_nmt.data.subwords import BOS, EOS, PAD
from lit_nmt.decoding import Search, search
from lit_nmt.models.loading import load_model, make_model
from lit_nmt.models.translation import TranslationModule, tree_map

MODELS = Path(__file__).parents[2] / "experiments" / "models"
YAMLS = sorted(MODELS.glob("*.yaml"))
SMALL = [path for path in YAMLS if not path.stem.endswith("-paper")]
TINY = {"dim": 16, "hidden_dim": 16, "attention_dim": 8, "feed_forward_dim": 24, "heads": 2, "dropout": 0.1}
TINY |= {"encoder_layers": 2, "decoder_layers": 2, "layers": 2}
VOCABULARY = 23

OPTIONS: dict[str, list[dict]] = {
    "transformer": [
        {"norm": norm, "positions": positions}
        for norm, positions in itertools.product(["pre", "post"], ["sinusoidal", "learned", "rotary"])
    ],
    "seq2seq": [
        {"cell": cell, "bidirectional": two, "reverse_source": back, "context_every_step": context, "readout": out}
        for cell, two, back, context, out in [
            ("lstm", False, True, False, "tanh"),
            ("gru", False, False, True, "norm"),
            ("rnn", True, False, False, "norm"),
            ("lstm", True, False, True, "norm"),
        ]
    ],
    "attention-seq2seq": [
        {
            "cell": cell,
            "score": score,
            "input_feeding": feeding,
            "bidirectional": two,
            "reverse_source": back,
            "upper_layer": upper,
        }
        for cell, score, feeding, two, back, upper in [
            ("lstm", "dot", False, True, False, False),
            ("gru", "additive", True, True, False, False),
            ("lstm", "general", True, False, True, False),
            ("rnn", "additive", False, False, True, False),
            ("lstm", "general", False, True, False, True),
            ("gru", "dot", True, False, False, True),
        ]
    ],
}
CASES = [pytest.param(path, {}, id=path.stem) for path in SMALL]
CASES += [
    pytest.param(MODELS / f"{name}.yaml", options, id=f"{name}-{'-'.join(map(str, options.values()))}")
    for name, variants in OPTIONS.items()
    for options in variants
]


def make(path: Path, options: dict, seed: int = 0, **overrides) -> TranslationModule:
    """The model of a YAML, tiny, with float64 weights."""
    torch.manual_seed(seed)
    fragment = yaml.safe_load(path.read_text(encoding="utf-8"))
    with torch.device("meta"):
        model = make_model(fragment, VOCABULARY)
    tiny = {key: value for key, value in TINY.items() if takes(model, key)}
    model = make_model(fragment, **{"vocabulary_size": VOCABULARY, **tiny, **options, **overrides})
    for parameter in model.parameters():
        if parameter.dim() == 1:  # biases of 0 and norms of 1 would hide their own faults
            torch.nn.init.normal_(parameter, std=0.1)
    return model.double().eval()


def takes(model: TranslationModule, name: str) -> bool:
    """Whether the model's class has an argument of that name."""
    return name in inspect.signature(type(model).__init__).parameters


def pytest_generate_tests(metafunc) -> None:
    if {"path", "options"} <= set(metafunc.fixturenames):
        metafunc.parametrize(("path", "options"), CASES)


def make_batch(sources: list[list[int]], targets: list[list[int]]) -> Batch:
    def padded(rows: list[list[int]]) -> torch.Tensor:
        longest = max(map(len, rows))
        return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])

    return Batch(
        source=padded([[*row, EOS] for row in sources]),
        source_lengths=torch.tensor([len(row) + 1 for row in sources]),
        previous=padded([[BOS, *row] for row in targets]),
        target=padded([[*row, EOS] for row in targets]),
        target_lengths=torch.tensor([len(row) + 1 for row in targets]),
        indices=torch.arange(len(sources)),
        global_tokens=sum(len(row) + 1 for row in targets),
    )


def test_reading_backwards_is_reading_the_reversed_sentence():
    for name in ("seq2seq", "attention-seq2seq"):
        forwards, backwards = (make(MODELS / f"{name}.yaml", {"reverse_source": back}) for back in (False, True))
        sources, targets = random_pairs(4, seed=7)
        turned = make_batch([source[::-1] for source in sources], targets)
        batch = make_batch(sources, targets)
        with torch.no_grad():
            torch.testing.assert_close(backwards(batch), forwards(turned))
            states = [m.encode(b.source, b.source_lengths) for m, b in ((backwards, batch), (forwards, turned))]
            ours, theirs = (
                m.step(b.previous[:, 0], s).attention
                for m, b, s in zip((backwards, forwards), (batch, turned), states, strict=True)
            )
        if ours is not None:
            for row, source in enumerate(sources):
                torch.testing.assert_close(ours[row, : len(source)], theirs[row, : len(source)].flip(0))


def random_pairs(count: int, seed: int = 0) -> tuple[list[list[int]], list[list[int]]]:
    generator = torch.Generator().manual_seed(seed)

    def rows(longest: int) -> list[list[int]]:
        sizes = torch.randint(1, longest + 1, (count,), generator=generator).tolist()
        return [torch.randint(EOS + 1, VOCABULARY, (size,), generator=generator).tolist() for size in sizes]

    return rows(9), rows(8)


def test_step_unrolled_equals_forward(path, options):
    model, batch = make(path, options), make_batch(*random_pairs(5))
    with torch.no_grad():
        unrolled = TranslationModule.forward.__get__(Unrolled(model))(batch)
        torch.testing.assert_close(model(batch), unrolled)


class Unrolled:
    """A model without its fast way."""

    def __init__(self, model: TranslationModule) -> None:
        self.encode, self.step = model.encode, model.step

    def decoder_states(self, batch: Batch) -> None:
        return None


def test_the_future_never_affects_earlier_logits(path, options):
    model, batch = make(path, options), make_batch(*random_pairs(4, seed=1))
    with torch.no_grad():
        before = model(batch)
        for position in range(1, batch.previous.shape[1]):
            changed = batch.previous.clone()
            changed[:, position:] = (changed[:, position:] + 5) % (VOCABULARY - EOS - 1) + EOS + 1
            after = model(Batch(**{**vars(batch), "previous": changed}))
            torch.testing.assert_close(after[:, :position], before[:, :position])
            assert not torch.allclose(after[:, position], before[:, position])


def test_padding_and_company_change_nothing(path, options):
    model = make(path, options)
    sources, targets = random_pairs(5, seed=2)
    together = make_batch(sources, targets)
    with torch.no_grad():
        logits = model(together)
        for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
            alone = model(make_batch([source], [target]))[0]
            torch.testing.assert_close(logits[row, : len(target) + 1], alone)


def test_every_source_word_matters(path, options):
    model = make(path, options)
    source, target = [5, 9, 7, 12, 6], [8, 4, 10]
    with torch.no_grad():
        before = model(make_batch([source], [target]))
        for position in range(len(source)):
            changed = [*source[:position], source[position] + 1, *source[position + 1 :]]
            assert not torch.allclose(model(make_batch([changed], [target])), before)


def test_losses_are_cross_entropy(path, options):
    model, batch = make(path, options), make_batch(*random_pairs(6, seed=3))
    real = batch.target != PAD
    logits = model(batch)[real]
    expected = F.cross_entropy(logits, batch.target[real], label_smoothing=0.1, reduction="sum")
    smoothed, plain = model.losses(batch, 0.1)
    torch.testing.assert_close(smoothed.double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        plain.double(), F.cross_entropy(logits, batch.target[real], reduction="sum"), rtol=1e-5, atol=1e-4
    )
    parameters = [p for p in model.parameters() if p.requires_grad]
    for ours, theirs in zip(
        torch.autograd.grad(smoothed, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        assert theirs.abs().sum() > 0, "a parameter has no gradient"


def test_attention_is_a_distribution_over_the_source(path, options):
    model, batch = make(path, options), make_batch(*random_pairs(5, seed=4))
    state = model.encode(batch.source, batch.source_lengths)
    for previous in batch.previous.unbind(1):
        step = model.step(previous, state)
        state = step.state
        if step.attention is None:
            return
        assert step.attention.shape == batch.source.shape
        torch.testing.assert_close(step.attention.sum(1), torch.ones(5, dtype=torch.float64))
        assert step.attention[batch.source == PAD].abs().max() == 0


def test_states_can_be_reordered(path, options):
    model, batch = make(path, options), make_batch(*random_pairs(4, seed=5))
    rows = torch.tensor([2, 0, 0, 3])
    with torch.no_grad():
        state = model.step(batch.previous[:, 0], model.encode(batch.source, batch.source_lengths)).state
        reordered = model.step(batch.previous[rows, 0], tree_map(lambda t: t.index_select(0, rows), state))
        straight = model.step(batch.previous[:, 0], state)
    torch.testing.assert_close(reordered.logits, straight.logits[rows])


def forced(model: TranslationModule, source: list[int], tokens: list[int]) -> float:
    batch = make_batch([source], [tokens])
    with torch.no_grad():
        return -float(F.cross_entropy(model(batch)[0], batch.target[0], reduction="sum"))


def test_search_scores_are_forced_scores_and_a_beam_of_one_is_greedy(path, options):
    model = make(path, options)
    sources, _ = random_pairs(4, seed=6)
    batch = make_batch(sources, sources)
    greedy = search(model, batch.source, batch.source_lengths)
    beam = search(model, batch.source, batch.source_lengths, Search(beam_size=4, n_best=4))
    for source, one, many in zip(sources, greedy, beam, strict=True):
        alone = make_batch([source], [source])
        assert search(model, alone.source, alone.source_lengths)[0][0].tokens == one[0].tokens
        assert [h.score for h in many] == sorted((h.score for h in many), reverse=True)
        for hypothesis in (*one, *many):
            assert math.isclose(hypothesis.log_probability, forced(model, source, hypothesis.tokens), rel_tol=1e-6)


def test_a_full_beam_finds_what_brute_force_finds(path, options):
    model = make(path, {**options}, vocabulary_size=7)  # three words, at most two of them: 13 hypotheses
    source = [4, 6, 5]
    settings = Search(beam_size=13, length_penalty=0.7, max_length_ratio=0.0, max_length_extra=2)
    batch = make_batch([source], [source])
    words = range(EOS + 1, 7)
    everything = [list(tokens) for size in range(3) for tokens in itertools.product(words, repeat=size)]
    scores = [forced(model, source, tokens) / (len(tokens) + 1) ** 0.7 for tokens in everything]
    best = max(range(len(everything)), key=scores.__getitem__)
    found = search(model, batch.source, batch.source_lengths, settings)[0][0]
    assert found.tokens == everything[best]
    assert math.isclose(found.score, scores[best], rel_tol=1e-6)


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_eight_pairs_are_learned_by_heart(path):
    model = make(path, {"dropout": 0.0}).float().train()
    sources, targets = random_pairs(8, seed=torch.seed() % 1000)
    batch = make_batch(sources, targets)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(400):
        loss, negative_log_likelihood = model.losses(batch)
        if negative_log_likelihood < 0.02 * batch.global_tokens:
            break
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    found = search(model.eval(), batch.source, batch.source_lengths)
    assert [best[0].tokens for best in found] == targets


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_a_run_folder_gives_its_model_back(path, tmp_path):
    model, batch = make(path, {}).float(), make_batch(*random_pairs(3))
    fragment = yaml.safe_load(path.read_text(encoding="utf-8"))
    init_args = {**fragment["model"]["init_args"]}
    init_args |= {key: value for key, value in TINY.items() if takes(model, key)}
    (tmp_path / "checkpoints").mkdir()
    fragment["model"]["init_args"] = init_args
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(fragment))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "checkpoints" / "best.ckpt")
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path)(batch), model(batch))


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_every_yaml_makes_a_model_with_title_and_paper(path):
    fragment = yaml.safe_load(path.read_text(encoding="utf-8"))
    with torch.device("meta"):
        model = make_model(fragment, 32_000)
    assert model.title
    assert model.paper
    assert sum(p.numel() for p in model.parameters()) > 1_000_000
