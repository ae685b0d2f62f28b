"""How many operations of a model wait for one another, and how many lie between two positions: counted, not derived.

Vaswani et al. 2017 compare architectures by two such numbers (section 4, Table 1), as functions of a sentence's
length: the sequential operations, and the longest of the shortest paths between any two positions. Both are found here
by running a model and watching every operation of it. Fused recurrences and fused attention are taken apart for that.
An operation is one call on whole tensors (a matrix product, a sum, an activation), as in the paper; a view of a tensor
is none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from lit_nmt.benchmark.flops import example_batch
from lit_nmt.benchmark.settings import OPERATIONS
from lit_nmt.models.loading import make_model
from lit_nmt.models.translation import TranslationModule

LENGTHS = (4, 8, 16)
"""Subwords of source and target, EOS counted."""
VOCABULARY = 64
"""Joint subwords of a model whose operations are counted; their number does not depend on it."""

Side = Literal["source", "target"]


class Distances(TorchDispatchMode):
    """Counts, for every number that is computed within the block, the operations between it and the marked numbers.

    What a result depends on is tried out: arguments within some distance are replaced by others, and the results that
    then differ depend on them. So nothing need be known of any operation, and a mask counts as what it is.

    Args:
        longest: count along the longest chain of operations instead of the shortest.
    """

    def __init__(self, longest: bool = False) -> None:
        super().__init__()
        # The longest chain is the shortest one in negative steps.
        self.step = -1.0 if longest else 1.0
        self._found: dict[StorageWeakRef, Tensor] = {}
        self._random = torch.Generator().manual_seed(1)

    def mark(self, tensor: Tensor, where: Tensor, distance: float = 0.0) -> None:
        """Sets the distance of some numbers of a tensor; `where` is True at them."""
        self._keep(tensor, torch.where(where, self.step * distance, torch.inf).expand_as(tensor))

    def of(self, tensor: Tensor) -> Tensor:
        """The operations up to each number of a tensor, infinite where it does not depend on the marked ones."""
        known = self._known(tensor)
        return torch.full(tensor.shape, torch.inf) if known is None else torch.where(known.isinf(), known, known.abs())

    def longest(self, tensor: Tensor) -> float:
        """The most operations up to any number of a tensor that depends on the marked ones."""
        found = self.of(tensor)
        return float(found[found.isfinite()].max())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        arguments, structure = tree_flatten((args, kwargs or {}))
        known = {place: at for place, a in enumerate(arguments) if (at := self._known(a)) is not None}
        reached = [at[at.isfinite()] for at in known.values()]
        # a view shares its numbers, and so their distances; what is not initialised depends on nothing
        if not sum(map(len, reached)) or func.is_view or "empty" in func.__name__:
            return func(*args, **kwargs or {})
        others = {place: self._others(arguments[place]) for place in known}

        def outcome(distance: float) -> list[Tensor]:
            """The results where numbers up to `distance` are others."""
            tried = [a.clone() if func._schema.is_mutable and isinstance(a, Tensor) else a for a in arguments]
            for place, at in known.items():
                tried[place] = torch.where(at <= distance, others[place], arguments[place])
            positional, named = tree_unflatten(tried, structure)
            return _numbers(func(*positional, **named))

        usual = outcome(-torch.inf)
        distances = [torch.full(result.shape, torch.inf) for result in usual]
        # from far to near: what a nearer number changes, all farther ones together change, too
        for distance in reversed(torch.cat(reached).unique().tolist()):
            for at, before, after in zip(distances, usual, outcome(distance), strict=True):
                at.masked_fill_(before != after, distance + self.step)
        results = func(*args, **kwargs or {})
        for result, at in zip(_numbers(results), distances, strict=True):
            self._keep(result, at)
        return results

    def _others(self, tensor: Tensor) -> Tensor:
        return 3 * torch.randn(tensor.shape, generator=self._random, dtype=tensor.dtype)

    def _known(self, tensor: Any) -> Tensor | None:
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            return None
        found = self._found.get(StorageWeakRef(tensor.untyped_storage()))
        return None if found is None else found.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    def _keep(self, tensor: Tensor, distances: Tensor) -> None:
        storage = tensor.untyped_storage()
        size = storage.nbytes() // tensor.element_size()
        found = self._found.setdefault(StorageWeakRef(storage), torch.full((size,), torch.inf))
        found.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()).copy_(distances)


def _numbers(results: Any) -> list[Tensor]:
    return [r for r in tree_flatten(results)[0] if isinstance(r, Tensor) and r.is_floating_point()]


@contextmanager
def watched(
    model: TranslationModule, distances: Distances, where: Callable[[Tensor], Tensor], after: Callable[[], float]
) -> Iterator[None]:
    """Runs the block with every operation counted from the embeddings of words on.

    Args:
        model: in evaluation mode, on the CPU.
        distances: gets the counts.
        where: from ids to True at the words that are marked.
        after: the operations that came before an embedding that is looked up now.
    """

    def mark(_: nn.Module, arguments: tuple[Tensor], embedded: Tensor) -> None:
        distances.mark(embedded, where(arguments[0])[..., None], after())

    handle = model.embedding.register_forward_hook(mark)
    fused, *_ = torch.backends.mkldnn.set_flags(_enabled=False, _fp32_precision=None)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), distances:
            yield
    finally:
        torch.backends.mkldnn.set_flags(_enabled=fused, _fp32_precision=None)
        handle.remove()


def sequential_operations(model: TranslationModule, length: int, decoding: bool = False) -> int:
    """The longest chain of operations, each of which waits for the one before, from words to logits.

    Args:
        model: on the CPU, made by `with_small_weights`.
        length: of source and target, EOS counted.
        decoding: the target's words come one after the other, each chosen (one more operation) from the logits of
            the step before; otherwise they are all known, as in training.
    """
    batch = example_batch(1, length, length, model.vocabulary_size)
    distances, last = Distances(longest=True), 0.0
    with watched(model, distances, lambda ids: torch.ones_like(ids, dtype=torch.bool), lambda: last):
        if not decoding:
            return int(distances.longest(model(batch)))
        state = model.encode(batch.source, batch.source_lengths)
        for previous in batch.previous.unbind(1):
            step = model.step(previous, state)
            state, last = step.state, distances.longest(step.logits) + 1
    return int(last) - 1


def path_lengths(model: TranslationModule, length: int, side: Side) -> Tensor:
    """The operations on the shortest way from each word to the logits of each position.

    Args:
        model: on the CPU, made by `with_small_weights`.
        length: of source and target, EOS counted.
        side: whose words: the source's, or those of the target that the decoder has read.

    Returns:
        (length - 1, length): from word i to target position j, infinite where there is no way. Target word i is read
        at position i + 1.
    """
    marked = model.vocabulary_size - 1
    words = torch.arange(length - 1)
    # a sentence for each word, which alone is the marked one there
    batch = example_batch(length - 1, length, length, marked)
    if side == "source":
        batch.source[words, words] = marked
    else:
        batch.previous[words, words + 1] = marked
    distances = Distances()
    with watched(model, distances, lambda ids: ids == marked, lambda: 0.0):
        return distances.of(model(batch)).amin(-1)


def count(model: TranslationModule, length: int) -> Iterator[tuple[str, int, int | None, float]]:
    """Each quantity's name, the length, the operations, and the share of pairs of positions without a path."""
    yield "sequential-training", length, sequential_operations(model, length), 0.0
    yield "sequential-decoding", length, sequential_operations(model, length, decoding=True), 0.0
    later = torch.ones(length - 1, length, dtype=torch.bool).triu(1)
    pairs: dict[Side, Tensor] = {"source": torch.ones_like(later), "target": later}
    for side, wanted in pairs.items():
        paths = path_lengths(model, length, side)[wanted]
        joined = paths[paths.isfinite()]
        longest = int(joined.max()) if len(joined) else None
        yield f"path-{side}-target", length, longest, round(1 - len(joined) / len(paths), 4)


def with_small_weights(model: TranslationModule) -> TranslationModule:
    """The model in evaluation mode with small weights in double precision, so that no influence is rounded away.

    A softmax all but decided, as of scores that are a hundred apart, would hide what its other arguments change.
    """
    model = model.double().eval()
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.1, 0.1)
    return model


def count_all(fragments: Mapping[str, dict[str, Any]], lengths: Sequence[int] = LENGTHS) -> list[dict[str, Any]]:
    """The rows of operations.csv; a model whose operations cannot be watched is told and left out.

    Args:
        fragments: LightningCLI fragments with `model`, by the models' names.
        lengths: of source and target, EOS counted.
    """
    rows = []
    for name, fragment in fragments.items():
        try:
            model = with_small_weights(make_model(fragment, VOCABULARY))
            counted = [(name, *quantity) for length in lengths for quantity in count(model, length)]
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            print(f"lit-nmt: operations of {name} not counted: {error}", file=sys.stderr)
        else:
            rows += [dict(zip(OPERATIONS, row, strict=True)) for row in counted]
    return rows
