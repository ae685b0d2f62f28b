"""Greedy and beam search over the protocol of a translation model: batches of tensors, no model known.

A search asks `encode` once and `step` once for each position of the target, for all sentences of a batch
together. What is left of the batch after rows have finished is packed together again, and a beam reorders the
model's state with `tree_map(index_select)`, but for the tensors that no step has changed: those depend on the
source alone and are equal for all hypotheses of a sentence.

The protocol's one condition on states: `step` returns new tensors instead of writing into those that it was
given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lit_nmt.checks import DECODING
from lit_nmt.data.subwords import BOS, EOS, PAD, UNKNOWN
from lit_nmt.errors import UserError
from lit_nmt.models.translation import State, Step, tree_map

WORDS = EOS + 1
"""The first id of a word; below it stand the special ids, of which a search says none but EOS."""
assert max(PAD, UNKNOWN, BOS) < EOS

PACK_SHARE = 1 / 8
"""The share of idle rows at which a batch is packed: packing copies the state, idle rows waste their part of
each step."""

GROUP_SIZE = 16
"""Columns in a group of `top`."""


class Decodable(Protocol):
    """What a search needs of a model (see `lit_nmt.models.translation`)."""

    def encode(self, source: Tensor, source_lengths: Tensor) -> State:
        """Reads the source (batch, source length)."""

    def step(self, previous: Tensor, state: State) -> Step:
        """Says one target token after `previous` (batch,)."""


@dataclass(frozen=True)
class Search:
    """How to search for translations. With a beam of one, greedily.

    A hypothesis is ranked by its log probability, EOS included, over `(its tokens + 1) ** length_penalty`:
    Wu et al. 2016 (arXiv:1609.08144, eq. 14) without the constants, as in fairseq. No hypothesis has more
    than `max_length_ratio * source length + max_length_extra` tokens (source length with, tokens without
    EOS); one that has as many is ended, at the price that the model puts on ending there.

    Attributes:
        beam_size: hypotheses kept side by side; each one finished takes its place in the beam with it.
        length_penalty: the exponent: 0 ranks by probability, 1 by the mean log probability of a token.
        n_best: hypotheses returned for a sentence, at most `beam_size`.
        max_length_ratio: see above.
        max_length_extra: see above.

    Raises:
        UserError: for values without a meaning.
    """

    beam_size: int = 1
    length_penalty: float = 1.0
    n_best: int = 1
    max_length_ratio: float = 2.0
    max_length_extra: int = 10

    def __post_init__(self) -> None:
        for name, found, lowest in (
            ("beam_size", self.beam_size, 1),
            ("n_best", self.n_best, 1),
            ("length_penalty", self.length_penalty, 0),
            ("max_length_ratio", self.max_length_ratio, 0),
            ("max_length_extra", self.max_length_extra, 0),
        ):
            if found < lowest:
                raise UserError(f"{name}: {found} found, at least {lowest} expected")
        if self.n_best > self.beam_size:
            raise UserError(
                f"n_best: {self.n_best} found, at most beam_size expected, which is {self.beam_size}: "
                "ask for fewer, or for a wider beam as --decodings beam5"
            )

    def caps(self, source_lengths: Tensor) -> Tensor:
        """The most tokens, EOS not counted, of a translation of each source (batch,), EOS counted."""
        return (source_lengths * self.max_length_ratio).long() + self.max_length_extra


@dataclass(frozen=True)
class Hypothesis:
    """A translation found.

    Attributes:
        tokens: subword ids without BOS and EOS.
        score: as the search ranked it, see `Search`.
        log_probability: of the tokens and EOS, in nats, under the model's whole vocabulary.
    """

    tokens: list[int]
    score: float
    log_probability: float


def parse_decoding(name: str) -> Search:
    """The settings behind a decoding's name: `greedy`, or `beam5` for a beam of five.

    Raises:
        UserError: for any other name.
    """
    if not re.fullmatch(DECODING, name):
        raise UserError(f"decoding {name!r}: expected greedy, or beam and its size, 1 to 999, as in beam5")
    return Search() if name == "greedy" else Search(beam_size=int(name.removeprefix("beam")))


@torch.inference_mode()
def search(
    model: Decodable, source: Tensor, source_lengths: Tensor, settings: Search | None = None
) -> list[list[Hypothesis]]:
    """Translates a batch.

    Args:
        model: in evaluation mode.
        source: (batch, source length) ids, EOS at the end, then padding.
        source_lengths: (batch,), EOS counted.
        settings: greedy by default.

    Returns:
        For each sentence its `n_best` hypotheses, distinct, the best first (fewer where there are fewer).
    """
    settings = settings or Search()
    if not len(source):
        return []
    if settings.beam_size == 1:
        return _greedy_search(model, source, source_lengths, settings)
    return _beam_search(model, source, source_lengths, settings)


def translate_ids(
    model: Decodable,
    sources: Sequence[np.ndarray],
    settings: Search | None = None,
    *,
    max_tokens: int = 2048,
    device: torch.device | str = "cpu",
    description: str = "",
    rank: int = 0,
    world_size: int = 1,
) -> list[list[Hypothesis]]:
    """Translates any number of sentences in batches of similar lengths.

    Args:
        model: in evaluation mode, on `device`.
        sources: subword ids of each sentence, without EOS.
        settings: greedy by default.
        max_tokens: padded source tokens of a batch, at most (a longer sentence makes a batch of its own).
        device: where the model is.
        description: the title of a progress bar; none without.
        rank: of this process, which translates its share of the batches.
        world_size: processes among which batches are dealt out whole, so that each is the same on any number.

    Returns:
        As `search`, in the order of `sources`; nothing for the sentences of other ranks.
    """
    found: list[list[Hypothesis]] = [[] for _ in sources]
    batches = list(islice(padded_batches(sources, max_tokens), rank, None, world_size))
    total = sum(len(rows) for rows, _, _ in batches)
    with tqdm(total=total, desc=description, unit=" sentences", disable=None if description else True) as bar:
        for rows, source, lengths in batches:
            hypotheses = search(model, source.to(device), lengths.to(device), settings)
            for row, best in zip(rows, hypotheses, strict=True):
                found[row] = best
            bar.update(len(rows))
    return found


def padded_batches(sources: Sequence[np.ndarray], max_tokens: int) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    """Sentences of similar lengths together: their rows, ids (batch, source length) with EOS, and lengths (batch,)."""
    for rows in length_batches(np.array([len(ids) + 1 for ids in sources], dtype=np.int64), max_tokens):
        lengths = torch.tensor([len(sources[row]) + 1 for row in rows])
        source = np.full((len(rows), int(lengths.max())), PAD, dtype=np.int64)
        for i, row in enumerate(rows):
            source[i, : lengths[i] - 1] = sources[row]
            source[i, lengths[i] - 1] = EOS
        yield rows, torch.from_numpy(source), lengths


def length_batches(lengths: np.ndarray, max_tokens: int) -> Iterator[np.ndarray]:
    """Cuts rows sorted by length, the longest first, into batches whose padded size is at most `max_tokens`.

    A batch too large for the memory, if any is, thus comes at once, and the bar's estimate only improves.
    """
    order = np.argsort(-lengths, kind="stable")
    while len(order):
        count = max(1, max_tokens // int(lengths[order[0]]))
        yield order[:count]
        order = order[count:]


def _greedy_search(
    model: Decodable, source: Tensor, source_lengths: Tensor, settings: Search
) -> list[list[Hypothesis]]:
    """The most probable token at each position."""
    caps = settings.caps(source_lengths)
    longest = int(caps.max())
    # of all sentences; all columns after a sentence's end stay EOS
    tokens = torch.full((len(source), longest + 1), EOS, device=source.device)
    log_probabilities = torch.zeros(len(source), device=source.device)
    # of the rows still in the batch
    sentences = torch.arange(len(source), device=source.device)
    done = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    previous = torch.full_like(sentences, BOS)
    state = model.encode(source, source_lengths)
    for position in range(longest + 1):
        logits, state, _ = model.step(previous, state)
        token_log_probabilities = logits.log_softmax(-1, torch.float32)
        previous = top(token_log_probabilities[:, EOS:], 1)[1][:, 0] + EOS
        previous = previous.masked_fill(done | (caps <= position), EOS)
        gained = token_log_probabilities.gather(1, previous[:, None])[:, 0]
        log_probabilities[sentences] += gained.masked_fill(done, 0)
        tokens[sentences, position] = previous
        done = previous == EOS
        idle = int(done.sum())
        if idle == len(done):
            break
        if idle >= PACK_SHARE * len(done):
            kept = (~done).nonzero()[:, 0]
            state = tree_map(lambda tensor: tensor.index_select(0, kept), state)  # noqa: B023
            sentences, previous, caps, done = sentences[kept], previous[kept], caps[kept], done[kept]
    hypotheses = []
    for ids, log_probability in zip(tokens.tolist(), log_probabilities.tolist(), strict=True):
        end = ids.index(EOS)
        score = log_probability / (end + 1) ** settings.length_penalty
        hypotheses.append([Hypothesis(ids[:end], score, log_probability)])
    return hypotheses


def _beam_search(model: Decodable, source: Tensor, source_lengths: Tensor, settings: Search) -> list[list[Hypothesis]]:
    """The best hypotheses of a beam.

    At each position all continuations of a sentence's live hypotheses compete, by probability, for its
    places: the beam's size less the hypotheses finished. One that ends is finished and keeps its place for
    good. A sentence is done with no place left, or when no live hypothesis can come to outrank the `n_best`
    finished ones: probabilities only fall, so a live one ends at best with its own of today divided by the
    longest length to the penalty.
    """
    batch, size, device = len(source), settings.beam_size, source.device
    caps = settings.caps(source_lengths)
    places = torch.full((batch, 1), size, device=device)
    ranking = torch.full((batch, settings.n_best), -torch.inf, device=device)
    finished: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    # log probabilities of the live hypotheses, the best first, then -inf: (batch, beam size)
    live = torch.full((batch, size), -torch.inf, device=device)
    live[:, 0] = 0
    layout = _Layout(live > -torch.inf)
    previous = torch.full((batch,), BOS, device=device)  # (rows,)
    prefixes = torch.empty(batch, 0, dtype=torch.long, device=device)  # (rows, position)
    state = model.encode(source, source_lengths)
    memories = _identities(state)
    for position in range(int(caps.max()) + 1):
        logits, state, _ = model.step(previous, state)
        token_log_probabilities = logits.log_softmax(-1, torch.float32)
        # how each hypothesis ends, and the best continuations of each, then of each sentence
        ends = live + layout.table(token_log_probabilities[:, EOS])
        best, words = top(token_log_probabilities[:, WORDS:], min(size, token_log_probabilities.shape[1] - WORDS))
        continuations = live[:, :, None] + layout.table(best)
        continuations.masked_fill_((caps <= position)[:, None, None], -torch.inf)
        live, chosen = continuations.flatten(1).topk(size)
        # the best of both kinds, as many as there are places
        threshold = torch.cat([live, ends], 1).topk(size).values.gather(1, (places - 1).clamp(min=0))
        does_end = (ends >= threshold) & (ends > -torch.inf)
        sentences, slots = does_end.nonzero(as_tuple=True)
        if len(sentences):
            scores = ends / (position + 1) ** settings.length_penalty
            finished.append((sentences, prefixes[layout.rows[sentences, slots]], scores[does_end], ends[does_end]))
            places = places - does_end.sum(1, keepdim=True)
            ranking = torch.cat([ranking, scores.masked_fill(~does_end, -torch.inf)], 1).topk(settings.n_best).values
        is_hopeless = live[:, :1] / (caps[:, None] + 1) ** settings.length_penalty <= ranking[:, -1:]
        live = live.masked_fill((live < threshold) | is_hopeless | (places < 1), -torch.inf)
        is_live = live > -torch.inf
        if not is_live.any():
            break
        # all that belongs to a hypothesis goes to its new row
        parents = layout.rows.gather(1, chosen // continuations.shape[2])
        tokens = words[parents, chosen % continuations.shape[2]] + WORDS
        packs = not layout.suits(is_live)
        if packs:
            layout = _Layout(is_live)
        origins = layout.flat(parents)
        previous = layout.flat(tokens)
        prefixes = torch.cat([prefixes[origins], previous[:, None]], 1)
        state, memories = _move(state, origins, memories, packs)
    return _best(finished, batch, settings.n_best)


class _Layout:
    """Which row of the model's batch belongs to which hypothesis of the tables (batch, beam size).

    Args:
        occupied: the places of the tables that get a row, sentence by sentence.
    """

    def __init__(self, occupied: Tensor) -> None:
        self.occupied = occupied
        self.sentences, self.slots = occupied.nonzero(as_tuple=True)
        self.rows = torch.zeros_like(occupied, dtype=torch.long)
        self.rows[self.sentences, self.slots] = torch.arange(len(self.slots), device=occupied.device)

    def table(self, values: Tensor) -> Tensor:
        """Values (rows, ...) at their places in a table (batch, beam size, ...), -inf in the others."""
        table = values.new_full((*self.occupied.shape, *values.shape[1:]), -torch.inf)
        table[self.sentences, self.slots] = values
        return table

    def flat(self, table: Tensor) -> Tensor:
        """What a table says of each row."""
        return table[self.sentences, self.slots]

    def suits(self, is_live: Tensor) -> bool:
        """Whether every live hypothesis has a row and few rows are idle."""
        if (is_live & ~self.occupied).any():
            return False
        return int(is_live.sum()) > (1 - PACK_SHARE) * len(self.slots)


def _identities(state: State) -> set[int]:
    """Of the tensors in a state."""
    found: set[int] = set()
    tree_map(lambda tensor: found.add(id(tensor)) or tensor, state)  # type: ignore[func-returns-value]
    return found


def _move(state: State, rows: Tensor, memories: set[int], packs: bool) -> tuple[State, set[int]]:
    """Takes the given rows of a state.

    Args:
        state: after a step.
        rows: the old row for each new one.
        memories: identities of the tensors that have never changed since `encode`. They are equal for all rows of a
            sentence, so they stay as they are unless the batch is packed.
        packs: whether rows change their sentences.

    Returns:
        The new state and the identities of its memories.
    """
    kept: set[int] = set()

    def move(tensor: Tensor) -> Tensor:
        is_memory = id(tensor) in memories
        if packs or not is_memory:
            tensor = tensor.index_select(0, rows)
        if is_memory:
            kept.add(id(tensor))
        return tensor

    return tree_map(move, state), kept


def _best(finished: list[tuple[Tensor, Tensor, Tensor, Tensor]], batch: int, n_best: int) -> list[list[Hypothesis]]:
    """Sorts the finished hypotheses by sentence and score.

    Args:
        finished: sentences, tokens (hypotheses, position), scores and log probabilities of what ended together.
        batch: sentences.
        n_best: hypotheses kept of each.
    """
    found: list[list[Hypothesis]] = [[] for _ in range(batch)]
    for together in finished:
        for sentence, tokens, score, log_probability in zip(*(t.tolist() for t in together), strict=True):
            found[sentence].append(Hypothesis(tokens, score, log_probability))
    return [sorted(hypotheses, key=lambda h: -h.score)[:n_best] for hypotheses in found]


def top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest `count` entries of each row, in descending order, and their columns, as `Tensor.topk`.

    On the CPU `topk` and `argmax` read a row an element at a time. Here the columns are first cut into
    groups, whose maxima take vector instructions; the largest entries are in the groups with the largest
    maxima. For 64 rows of 8,000 columns that is four times as fast.

    Args:
        values: (rows, columns).
        count: at most the columns.
    """
    columns = values.shape[1]
    width = columns // GROUP_SIZE
    if values.device.type != "cpu" or width < 2 * count:
        return values.topk(count)
    # a group is every width-th column, so that maxima are taken of whole stretches of a row at once
    grouped = values[:, : width * GROUP_SIZE].unflatten(1, (GROUP_SIZE, width))
    groups = grouped.amax(1).topk(count).indices
    members = torch.arange(0, width * GROUP_SIZE, width)
    candidates = (groups[:, None, :] + members[:, None]).flatten(1)
    rest = torch.arange(width * GROUP_SIZE, columns).expand(len(values), -1)
    candidates = torch.cat([candidates, rest], 1)
    largest, best = values.gather(1, candidates).topk(count)
    return largest, candidates.gather(1, best)
