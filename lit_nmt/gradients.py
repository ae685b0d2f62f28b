"""The verb `probe`: how strongly the last word of a translation depends on each word of its source.

The loss of that word's last subword is differentiated with respect to the embedding of every source word. Where a
network passes what it has read from step to step, the norm of this gradient falls, as a product of as many factors as
there are steps between the two (Bengio et al. 1994; Pascanu et al. 2013, arXiv:1211.5063, section 2): the shorter it
is, the less the word far back counts, and the less can be learned from it. It is measured of the weights that training
began with and of those it ended with.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from lit_nmt.data.batching import Batch, BatchPlan, collate
from lit_nmt.data.corpora import DATA
from lit_nmt.data.prepared import EncodedSplit, PreparedCorpus
from lit_nmt.data.subwords import Subwords
from lit_nmt.errors import UserError
from lit_nmt.files import replacing
from lit_nmt.models.loading import CHECKPOINT, load_initial_model, load_model
from lit_nmt.models.translation import TranslationModule
from lit_nmt.studies import PlannedRun, Probe, Study, load_study

MAX_TOKENS = 2048
"""Of a batch, padding counted."""


def probe(study: str) -> None:
    """Measures how far back gradients reach in a study's trained models, and reached before training.

    Writes gradients.parquet to runs/probe/STUDY: of each run, before and after training, the norm for each source
    word of the sentences that the study's key `probe` asks for.

    Args:
        study: the name of a study in experiments/studies, or the path of a study YAML.

    Raises:
        UserError: the study has no key `probe`, none of its runs is trained, or no sentence is of the length wanted.
    """
    parts = [part for part in load_study(study).parts if part.probe]
    if not parts:
        raise UserError(f"{study}: no key `probe` in this study; add one that says on what to measure gradients")
    for part in parts:
        _probe(part)


def _probe(study: Study) -> None:
    assert study.probe is not None
    torch.set_num_threads(study.threads)
    runs = [run for run in study.probed_runs if (run.folder / CHECKPOINT).is_file()]
    if not runs:
        raise UserError(f"{study.path}: probe: no run on {study.probe_corpus} is trained yet; run `lit-nmt fit` first")
    corpus = PreparedCorpus.open(DATA / study.probe_corpus)
    for run in runs:
        corpus.check_subwords(run.folder)
    split = corpus.split(study.probe_test_set)
    rows = choose_sentences(split, study.probe, f"{study.path}: probe")
    wordlike = wordlike_ids(corpus.subwords)
    bar = tqdm(runs, desc="probe", unit=" runs", disable=not sys.stderr.isatty())
    frames = [_of_run(run, split, rows, wordlike) for run in bar]
    path = study.probe_folder / "gradients.parquet"
    with replacing(path) as beside:
        pd.concat(frames, ignore_index=True).to_parquet(beside, index=False, compression="zstd")
    print(f"{path}: {len(runs)} runs, {len(rows)} sentences")


def choose_sentences(split: EncodedSplit, settings: Probe, place: str) -> np.ndarray:
    """Rows of a split, spread evenly over those of the wanted length.

    Args:
        split: of a prepared corpus.
        settings: how many, and of how many source words.
        place: what to call the place in an error.

    Raises:
        UserError: there is none.
    """
    words = np.asarray(split.source_words)
    low, high = settings.words or (1, int(words.max(initial=1)))
    rows = np.flatnonzero((words >= low) & (words <= high) & (split.source.lengths > 0) & (split.target.lengths > 0))
    if not len(rows):
        raise UserError(f"{place}: no sentence of {low} to {high} words in {split.name}; change probe.words")
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), settings.sentences)).round().astype(int)]


def wordlike_ids(subwords: Subwords) -> Tensor:
    """Which subwords have a letter or a digit, or are a byte of a character without a piece: (vocabulary,)."""
    pieces = subwords.pieces(list(range(subwords.vocabulary_size)))
    return torch.tensor([any(character.isalnum() for character in piece) for piece in pieces])


def _of_run(run: PlannedRun, split: EncodedSplit, rows: np.ndarray, wordlike: Tensor) -> pd.DataFrame:
    frames = []
    for training, model in (("before", load_initial_model(run.folder)), ("after", load_model(run.folder))):
        measured = measure(model, split, rows, wordlike)
        frames.append(measured.assign(corpus=run.corpus, model=run.model, seed=run.seed, training=training))
    columns = ["corpus", "model", "seed", "training", "id", "distance", "log_norm"]
    return pd.concat(frames, ignore_index=True)[columns].astype({"corpus": "str", "model": "str", "training": "str"})


def measure(model: TranslationModule, split: EncodedSplit, rows: np.ndarray, wordlike: Tensor) -> pd.DataFrame:
    """The gradients of sentences: columns id (row of the split), distance (subwords) and log_norm, natural.

    A norm of 0, which has no logarithm, has no row.

    Args:
        model: whose gradients.
        split: of a prepared corpus.
        rows: the sentences.
        wordlike: as of `wordlike_ids`.
    """
    model = model.double().eval()
    frames = []
    plan = BatchPlan(split.source.lengths[rows] + 1, split.target.lengths[rows] + 1, MAX_TOKENS)
    for chosen in plan.in_order():
        batch = collate(split, rows[chosen])
        last = last_words(batch, wordlike)
        norms = source_gradients(model, batch, last).numpy()
        places = np.arange(norms.shape[1])
        distances = (batch.source_lengths + last).numpy()[:, None] - places
        sentence, place = np.nonzero(norms > 0)
        frames.append(
            pd.DataFrame(
                {
                    "id": batch.indices.numpy()[sentence].astype(np.int32),
                    "distance": distances[sentence, place].astype(np.int16),
                    "log_norm": np.log(norms[sentence, place]).astype(np.float32),
                }
            )
        )
    return pd.concat(frames, ignore_index=True).sort_values(["id", "distance"], ignore_index=True)


def last_words(batch: Batch, wordlike: Tensor) -> Tensor:
    """Where the last subword of each target stands that has a letter or a digit, else the last: (batch,).

    What ends nearly every sentence, a full stop and EOS, needs nothing of the source to be foretold.
    """
    places = torch.arange(batch.target.shape[1])
    said = places < batch.target_lengths[:, None] - 1
    last = torch.where(said & wordlike[batch.target], places, -1).amax(dim=1)
    return torch.where(last < 0, batch.target_lengths - 2, last)


def source_gradients(model: TranslationModule, batch: Batch, places: Tensor) -> Tensor:
    """Norms of the gradient of the loss of one target subword with respect to the embedding of each source word.

    Of a model nothing is asked but that it looks words up in `embedding`.

    Args:
        model: in evaluation mode, on the batch's device.
        batch: sentences of at least a word on each side.
        places: (batch,), of the target subword in each.

    Returns:
        (batch, source length); 0 on EOS and padding.
    """
    with own_embeddings(model, batch) as (source, added):
        logits = model(dataclasses.replace(batch, source=source))
    sentences = torch.arange(len(logits))
    loss = torch.nn.functional.cross_entropy(
        logits[sentences, places], batch.target[sentences, places], reduction="sum"
    )
    (gradient,) = torch.autograd.grad(loss, added)
    return gradient.norm(dim=-1).view(batch.source.shape)


@contextmanager
def own_embeddings(model: TranslationModule, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
    """Gives each source word an embedding of its own, equal to that of its type, to be differentiated.

    Within the block ids from the vocabulary's size on are places in the batch's source: looked up, they give what
    stands there, plus a row of zeros. Hence a model may read words in any order, packed or one by one.

    Yields:
        The source with such ids for its words (EOS and padding stay as they are), and the zeros (places, dim).
    """
    size, known = model.vocabulary_size, batch.source.flatten()
    added = torch.zeros(len(known), model.embedding.embedding_dim, dtype=model.output_bias.dtype, requires_grad=True)
    places = torch.arange(len(known)).view_as(batch.source)
    words = torch.arange(batch.source.shape[1]) < batch.source_lengths[:, None] - 1
    look_up = model.embedding.forward

    def forward(ids: Tensor) -> Tensor:
        own = ids >= size
        place = torch.where(own, ids - size, 0)
        return look_up(torch.where(own, known[place], ids)) + added[place] * own[..., None]

    model.embedding.forward = forward  # type: ignore[method-assign]
    try:
        yield torch.where(words, size + places, batch.source), added
    finally:
        del model.embedding.forward
