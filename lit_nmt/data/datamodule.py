"""A prepared corpus as Lightning loads it."""

from __future__ import annotations

from functools import cached_property

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from lit_nmt.data.batching import Batch, BatchPlan, BatchStream, FromPosition, deal
from lit_nmt.data.corpora import CorpusConfig
from lit_nmt.data.prepare import prepare
from lit_nmt.data.prepared import EncodedSplit, PreparedCorpus
from lit_nmt.errors import UserError


class TranslationData(pl.LightningDataModule):
    """Training batches until a budget of target tokens is spent, and validation batches.

    A training is one pass over one stream of batches, which runs through as many shuffles of the corpus as the
    budget takes: what Lightning calls an epoch is the whole training, and its batches are counted before it starts.

    Args:
        corpus: where the text comes from; prepared at first use.
        max_tokens: padded tokens of a global batch, at most, on its longer side.
        target_tokens: the budget; target tokens to train on, EOS counted, padding not.
        validations: how often to validate, evenly spread; the last time at the end.
        seed: of the shuffling.
        workers: processes that collate batches ahead; 0 collates in the training process.

    Raises:
        UserError: a number below its least.
    """

    def __init__(
        self,
        corpus: CorpusConfig,
        max_tokens: int = 2048,
        target_tokens: int = 1_000_000,
        validations: int = 10,
        seed: int = 1,
        workers: int = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("max_tokens", max_tokens, 1),
            ("target_tokens", target_tokens, 1),
            ("validations", validations, 1),
            ("workers", workers, 0),
        ):
            if value < least:
                raise UserError(f"data.{name}: {value} found, at least {least} expected")
        self.config = corpus
        self.max_tokens = max_tokens
        self.target_tokens = target_tokens
        self.validations = validations
        self.seed = seed
        self.workers = workers
        self.trained_batches = 0

    @cached_property
    def corpus(self) -> PreparedCorpus:
        """The prepared corpus."""
        return prepare(self.config)

    @property
    def vocabulary_size(self) -> int:
        """Joint subwords, special ones included."""
        return self.corpus.vocabulary_size

    def prepare_data(self) -> None:
        """Prepares the corpus, on one process a machine."""
        prepare(self.config)

    @cached_property
    def plan(self) -> BatchPlan:
        """The batches of one pass over the training pairs."""
        return self._plan(self.corpus.split("train"), self.seed)

    @cached_property
    def training_batches(self) -> int:
        """Batches of the whole training."""
        return self.plan.batches_for(self.target_tokens, multiple_of=self.validations)

    def setup(self, stage: str) -> None:
        """Spreads the validations over the training."""
        if stage == "fit" and self.trainer is not None:
            self.trainer.val_check_interval = self.training_batches // self.validations

    def train_dataloader(self) -> DataLoader[Batch]:
        """The rest of the stream, from where a resumed training stopped."""
        assert self.trainer is not None
        stream = BatchStream(
            self.corpus.split("train"),
            self.plan,
            self.training_batches,
            self.trainer.global_rank,
            self.trainer.world_size,
        )
        return DataLoader(
            stream,
            batch_size=None,
            sampler=FromPosition(len(stream), self.trained_batches),
            num_workers=self.workers,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
            persistent_workers=False,
        )

    def state_dict(self) -> dict[str, int]:
        """How many batches have been trained on: not those that workers have made ahead."""
        assert self.trainer is not None
        return {"trained_batches": self.trainer.fit_loop.epoch_loop.batch_progress.current.ready}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Goes on from a checkpoint."""
        self.trained_batches = state_dict["trained_batches"]

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation pairs by length, each once over all ranks, in batches that are the same on any number."""
        assert self.trainer is not None
        split = self.corpus.split("validation")
        batches = deal(split, self._plan(split, 0).in_order(), self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    def _plan(self, split: EncodedSplit, seed: int) -> BatchPlan:
        return BatchPlan(split.source.lengths + 1, split.target.lengths + 1, self.max_tokens, seed)
