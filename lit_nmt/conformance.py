"""What every architecture promises (see `lit_nmt.models.translation`), checked on a small copy of it.

`lit-nmt check-model` tells a model's author which promise is broken, with the smallest case that shows it; the tests
hold every model YAML that ships, and its options, to the same.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from lit_nmt.checks import check_arguments
from lit_nmt.data.batching import Batch
from lit_nmt.data.subwords import BOS, EOS, PAD
from lit_nmt.decoding import Search, search
from lit_nmt.errors import UserError
from lit_nmt.models.loading import make_model
from lit_nmt.models.translation import TranslationModule, tree_map
from lit_nmt.studies import read_model

VOCABULARY = 23
"""Subwords of a small model."""

SMALL: dict[str, Any] = {
    **{"dim": 16, "hidden_dim": 16, "attention_dim": 8, "feed_forward_dim": 24, "heads": 2, "dropout": 0.1},
    **{"encoder_layers": 2, "decoder_layers": 2, "layers": 2},
}
"""Arguments by which a model is made small; those that its class does not take are left out."""

Sentences = list[list[int]]


class BrokenPromiseError(Exception):
    """A model does not do what all of them promise; the message tells the smallest case that shows it."""


@dataclass(frozen=True)
class Candidate:
    """A model to be checked, from which small copies are made.

    Attributes:
        fragment: with `model.class_path` and, optionally, `model.init_args`.
        options: init_args that replace the fragment's.
    """

    fragment: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    def init_args(self, **overrides: Any) -> dict[str, Any]:
        """The arguments of a small copy."""
        fragment = {"model": {**self.fragment["model"], "init_args": self.full_init_args()}}
        with torch.device("meta"):
            model = make_model(fragment, VOCABULARY)
        # a class may hand on to its parents what it does not name
        bases: tuple[Any, ...] = type(model).__mro__
        known = {name for base in bases for name in inspect.signature(base.__init__).parameters}
        small = {key: value for key, value in SMALL.items() if key in known}
        return {**self.full_init_args(), **small, **self.options, **overrides}

    def full_init_args(self) -> dict[str, Any]:
        """The arguments as they stand in the YAML."""
        return {**(self.fragment["model"].get("init_args") or {}), **self.options}

    def make(self, seed: int = 0, vocabulary_size: int = VOCABULARY, **overrides: Any) -> TranslationModule:
        """A small copy with float64 weights, in evaluation mode; what starts as 0 or 1 at random, as after training,
        lest it hide faults."""
        torch.manual_seed(seed)
        fragment = {"model": {**self.fragment["model"], "init_args": self.init_args(**overrides)}}
        model = make_model(fragment, vocabulary_size)
        for parameter in model.parameters():
            if parameter.dim() == 1:
                torch.nn.init.normal_(parameter, std=0.1)
        with torch.no_grad():
            model.embedding.weight[PAD].normal_(std=0.1)
        return model.double().eval()


Promise = Callable[[Candidate], None]
PROMISES: dict[str, Promise] = {}
"""By the words in which it is told: a function that raises `BrokenPromiseError`."""


def promise(check: Promise) -> Promise:
    """Registers a check under the first line of its docstring."""
    PROMISES[(check.__doc__ or "").strip().splitlines()[0].removesuffix(".")] = check
    return check


def check_model(name: str) -> None:
    """Checks that a model keeps the promises of the protocol, and says which one it breaks, with the smallest case.

    Args:
        name: a model of experiments/models, or the path of a model YAML; its class may lie outside this package.

    Raises:
        UserError: a promise is broken, or the model cannot be made.
    """
    candidate = Candidate(read_model(name))
    check_arguments(candidate.fragment["model"], name)
    with torch.device("meta"):
        full = make_model({"model": {**candidate.fragment["model"]}}, 4000)
    for attribute in ("title", "paper"):
        if not isinstance(getattr(full, attribute, None), str):
            raise UserError(f'{name}: its class has no {attribute}; reports print it: add `{attribute} = "..."` to it')
    parameters = sum(parameter.numel() for parameter in full.parameters())
    print(f"{full.title} ({full.paper}): {parameters:,} parameters with 4,000 subwords; promises, on a small copy:")
    _try_once(name, candidate)
    broken = []
    for promised, check in PROMISES.items():
        started = time.perf_counter()
        try:
            check(candidate)
        except BrokenPromiseError as error:
            broken.append(promised)
            print(f"  BROKEN  {promised}\n          {error}")
        else:
            print(f"  kept    {promised} ({time.perf_counter() - started:.1f} s)")
        sys.stdout.flush()
    if broken:
        raise UserError(f"{name}: breaks {len(broken)} of {len(PROMISES)} promises")


def _try_once(name: str, candidate: Candidate) -> None:
    """Lets a model read and say one word; where it cannot, no promise tells more."""
    model, batch = candidate.make(), make_batch([[10]], [[8]])
    try:
        model.step(batch.previous[:, 0], model.encode(batch.source, batch.source_lengths))
        model(batch)
    except Exception as error:
        raise UserError(f"{name}: it cannot translate a sentence of one word: {told(error)}") from error


# --------------------------------------------------------------------------------------------------------- cases


def make_batch(sources: Sentences, targets: Sentences) -> Batch:
    """Sentences of ids, without BOS and EOS, as a batch."""

    def padded(rows: Sentences) -> Tensor:
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


def random_pairs(count: int, seed: int = 0, longest: int = 9) -> tuple[Sentences, Sentences]:
    """So many sources and targets of 1 to `longest` words."""
    generator = torch.Generator().manual_seed(seed)

    def rows(most: int) -> Sentences:
        sizes = torch.randint(1, most + 1, (count,), generator=generator).tolist()
        return [torch.randint(EOS + 1, VOCABULARY, (size,), generator=generator).tolist() for size in sizes]

    return rows(longest), rows(max(1, longest - 1))


def growing_pairs(seed: int) -> Iterator[tuple[Sentences, Sentences]]:
    """Sources and targets from the smallest case to one that shows everything."""
    yield random_pairs(1, seed, 1)
    yield random_pairs(1, seed, 3)
    yield [[10], [9, 13]], [[8, 7], [11]]
    yield random_pairs(5, seed)


def holds(sources: Sentences, targets: Sentences, check: Callable[[], None]) -> None:
    """Runs a check of a case, and tells the case where it fails.

    Raises:
        BrokenPromiseError: the check failed, or the model raised an error.
    """
    try:
        check()
    except Exception as error:
        case = f"subword ids {sources}" + (f", target {targets}" if targets else "")
        raise BrokenPromiseError(f"{case}: {error if isinstance(error, AssertionError) else told(error)}") from error


def told(error: Exception) -> str:
    """An error of a model in a few words: what it says, and the line of the model from which it comes."""
    said = "; ".join([line for line in str(error).splitlines() if line.strip()][:4])
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {said}{place}"


def same(found: Tensor, expected: Tensor, what: str) -> None:
    """Asserts that logits (batch, length, vocabulary) are the same within rounding, and tells where they are not."""
    assert found.shape == expected.shape, f"{what}: shape {tuple(found.shape)}, {tuple(expected.shape)} expected"
    far = (found - expected).abs().amax(-1)
    if not torch.allclose(found, expected):
        row, position = divmod(int(far.nan_to_num(torch.inf).argmax()), far.shape[1])
        raise AssertionError(
            f"{what}: they differ by {far[row, position]:.2g} at word {position + 1} of sentence {row + 1}"
        )


# ------------------------------------------------------------------------------------------------------ promises


@promise
def step_unrolled_is_forward(candidate: Candidate) -> None:
    """`step`, token by token, gives the logits of `forward`."""
    model = candidate.make()
    for sources, targets in growing_pairs(0):
        batch = make_batch(sources, targets)

        def check(batch: Batch = batch) -> None:
            with torch.no_grad():
                unrolled = TranslationModule.forward.__get__(_Unrolled(model))(batch)
                same(model(batch), unrolled, "logits of decoder_states and of step, word by word")

        holds(sources, targets, check)


class _Unrolled:
    """A model without its fast way."""

    def __init__(self, model: TranslationModule) -> None:
        self.encode, self.step = model.encode, model.step

    def decoder_states(self, batch: Batch) -> None:
        return None


@promise
def the_future_is_unseen(candidate: Candidate) -> None:
    """A target token affects the logits after it (none in a model that is not autoregressive) and none before."""
    model = candidate.make()
    for sources, targets in growing_pairs(1):
        batch = make_batch(sources, targets)

        def check(batch: Batch = batch) -> None:
            with torch.no_grad():
                before = model(batch)
                for position in range(1, batch.previous.shape[1]):
                    changed = batch.previous.clone()
                    changed[:, position:] = (changed[:, position:] + 5) % (VOCABULARY - EOS - 1) + EOS + 1
                    after = model(Batch(**{**vars(batch), "previous": changed}))
                    case = f"the target changed from position {position} on"
                    assert torch.allclose(after[:, :position], before[:, :position]), f"{case}, logits before it too"
                    unseen = torch.allclose(after[:, position], before[:, position])
                    assert unseen != model.autoregressive, f"{case}, its logits {'did not' if unseen else 'did, too'}"

        holds(sources, targets, check)


@promise
def padding_changes_nothing(candidate: Candidate) -> None:
    """A sentence alone and the same one among longer ones, padded, have the same logits."""
    model = candidate.make()
    for sources, targets in growing_pairs(2):

        def check(sources: Sentences = sources, targets: Sentences = targets) -> None:
            with torch.no_grad():
                logits = model(make_batch(sources, targets))
                for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
                    alone = model(make_batch([source], [target]))[0]
                    together = logits[row, : len(target) + 1]
                    far = (together - alone).abs().max()
                    assert torch.allclose(together, alone), (
                        f"logits of sentence {row + 1} differ by {far:.2g} from those of it alone, so padding is read "
                        "(padding_mask in lit_nmt/models/layers.py tells where it is)"
                    )

        holds(sources, targets, check)


@promise
def every_source_word_matters(candidate: Candidate) -> None:
    """Each source word can change the logits."""
    model = candidate.make()
    source, target = [5, 9, 7, 12, 6], [8, 4, 10]

    def check() -> None:
        with torch.no_grad():
            before = model(make_batch([source], [target]))
            for position in range(len(source)):
                changed = [*source[:position], source[position] + 1, *source[position + 1 :]]
                is_read = not torch.allclose(model(make_batch([changed], [target])), before)
                assert is_read, f"another word at position {position} changes nothing"

    holds([source], [target], check)


@promise
def losses_are_cross_entropy(candidate: Candidate) -> None:
    """The loss and its gradients are those of cross-entropy on the logits, and reach every parameter."""
    model = candidate.make()
    names, parameters = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
    for sources, targets in growing_pairs(3):
        batch = make_batch(sources, targets)

        def check(batch: Batch = batch, last: bool = len(sources) == 5) -> None:
            real = batch.target != PAD
            logits = model(batch)[real]
            expected = F.cross_entropy(logits, batch.target[real], label_smoothing=0.1, reduction="sum")
            plain_expected = F.cross_entropy(logits, batch.target[real], reduction="sum")
            smoothed, plain = model.losses(batch, 0.1)
            assert_close(smoothed.double(), expected, rtol=1e-5, atol=1e-4)
            assert_close(plain.double(), plain_expected, rtol=1e-5, atol=1e-4)
            ours = torch.autograd.grad(smoothed, parameters, allow_unused=True)
            theirs = torch.autograd.grad(expected, parameters, allow_unused=True)
            for name, our, their in zip(names, ours, theirs, strict=True):
                assert our is not None, f"no gradient reaches {name}"
                assert torch.allclose(our, their, rtol=1e-5, atol=1e-5), f"the gradient of {name} is another"
                assert not last or their.any(), f"the gradient of {name} is 0"

        holds(sources, targets, check)


@promise
def attention_is_a_distribution(candidate: Candidate) -> None:
    """Attention, where a model has it, sums to 1 over the source and is 0 on padding."""
    model = candidate.make()
    for sources, targets in growing_pairs(4):
        batch = make_batch(sources, targets)

        def check(batch: Batch = batch) -> None:
            state = model.encode(batch.source, batch.source_lengths)
            for previous in batch.previous.unbind(1):
                step = model.step(previous, state)
                state = step.state
                if step.attention is None:
                    return
                assert step.attention.shape == batch.source.shape, f"its shape is {tuple(step.attention.shape)}"
                assert_close(step.attention.sum(1), torch.ones(len(batch.source), dtype=torch.float64))
                assert not step.attention[batch.source == PAD].any(), "there is attention to padding"

        holds(sources, targets, check)


@promise
def states_can_be_reordered(candidate: Candidate) -> None:
    """A state's tensors all have the batch first, so that a beam can take any of its rows."""
    model = candidate.make()
    for sources, targets in growing_pairs(5):
        batch = make_batch(sources, targets)

        def check(batch: Batch = batch) -> None:
            rows = torch.arange(len(batch.source)).flip(0).repeat_interleave(2)
            with torch.no_grad():
                state = model.step(batch.previous[:, 0], model.encode(batch.source, batch.source_lengths)).state
                tree_map(_has_batch_first(len(batch.source)), state)
                moved = tree_map(lambda tensor: tensor.index_select(0, rows), state)
                reordered = model.step(batch.previous[rows, 0], moved)
                straight = model.step(batch.previous[:, 0], state)
            same(
                reordered.logits[:, None], straight.logits[rows][:, None], "logits after the rows have changed places"
            )

        holds(sources, targets, check)


def _has_batch_first(size: int) -> Callable[[Tensor], Tensor]:
    def check(tensor: Tensor) -> Tensor:
        shape = tuple(tensor.shape)
        assert shape[:1] == (size,), (
            f"a tensor of the state has shape {shape}; its first size should be the batch, {size}"
        )
        return tensor

    return check


@promise
def search_scores_are_forced_scores(candidate: Candidate) -> None:
    """A translation's score in a search is the score of the same translation when forced, in any company."""
    model = candidate.make()
    for sources, _ in growing_pairs(6):

        def check(sources: Sentences = sources) -> None:
            batch = make_batch(sources, sources)
            greedy = search(model, batch.source, batch.source_lengths)
            beam = search(model, batch.source, batch.source_lengths, Search(beam_size=4, n_best=4))
            for source, one, many in zip(sources, greedy, beam, strict=True):
                alone = make_batch([source], [source])
                itself = search(model, alone.source, alone.source_lengths)[0][0].tokens
                assert itself == one[0].tokens, f"{source} is translated {itself} alone, {one[0].tokens} in company"
                scores = [hypothesis.score for hypothesis in many]
                assert scores == sorted(scores, reverse=True), f"the scores of a beam do not fall: {scores}"
                for hypothesis in (*one, *many):
                    forced = forced_log_probability(model, source, hypothesis.tokens)
                    scored = (
                        f"{hypothesis.tokens}: {hypothesis.log_probability:.6g} in the search, {forced:.6g} forced"
                    )
                    assert math.isclose(hypothesis.log_probability, forced, rel_tol=1e-6), scored

        holds(sources, [], check)


def forced_log_probability(model: TranslationModule, source: list[int], tokens: list[int]) -> float:
    """The log probability of a translation under teacher forcing, in nats."""
    batch = make_batch([source], [tokens])
    with torch.no_grad():
        return -float(F.cross_entropy(model(batch)[0], batch.target[0], reduction="sum"))


@promise
def a_full_beam_is_brute_force(candidate: Candidate) -> None:
    """A beam that holds every hypothesis finds the best of them."""
    model = candidate.make(vocabulary_size=7)  # three words, at most two of them: 13 hypotheses
    source = [4, 6, 5]

    def check() -> None:
        settings = Search(beam_size=13, length_penalty=0.7, max_length_ratio=0.0, max_length_extra=2)
        batch = make_batch([source], [source])
        words = range(EOS + 1, 7)
        everything = [list(tokens) for size in range(3) for tokens in itertools.product(words, repeat=size)]
        scores = [forced_log_probability(model, source, tokens) / (len(tokens) + 1) ** 0.7 for tokens in everything]
        best = max(range(len(everything)), key=scores.__getitem__)
        found = search(model, batch.source, batch.source_lengths, settings)[0][0]
        assert found.tokens == everything[best], f"{found.tokens} found, {everything[best]} is better"
        scored = f"{found.tokens}: {found.score:.6g} in the search, {scores[best]:.6g} forced"
        assert math.isclose(found.score, scores[best], rel_tol=1e-6), scored

    holds([source], [], check)


@promise
def eight_pairs_are_learned_by_heart(candidate: Candidate) -> None:
    """Eight pairs are learned by heart within 800 steps."""
    overrides: dict[str, Any] = {"dropout": 0.0} if "dropout" in candidate.init_args() else {}
    model = candidate.make(**overrides).float().train()
    sources, targets = random_pairs(8)
    # the same source twice would ask for two translations of one sentence
    sources = [[*source, EOS + 1 + row] for row, source in enumerate(sources)]

    def check() -> None:
        batch = make_batch(sources, targets)
        optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(800):
            loss, negative_log_likelihood = model.losses(batch)
            if negative_log_likelihood < 0.02 * batch.global_tokens:
                break
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        found = search(model.eval(), batch.source, batch.source_lengths)
        right = sum(best[0].tokens == target for best, target in zip(found, targets, strict=True))
        loss_a_token = float(negative_log_likelihood.detach()) / batch.global_tokens
        assert right == len(targets), f"{right} of 8 are said right; the loss is still {loss_a_token:.2f} nats a token"

    holds(sources, targets, check)


@promise
def saved_weights_give_the_model_back(candidate: Candidate) -> None:
    """A copy with the same arguments and the saved weights gives the same logits."""
    model, again = candidate.make(seed=1), candidate.make(seed=2)
    sources, targets = random_pairs(2, longest=3)

    def check() -> None:
        again.load_state_dict(copy.deepcopy(model.state_dict()))
        batch = make_batch(sources, targets)
        with torch.no_grad():
            assert_close(again(batch), model(batch))

    holds(sources, targets, check)
