"""`lit-nmt translate`: trained runs translate the test sets of their corpus, or a person's own text."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

from lit_nmt.attention import forced_attention, over_words, spread_over_lengths
from lit_nmt.configuration import read_yaml
from lit_nmt.data.corpora import DATA, EXAMPLES
from lit_nmt.data.prepared import EncodedSplit, PreparedCorpus
from lit_nmt.decoding import Hypothesis, Search, parse_decoding, translate_ids
from lit_nmt.errors import UserError
from lit_nmt.files import file_digest, replacing, write_json
from lit_nmt.models.loading import CHECKPOINT, load_model
from lit_nmt.models.translation import TranslationModule

CHUNK_LINES = 2_000
"""Lines of a text translated together: enough to sort by length, few enough to see the first ones soon."""


def translate(
    runs: list[Path],
    test_sets: list[str] | None = None,
    decodings: list[str] | None = None,
    interactive: bool = False,
    n_best: int = 1,
    scores: bool = False,
    length_penalty: float = 1.0,
    device: str = "auto",
    threads: int | None = None,
    max_tokens: int = 2048,
    force: bool = False,
) -> None:
    """Translates the test sets of runs, or text from standard input by one run.

    With --test_sets, each run translates those of its corpus into RUN/translations/; what is there already, by
    the same weights and settings, is not done again. Otherwise, a run translates standard input, a sentence a
    line, to standard output; on a terminal it asks for sentences. Under torchrun, processes share the work on test
    sets, with the same results as one.

    Args:
        runs: folders of trained runs, as runs/<corpus>/<model>/seed<k>.
        test_sets: names of test sets of the corpus, or "all".
        decodings: greedy, beam5 or a beam of another size; by default greedy and beam5 for test sets, beam5 for
            text.
        interactive: ask for a sentence at a time.
        n_best: for text, print so many translations of each line: its number, score and translation, with tabs
            between.
        scores: for text, print each translation's score and a tab before it.
        length_penalty: exponent of the length that divides a log probability; 0 prefers short translations.
        device: "cpu", "cuda", "cuda:1", or "auto" for the GPU where there is one, each process its own.
        threads: of the CPU; by default those of the run's training.
        max_tokens: source tokens translated together, at most; with less, less memory.
        force: translate test sets again.

    Raises:
        UserError: a folder is no trained run, its corpus is not prepared or has no such test set, or the options
            do not fit each other.
    """
    settings = {
        name: dataclasses.replace(parse_decoding(name), length_penalty=length_penalty)
        for name in decodings or (["greedy", "beam5"] if test_sets else ["beam5"])
    }
    if test_sets and (interactive or scores or n_best > 1):
        raise UserError("--test_sets: cannot go with --interactive, --n_best or --scores, which are for text")
    if not test_sets and len(runs) > 1:
        raise UserError(f"{len(runs)} runs: text is translated by one run; expected one, or --test_sets")
    if not test_sets and len(settings) > 1:
        raise UserError(f"--decodings: {' '.join(settings)} found; expected one for text, or --test_sets")
    if max_tokens < 1 or (threads is not None and threads < 1):
        raise UserError("--max_tokens and --threads: expected 1 or more")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        if not test_sets:
            raise UserError("torchrun: text is translated by one process; expected --test_sets")
        distributed.init_process_group("gloo")
    corpora = [_corpus_of(run) for run in runs]  # a mistake in the last shows before the first is translated
    wanted = [_test_sets_of(corpus, test_sets or []) for corpus in corpora]
    for run, corpus, names in zip(runs, corpora, wanted, strict=True):
        if test_sets:
            translate_test_sets(
                run,
                corpus,
                names,
                settings,
                device=device,
                threads=threads,
                max_tokens=max_tokens,
                force=force,
            )
            continue
        (search,) = settings.values()
        search = dataclasses.replace(search, n_best=n_best)
        translator = Translator(run, corpus, device, threads, max_tokens)
        if interactive or sys.stdin.isatty():
            print_translations(translator, ask(), search, n_best > 1, scores, chunk_lines=1)
        else:
            print_translations(translator, read_lines(), search, n_best > 1, scores)


def ranks() -> tuple[int, int]:
    """The rank of this process, and how many processes translate together."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


class Translator:
    """A trained run with its subwords: text in, text out.

    Args:
        run: a run folder.
        corpus: the prepared corpus it was trained on.
        device: "auto" for the GPU where there is one.
        threads: of the CPU; None for those of the run's training.
        max_tokens: source tokens of a batch, at most.
    """

    def __init__(
        self,
        run: Path,
        corpus: PreparedCorpus,
        device: str = "auto",
        threads: int | None = None,
        max_tokens: int = 2048,
    ) -> None:
        if device == "auto":
            device = f"cuda:{distributed.get_node_local_rank(0)}" if torch.cuda.is_available() else "cpu"
        config = run / "config.yaml"
        threads = threads or read_yaml(config).get("threads", 1)
        if not isinstance(threads, int) or threads < 1:
            raise UserError(f"{config}: threads: found {threads!r}, expected a whole number, 1 or more")
        torch.set_num_threads(threads)
        try:
            self.device = torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"--device: {device!r} cannot be used ({str(error).splitlines()[0]})") from None
        self.subwords = corpus.subwords  # first, as a damaged file is another thing than another model
        corpus.check_subwords(run)
        self.model: TranslationModule = load_model(run, self.device)
        if self.model.vocabulary_size != corpus.vocabulary_size:
            raise UserError(
                f"{run}: trained with {self.model.vocabulary_size:,} subwords, but {corpus.folder} has "
                f"{corpus.vocabulary_size:,}: it was prepared anew; train again, or prepare it as it was"
            )
        self.run = run
        self.max_tokens = max_tokens

    def translate_ids(
        self, sources: Sequence[np.ndarray], search: Search, description: str = ""
    ) -> list[list[Hypothesis]]:
        """Translates encoded sentences, together with other ranks; with a progress bar where there is a description.

        Raises:
            UserError: the model's logits are not finite.
        """
        rank, world_size = ranks()
        found = translate_ids(
            self.model,
            sources,
            search,
            max_tokens=self.max_tokens,
            device=self.device,
            description="" if rank else description,
            rank=rank,
            world_size=world_size,
        )
        if world_size > 1:
            parts: list[list[list[Hypothesis]]] = [[] for _ in range(world_size)]
            distributed.all_gather_object(parts, found)
            found = [max(of_ranks, key=len) for of_ranks in zip(*parts, strict=True)]
        if not all(best and math.isfinite(best[0].score) for best in found):
            raise UserError(
                f"{self.run}: the model's probabilities are no numbers: its training diverged; train again"
            )
        return found

    def translate(self, sentences: Sequence[str], search: Search) -> list[list[tuple[str, Hypothesis]]]:
        """Translates sentences into `n_best` texts each, the best first; a blank one stays blank."""
        full = [row for row, sentence in enumerate(sentences) if sentence.strip()]
        encoded = self.subwords.encode([sentences[row] for row in full])
        found = self.translate_ids([np.array(ids, dtype=np.int64) for ids in encoded], search)
        translations = [[("", Hypothesis([], 0.0, 0.0))] for _ in sentences]
        for row, hypotheses in zip(full, found, strict=True):
            texts = self.subwords.decode([hypothesis.tokens for hypothesis in hypotheses])
            translations[row] = list(zip(texts, hypotheses, strict=True))
        return translations


def translate_test_sets(
    run: Path,
    corpus: PreparedCorpus,
    test_sets: Sequence[str],
    settings: dict[str, Search],
    *,
    device: str = "auto",
    threads: int | None = None,
    max_tokens: int = 2048,
    force: bool = False,
) -> None:
    """Writes `translations/<test set>.<decoding>.jsonl` of a run, and beside it a `.json` of how it was made.

    A line each sentence, in the corpus's order: id, source, reference, hypothesis, score, source_words. Of some
    sentences, of all lengths, the attention stands in `<test set>.<decoding>.attention.jsonl`, a line each: id,
    source, target (words) and weights, see `over_words`; the file is empty where a model has none. The `.json` is
    written last, and only what it vouches for (weights, settings and corpus) is taken as done.

    Args:
        run: a run folder.
        corpus: the prepared corpus it was trained on.
        test_sets: of that corpus.
        settings: by decoding's name.
        device: see `Translator`.
        threads: see `Translator`.
        max_tokens: see `Translator`.
        force: translate again what is done.
    """
    checkpoint = run / CHECKPOINT
    if not checkpoint.is_file():
        raise UserError(f"{checkpoint}: not found: {run} is not trained yet; run lit-nmt fit first")
    identity = {"digest": file_digest(checkpoint), "corpus": corpus.manifest["digest"]}
    translator = None
    rank, world_size = ranks()
    for test_set in test_sets:
        for decoding, search in settings.items():
            path = run / "translations" / f"{test_set}.{decoding}.jsonl"
            attention = path.with_suffix(".attention.jsonl")
            made = {**identity, "settings": dataclasses.asdict(search)}
            is_there = path.is_file() and attention.is_file()
            if is_there and not force and _vouches(path.with_suffix(".json"), made):
                if not rank:
                    print(f"{path}: there already")
                continue
            translator = translator or Translator(run, corpus, device, threads, max_tokens)
            split = corpus.split(test_set)
            sources = [split.source[row] for row in range(len(split))]
            started = time.perf_counter()
            found = translator.translate_ids(sources, search, f"{test_set} {decoding}")
            seconds = time.perf_counter() - started
            if not rank:
                best = [hypotheses[0] for hypotheses in found]
                _write_translations(path, corpus, test_set, best)
                _write_attention(attention, translator, split, best)
                write_json(
                    path.with_suffix(".json"),
                    {
                        **made,
                        "sentences": len(found),
                        "seconds": seconds,
                        "sentences_per_second": len(found) / seconds,
                        "device": translator.device.type,
                        "processes": world_size,
                        "threads": torch.get_num_threads(),
                        "precision": "32-true",
                        "max_tokens": max_tokens,
                        "cut": translator.model.count_cut(split),
                    },
                )
                print(f"{path}: {len(found):,} sentences, {len(found) / seconds:.0f} a second", flush=True)
            if world_size > 1:
                distributed.barrier()  # no rank looks for a file that is not written yet


def print_translations(
    translator: Translator,
    sentences: Iterable[str],
    search: Search,
    numbered: bool,
    with_scores: bool,
    chunk_lines: int = CHUNK_LINES,
) -> None:
    """Prints translations of sentences, which may come without end, to standard output, and nothing else."""
    sentences = iter(sentences)
    number = 0
    while chunk := list(islice(sentences, chunk_lines)):
        lines = []
        for translations in translator.translate(chunk, search):
            number += 1
            for text, hypothesis in translations:
                columns = [str(number)] * numbered + [f"{hypothesis.score:.4f}"] * (numbered or with_scores) + [text]
                lines.append("\t".join(columns) + "\n")
        sys.stdout.buffer.write("".join(lines).encode("utf-8"))
        sys.stdout.buffer.flush()


def read_lines() -> Iterator[str]:
    """The lines of standard input, which only a line feed ends.

    Raises:
        UserError: bytes that are not UTF-8.
    """
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(
                f"standard input, line {number}: byte {error.start + 1} is not UTF-8; convert the text to UTF-8"
            ) from None


def ask() -> Iterator[str]:
    """Sentences typed at a prompt, until end of file."""
    if sys.stdin.isatty():
        print("A sentence a line; Ctrl-D ends.", file=sys.stderr)
        import readline  # noqa: F401  (arrow keys and history in `input`)
    while True:
        try:
            yield input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return


def _corpus_of(run: Path) -> PreparedCorpus:
    config = run / "config.yaml"
    if not config.is_file():
        raise UserError(f"{run}: not a run (no config.yaml); expected a folder as runs/<corpus>/<model>/seed<k>")
    try:
        name = str(read_yaml(config)["data"]["corpus"]["name"])
    except (KeyError, TypeError):
        raise UserError(f"{config}: data.corpus.name: not found; expected the configuration of a run") from None
    return PreparedCorpus.open(DATA / name)


def _test_sets_of(corpus: PreparedCorpus, names: Sequence[str]) -> list[str]:
    """The test sets asked for, and the sentences that a report may always show, where the corpus has some."""
    for name in names:
        if name not in ("all", *corpus.test_sets):
            raise UserError(
                f"--test_sets: {corpus.name} has no test set {name!r}; expected all, {', '.join(corpus.test_sets)}"
            )
    asked = corpus.test_sets if "all" in names else names
    return list(dict.fromkeys([*asked, *(name for name in corpus.manifest["splits"] if name == EXAMPLES)]))


def _vouches(record: Path, made: dict[str, Any]) -> bool:
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
        return all(before[key] == value for key, value in made.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write_translations(path: Path, corpus: PreparedCorpus, test_set: str, best: Sequence[Hypothesis]) -> None:
    sources, references = corpus.text(test_set)
    hypotheses = corpus.subwords.decode([hypothesis.tokens for hypothesis in best])
    words = corpus.split(test_set).source_words
    with replacing(path) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        for row, hypothesis in enumerate(best):
            line = {
                "id": row,
                "source": sources[row],
                "reference": references[row],
                "hypothesis": hypotheses[row],
                "score": hypothesis.score,
                "source_words": int(words[row]),
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _write_attention(path: Path, translator: Translator, split: EncodedSplit, best: Sequence[Hypothesis]) -> None:
    rows = spread_over_lengths(split.source_words)
    sources, targets = [split.source[row] for row in rows], [best[row].tokens for row in rows]
    found = forced_attention(
        translator.model, sources, targets, max_tokens=translator.max_tokens, device=translator.device
    )
    with replacing(path) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        for row, source, target, weights in zip(rows, sources, targets, found or [], strict=False):
            line = {"id": row, **over_words(weights, source.tolist(), target, translator.subwords)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
