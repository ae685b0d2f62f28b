"""Subword units that both languages share, by SentencePiece (Kudo and Richardson 2018, arXiv:1808.06226)."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import sentencepiece

from lit_nmt.data.corpora import SubwordsConfig
from lit_nmt.errors import UserError
from lit_nmt.files import replacing

PAD = 0
UNKNOWN = 1
BOS = 2
EOS = 3

# Expectations are summed per thread, so the pieces depend on how many there are: a fixed number everywhere.
_TRAINING_THREADS = 2
_LONGEST_SENTENCE_BYTES = 8192


class Subwords:
    """A trained subword model: text to ids and back. Ids come without BOS and EOS."""

    def __init__(self, model: bytes):
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    @classmethod
    def load(cls, path: Path) -> Subwords:
        """Reads a `subwords.model`.

        Raises:
            UserError: No such file, or not a subword model.
        """
        try:
            return cls(Path(path).read_bytes())
        except FileNotFoundError:
            raise UserError(f"{path}: no subword model here; run `lit-nmt prepare` on the corpus") from None
        except RuntimeError:
            raise UserError(f"{path}: not a SentencePiece model; run `lit-nmt prepare --force`") from None

    @property
    def vocabulary_size(self) -> int:
        """Ids are below this number."""
        return int(self._processor.get_piece_size())

    def encode(self, sentences: list[str]) -> list[list[int]]:
        """The ids of each sentence, most probable segmentation; no text is lost to UNKNOWN."""
        threads = min(4, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else 1
        encoded: list[list[int]] = self._processor.encode(sentences, num_threads=threads)
        return encoded

    def decode(self, ids: list[list[int]]) -> list[str]:
        """The text of each row of ids; a model may spell any byte, so a line feed becomes a space."""
        rows = [[int(token) for token in row if token > EOS] for row in ids]
        return [text.replace("\n", " ") for text in self._processor.decode(rows)]

    def pieces(self, ids: list[int]) -> list[str]:
        """The piece of each id, as printed beside an attention map."""
        return [self._processor.id_to_piece(int(token)) for token in ids]


def train_subwords(sentences: Iterable[str], config: SubwordsConfig, path: Path) -> Subwords:
    """Trains a model on sentences of both languages and writes it to `path`; the same text, the same pieces.

    Raises:
        UserError: The text supports fewer pieces than asked for, or needs more.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_one_line_each(sentences),
            model_writer=model,
            vocab_size=config.vocabulary_size,
            model_type=config.algorithm,
            normalization_rule_name=config.normalization,
            character_coverage=config.character_coverage,
            byte_fallback=True,
            pad_id=PAD,
            unk_id=UNKNOWN,
            bos_id=BOS,
            eos_id=EOS,
            num_threads=_TRAINING_THREADS,
            max_sentence_length=_LONGEST_SENTENCE_BYTES,
            minloglevel=2,
        )
    except (RuntimeError, OSError, ValueError) as error:
        raise UserError(_explain(str(error), config)) from None
    with replacing(path) as beside:
        beside.write_bytes(model.getvalue())
    return Subwords(model.getvalue())


def _one_line_each(sentences: Iterable[str]) -> Iterator[str]:
    return (sentence.replace("\n", " ") for sentence in sentences)


def _explain(message: str, config: SubwordsConfig) -> str:
    place = f"subwords.vocabulary_size: {config.vocabulary_size}"
    if bound := re.search(r"value <= (\d+)", message):
        return f"{place} is more than the text supports; at most {bound[1]} expected"
    if bound := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return f"{place} is too small for the text's characters and 256 bytes; more than {bound[1]} expected"
    return f"{place}: SentencePiece could not be trained ({' '.join(message.split())}); check its text and settings"
