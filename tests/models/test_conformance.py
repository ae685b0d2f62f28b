"""What every architecture promises (`lit_nmt.conformance`), for each model YAML that ships and its options.

A new YAML in experiments/models/ is tested without a change here.
"""

import itertools
from pathlib import Path

import pytest
import torch
import yaml

from lit_nmt import cli
from lit_nmt.conformance import PROMISES, BrokenPromiseError, Candidate, make_batch, random_pairs
from lit_nmt.models.loading import load_model, make_model
from lit_nmt.models.seq2seq import Seq2Seq
from lit_nmt.models.transformer import Transformer
from lit_nmt.models.translation import Step
from lit_nmt.studies import load_study

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "experiments" / "models"
YAMLS = sorted(MODELS.glob("*.yaml"))
SMALL = [path for path in YAMLS if not path.stem.endswith("-paper")]

OPTIONS: dict[str, list[dict]] = {
    "feed-forward": [{"window": 4}, {"window": 1, "layers": 1}],
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


def candidate(path: Path, **options) -> Candidate:
    return Candidate(yaml.safe_load(path.read_text(encoding="utf-8")), options)


(BY_HEART,) = (told for told in PROMISES if "by heart" in told)


@pytest.mark.parametrize("told", [told for told in PROMISES if told != BY_HEART])
@pytest.mark.parametrize(("path", "options"), CASES)
def test_promise(path, options, told):
    PROMISES[told](candidate(path, **options))


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_learning_by_heart(path):
    """Not asked of every option: a plain recurrent net may need more steps."""
    PROMISES[BY_HEART](candidate(path))


class Peeking(Seq2Seq):
    """Reads one target token ahead when it is trained."""

    def decoder_states(self, batch):
        ahead = torch.cat([batch.previous[:, 1:], batch.previous[:, -1:]], 1)
        return super().decode(ahead, self.encode(batch.source, batch.source_lengths))[0]


class SeesPadding(Transformer):
    """Forgets to mask the source's padding."""

    def memory(self, source, source_lengths):
        return super().memory(source, torch.full_like(source_lengths, source.shape[1]))


class KeepsItsState(Seq2Seq):
    """Has the batch second in its state."""

    def encode(self, source, source_lengths):
        state = super().encode(source, source_lengths)
        return state._replace(recurrent=tuple(part.transpose(0, 1) for part in state.recurrent))

    def step(self, previous, state):
        turned = tuple(part.transpose(0, 1) for part in state.recurrent)
        found = super().step(previous, state._replace(recurrent=turned))
        back = tuple(part.transpose(0, 1) for part in found.state.recurrent)
        return Step(found.logits, found.state._replace(recurrent=back))


class HasASpareLayer(Seq2Seq):
    """Has parameters that nothing uses."""

    def __init__(self, vocabulary_size, **options):
        super().__init__(vocabulary_size, **options)
        self.spare = torch.nn.Linear(3, 3)


class StaresAtPadding(Transformer):
    """Shows attention that does not sum to 1."""

    def step(self, previous, state):
        found = super().step(previous, state)
        return found._replace(attention=found.attention * 2)


BROKEN = {
    Peeking: {
        "step, token by token": r"^subword ids \[\[\d+\]\], target .* differ by [\d.]+ at word \d of sentence 1$",
        "A target token affects": "position 1",
    },
    SeesPadding: {"A sentence alone": r"^subword ids \[\[10\], .* sentence 1 differ by [\d.]+ .* so padding is read"},
    KeepsItsState: {"batch first": r"state has shape \(2, 1, 16\); its first size should be the batch, 1"},
    HasASpareLayer: {"reach every parameter": "no gradient reaches spare.weight"},
    StaresAtPadding: {"sums to 1": r"^subword ids \[\[\d+\]\]"},
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_promise_is_told_with_its_smallest_case(broken):
    suspect = Candidate({"model": {"class_path": f"{__name__}.{broken.__name__}"}})
    for words, shown in BROKEN[broken].items():
        (told,) = (promise for promise in PROMISES if words in promise.replace("`", ""))
        with pytest.raises(BrokenPromiseError, match=shown):
            PROMISES[told](suspect)


def test_the_verb_tells_what_is_kept_and_what_is_broken(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = (
        "from lit_nmt.models.seq2seq import Seq2Seq\n\nclass Mine(Seq2Seq):\n    title = 'Mine'\n    paper = 'none'\n"
    )
    Path("elsewhere.py").write_text(source)
    Path("mine.yaml").write_text("model: {class_path: elsewhere.Mine, init_args: {dim: 8, hidden_dim: 8}}\n")
    assert cli.main(["check-model", "mine.yaml"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Mine (none): 3")
    assert out.count("  kept    ") == len(PROMISES)
    Path("mine.yaml").write_text("model: {class_path: elsewhere.Mine, init_args: {dims: 8}}\n")
    assert cli.main(["check-model", "mine.yaml"]) == 2
    told = capsys.readouterr().err
    assert told.startswith('lit-nmt: mine.yaml: Mine takes no dims; did you mean "dim"?')
    assert told.count("\n") == 1
    source += "\n    def encode(self, source, lengths):\n        return super().encode(source, lengths * 0 + 1)\n"
    Path("worse.py").write_text(source)
    Path("mine.yaml").write_text("model: {class_path: worse.Mine, init_args: {dim: 8, hidden_dim: 8}}\n")
    assert cli.main(["check-model", "mine.yaml"]) == 2
    told = capsys.readouterr()
    assert "BROKEN  Each source word can change the logits" in told.out
    assert "another word at position 1 changes nothing" in told.out
    assert f"of {len(PROMISES)} promises" in told.err
    source += "\n    def step(self, previous, state):\n        return self.nothing\n"
    Path("worst.py").write_text(source)
    Path("mine.yaml").write_text("model: {class_path: worst.Mine, init_args: {dim: 8, hidden_dim: 8}}\n")
    assert cli.main(["check-model", "mine.yaml"]) == 2
    told = capsys.readouterr()
    assert (
        "cannot translate a sentence of one word: AttributeError: 'Mine' object has no attribute 'nothing'" in told.err
    )
    assert "(worst.py, line 11)" in told.err
    assert "BROKEN" not in told.out


def test_reading_backwards_is_reading_the_reversed_sentence():
    for name in ("seq2seq", "attention-seq2seq"):
        forwards, backwards = (
            candidate(MODELS / f"{name}.yaml", reverse_source=back).make() for back in (False, True)
        )
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


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_a_run_folder_gives_its_model_back(path, tmp_path):
    small = candidate(path)
    model, batch = small.make().float(), make_batch(*random_pairs(3))
    (tmp_path / "checkpoints").mkdir()
    fragment = {"model": {**small.fragment["model"], "init_args": small.init_args()}}
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


def parameters(fragment: dict, vocabulary_size: int) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in make_model({"model": {**fragment["model"]}}, vocabulary_size).parameters())


@pytest.mark.parametrize("vocabulary_size", [2000, 8000])
def test_the_small_models_are_of_one_size(vocabulary_size):
    sizes = [parameters(yaml.safe_load(path.read_text(encoding="utf-8")), vocabulary_size) for path in SMALL]
    assert max(sizes) <= 1.05 * min(sizes)


STUDIES = sorted(path.stem for path in (ROOT / "experiments" / "studies").glob("*.yaml"))
STUDIES.remove("tiny")  # which compares nothing


@pytest.mark.parametrize("name", STUDIES)
def test_the_models_of_a_study_are_of_one_size(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    for part in load_study(name).parts:
        for corpus, config in part.corpus_configs.items():
            size = config.subwords.vocabulary_size
            planned = [*part.runs, *(part.benched_runs(corpus) if part.bench else [])]
            sizes = {run.model: parameters(run.config, size) for run in planned if run.corpus == corpus}
            assert max(sizes.values()) <= (1 + part.parameters_tolerance) * min(sizes.values()), sizes
