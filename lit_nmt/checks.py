"""What a study may say: what types alone do not tell, checked before anything runs, each with the key to mend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lit_nmt.code import arguments
from lit_nmt.configuration import describe, suggestion
from lit_nmt.errors import UserError

if TYPE_CHECKING:
    from lit_nmt.studies import Study

FRAGMENT = ("data", "model", "trainer", "average")
"""What a study may say of its trainings."""

DECODING = "greedy|beam[1-9][0-9]{0,2}"
"""The names of decodings, as a regular expression."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HIGHEST_SEED = 2**32 - 1  # of numpy's generators
_COUNTS = ("max_tokens", "target_tokens", "validations")


def check_study(study: Study) -> None:
    """What types alone do not tell, each with the key to mend.

    Raises:
        UserError: a value without a meaning, or a name that leads nowhere.
    """
    path = study.path
    if not _NAME.fullmatch(study.name):
        raise UserError(f'{path}: the file name "{study.name}" becomes a folder; use letters, digits, - _ . only')
    if not study.title.strip():
        raise UserError(f"{path}: title: nothing there; it is the report's heading")
    if study.includes:
        if study.corpora or study.models:
            raise UserError(f"{path}: includes other studies, so corpora and models belong into those")
        _check_distinct(study.includes, f"{path}: includes")
        return
    if study.not_judged:
        raise UserError(f"{path}: not_judged: belongs to a study that includes others")
    for key in ("corpora", "models", "decodings"):
        if not getattr(study, key):
            raise UserError(f"{path}: {key}: nothing there; at least one expected")
    for key in ("corpora", "models"):
        for name in getattr(study, key):
            if not _NAME.fullmatch(name):
                raise UserError(f'{path}: {key}: "{name}" becomes a folder; use letters, digits, - _ . only')
    for name in study.corpora:
        seeds = study.seeds_of(name)
        if not seeds and not study.bench:
            raise UserError(
                f"{path}: seeds: none for corpus {name}; add for example `seeds: [1, 2]`, or `bench` where models are "
                "only to be measured"
            )
        _check_distinct(seeds, f"{path}: seeds of {name}")
        for seed in seeds:
            if not 0 <= seed <= _HIGHEST_SEED:
                raise UserError(f"{path}: seeds of {name}: found {seed}, expected 0 or more, to {_HIGHEST_SEED}")
    for name, entry in study.models.items():
        if entry and entry.seeds is not None and not any(study.seeds_of(corpus, name) for corpus in study.corpora):
            raise UserError(f"{path}: seeds of {name}: {entry.seeds} found, none of which a corpus has")
    if study.threads < 1:
        raise UserError(f"{path}: threads: found {study.threads}, expected 1 or more")
    for key, amount in vars(study.cluster).items():
        if not amount > 0:
            raise UserError(f"{path}: cluster.{key}: found {amount:g}, expected more than 0")
    _check_distinct(study.decodings, f"{path}: decodings")
    _check_distinct(study.test_sets, f"{path}: test_sets")
    for decoding in study.decodings:
        if not re.fullmatch(DECODING, decoding):
            raise UserError(f'{path}: decodings: found "{decoding}", expected greedy or beam<width> as beam5')
    if study.primary.decoding not in study.decodings:
        raise UserError(
            f'{path}: primary.decoding: "{study.primary.decoding}" is not among the decodings'
            f" ({', '.join(study.decodings)})"
        )
    _check_bins(study.bins, f"{path}: bins")
    named = [("comparisons", model) for pair in study.comparisons for model in pair]
    named += [("primary.published", model) for model in study.primary.published]
    named += [("baseline", study.baseline)] if study.baseline else []
    named += [("tuning.trials", model) for model in study.tuning.trials] if study.tuning else []
    named += [("bench.models", model) for model in study.bench.models] if study.bench else []
    for key, model in named:
        if model not in study.models:
            raise UserError(f'{path}: {key}: no model "{model}" in this study{suggestion(model, study.models)}')
    for model, trials in (study.tuning.trials if study.tuning else {}).items():
        if not trials:
            raise UserError(f"{path}: tuning.trials.{model}: none there; add each trial with its validation BLEU")
    fragments = {
        "fit": study.fit,
        **{f"corpora.{name}.fit": corpus.fit for name, corpus in study.corpora.items() if corpus},
        **{f"models.{name}.fit": model.fit for name, model in study.models.items() if model},
    }
    for key, fragment in fragments.items():
        check_fragment(fragment, f"{path}: {key}.")
        if "corpus" in fragment.get("data", {}):
            raise UserError(
                f"{path}: {key}.data.corpus: does not belong here; the study's corpora stand under corpora"
            )
    if study.parameters_tolerance < 0:
        raise UserError(f"{path}: parameters_tolerance: found {study.parameters_tolerance}, expected 0 or more")
    if study.estimate_minutes is not None and study.estimate_minutes <= 0:
        raise UserError(f"{path}: estimate_minutes: found {study.estimate_minutes}, expected more than 0")
    if study.bench:
        corpus = study.bench_corpus
        if corpus not in study.corpora:
            raise UserError(
                f'{path}: bench.corpus: no corpus "{corpus}" in this study{suggestion(corpus, study.corpora)}'
            )
        replace(study.bench, corpus=corpus).check(f"{path}: bench.")
    _check_probe(study)
    if study.claims:
        from lit_nmt.claims import check_claims  # pandas takes its time, and only studies with claims need it

        check_claims(study)


def check_fragment(fragment: Mapping[str, Any], place: str, known: Sequence[str] = FRAGMENT) -> None:
    """A LightningCLI fragment, as far as it can be checked without Lightning.

    Args:
        fragment: some of a training's settings.
        place: what to put before a key, for messages.
        known: the keys that may stand at its top.

    Raises:
        UserError: an unknown key, or a value of another type.
    """
    for key, value in fragment.items():
        if key not in known:
            raise UserError(f"{place}{key}: unknown key{suggestion(str(key), list(known))}")
        if key in ("data", "model", "trainer") and not isinstance(value, dict):
            raise UserError(f"{place}{key}: found {describe(value)}, expected keys with values (`key: value`)")
    init_args = fragment.get("model", {}).get("init_args")
    if not isinstance(init_args, dict | None):
        raise UserError(f"{place}model.init_args: found {describe(init_args)}, expected keys with values")
    for name in _COUNTS:
        value = fragment.get("data", {}).get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{place}data.{name}: found {describe(value)}, expected a whole number, 1 or more")


def check_arguments(model: Mapping[str, Any], place: str) -> None:
    """The names of a model's init_args, as far as the file of its class tells them.

    Args:
        model: `class_path` and, maybe, `init_args`.
        place: where they stand, for messages.

    Raises:
        UserError: the class takes no argument of such a name.
    """
    known = arguments(model["class_path"])
    for key in model.get("init_args") or {}:
        if known is not None and key not in known:
            name, others = model["class_path"].rpartition(".")[2], sorted(known - {"vocabulary_size"})
            raise UserError(f"{place}: {name} takes no {key}{suggestion(str(key), others)}")


def _check_probe(study: Study) -> None:
    probe, place = study.probe, f"{study.path}: probe."
    if probe is None:
        return
    corpus = study.probe_corpus
    if corpus not in study.corpora:
        raise UserError(f'{place}corpus: no corpus "{corpus}" in this study{suggestion(corpus, study.corpora)}')
    if not study.seeds_of(corpus):
        raise UserError(f"{place}corpus: {corpus} has no seeds, so no trained model; add for example `seeds: [1]`")
    known = study.corpus_config(corpus).test_sets
    if not known:
        raise UserError(f"{place}corpus: {corpus} has no test set; add one to its splits")
    if probe.test_set is not None and probe.test_set not in known:
        raise UserError(
            f'{place}test_set: {corpus} has no test set "{probe.test_set}"{suggestion(probe.test_set, known)}'
        )
    if probe.sentences < 1:
        raise UserError(f"{place}sentences: found {probe.sentences}, expected 1 or more")
    if probe.words:
        _check_bins([probe.words], f"{place}words")


def _check_bins(bins: list[tuple[int, int]], place: str) -> None:
    for low, high in bins:
        if not 0 <= low <= high:
            raise UserError(f"{place}: found [{low}, {high}], expected [low, high] in words with low <= high")
    for (_, high), (low, _) in pairwise(bins):
        if low <= high:
            raise UserError(f"{place}: one ends at {high} and the next begins at {low}; expected them apart, in order")


def _check_distinct(values: Iterable[Any], place: str) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise UserError(f"{place}: {value} is given twice; keep one of them")
        seen.add(value)
