"""What a study compares: corpora x models x seeds, read from `experiments/studies/*.yaml` into planned runs.

A run is its resolved configuration: it lies in `runs/<corpus>/<model>-<digest>/seed<k>/`, where the digest is
of everything that decides the result but the seed and where files lie. So studies that agree share a run, and
no study overwrites another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from lit_nmt.benchmark.settings import Settings
from lit_nmt.checks import FRAGMENT, check_arguments, check_fragment, check_study
from lit_nmt.configuration import StrictDumper, build, describe, merge, read_yaml, suggestion
from lit_nmt.data.corpora import DATA, POOLED, CorpusConfig, load_corpus_config
from lit_nmt.errors import UserError
from lit_nmt.files import digest, write_text

STUDIES = Path("experiments/studies")
MODELS = Path("experiments/models")
RUNS = Path("runs")
REPORTS = Path("reports")


@dataclass
class CorpusEntry:
    """A corpus of a study.

    Attributes:
        base: The corpus YAML, default the entry's name.
        overrides: What differs from it, as `{filters: {max_words: 30}}`; the entry's name is the variant's.
        fit: A LightningCLI fragment for all models on this corpus, merged after the study's: a budget of its own.
        seeds: The seeds to train with on this corpus, default the study's.
    """

    base: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] | None = None


@dataclass
class ModelEntry:
    """A model of a study.

    Attributes:
        base: The model YAML, default the entry's name.
        init_args: What differs from it.
        fit: A LightningCLI fragment for this model alone, merged after the corpus's.
        seeds: Those of a corpus's seeds to train this model with, default all: one for a first look at a variant.
    """

    base: str | None = None
    init_args: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] | None = None


@dataclass
class Primary:
    """The score that the report's main table shows.

    Attributes:
        test_set: A test set of the corpora, or `pooled`.
        decoding: Of the study's.
        case: Cased or lower-cased.
        lengths: The test set whose length bins are drawn and judged, default the same: one with equally many sentences
            of every length shows the long ones better, but its score as a whole is no corpus score.
        published: What papers report of models on this score, as {transformer: 41.0}, to be told beside it.
    """

    test_set: str = POOLED
    decoding: str = "beam5"
    case: Literal["mixed", "lc"] = "mixed"
    lengths: str = ""
    published: dict[str, float] = field(default_factory=dict)

    @property
    def length_set(self) -> str:
        """The test set whose length bins are drawn and judged."""
        return self.lengths or self.test_set


@dataclass(frozen=True)
class Bench(Settings):
    """What `lit-nmt bench` measures for a study.

    Attributes:
        models: Default all models of the study.
    """

    models: list[str] = field(default_factory=list)


@dataclass
class Probe:
    """On what `lit-nmt probe` measures how far back gradients reach.

    Attributes:
        corpus: Whose runs; default the study's first.
        test_set: Whose sentences; default the corpus's first.
        sentences: At most so many.
        words: `[low, high]`, the source words of a sentence; default any.
    """

    corpus: str | None = None
    test_set: str | None = None
    sentences: int = 100
    words: tuple[int, int] | None = None


@dataclass
class Tuning:
    """How the models' settings were found, told so that a reader can see the same effort for each.

    Attributes:
        note: What was tried, on what, with which budget.
        trials: By model, the validation BLEU of each trial under its name, as `learning rate 2e-3`; nothing where
            settings were taken over without any.
    """

    note: str
    trials: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass
class Cluster:
    """What a training asks of a cluster, besides threads, devices and machines.

    Attributes:
        memory_gib: Of each machine.
        hours: It may take, at most.
    """

    memory_gib: float = 8
    hours: float = 24


@dataclass(frozen=True)
class PlannedRun:
    """One training: a model on a corpus with a seed.

    Attributes:
        corpus: Its name in the study.
        model: Its name in the study.
        seed: Of initialisation, order and dropout.
        folder: Where everything of the run lies, relative to the working directory.
        config: The resolved LightningCLI configuration.
        test_sets: What the trained model translates.
        cluster: What it asks for where a cluster runs it.
    """

    corpus: str
    model: str
    seed: int
    folder: Path
    config: dict[str, Any]
    test_sets: list[str]
    cluster: Cluster

    @property
    def config_file(self) -> Path:
        """What `lit-nmt fit --config` reads; `write_plan` writes it."""
        return self.folder / "fit.yaml"

    @property
    def threads(self) -> int:
        """CPU threads of each of its processes."""
        return self.config["threads"]

    @property
    def devices(self) -> int:
        """On how many devices of a machine it trains, a process each."""
        return self.config["trainer"].get("devices", 1)

    @property
    def nodes(self) -> int:
        """On how many machines."""
        return self.config["trainer"].get("num_nodes", 1)

    @property
    def accelerator(self) -> str:
        """What it trains on: cpu, gpu, or auto for GPUs where there are some."""
        return str(self.config["trainer"].get("accelerator", "auto"))


@dataclass
class Study:
    """A study as its YAML describes it, checked.

    Attributes:
        title: As the report's heading.
        question: A paragraph for the report.
        includes: Names of other studies; a study that includes others has nothing of its own.
        not_judged: Claims that none of the included studies judges yet, a sentence each.
        corpora: By name.
        models: By name.
        seeds: Of every run, where a corpus does not name its own; none where models are only measured.
        threads: CPU threads a run; as many runs as fit go on side by side.
        cluster: What a run asks of a cluster.
        fit: A LightningCLI fragment merged over corpus and model.
        test_sets: Default all of each corpus.
        pooled: Whether the test sets are also scored as one, `pooled`.
        decodings: `greedy` and `beam<k>`.
        bins: `[low, high]` in whitespace-separated source words.
        baseline: The model that others are compared with.
        comparisons: Pairs of models for paired tests.
        primary: The score of the main table.
        tuning: How the models' settings were found; disclosed in the report.
        parameters_tolerance: How far the models' parameter counts may lie apart, as a share of the smallest.
        claims: By claim: its criterion, the smallest effect of interest, and what else the claim reads.
        bench: What is measured for throughput; nothing where absent.
        probe: On what gradients are measured over distance; nothing where absent.
        estimate_minutes: Of the whole study on two CPU cores, for a plan before anything was measured.
    """

    title: str
    question: str = ""
    includes: list[str] = field(default_factory=list)
    not_judged: list[str] = field(default_factory=list)
    corpora: dict[str, CorpusEntry | None] = field(default_factory=dict)
    models: dict[str, ModelEntry | None] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)
    threads: int = 1
    cluster: Cluster = field(default_factory=Cluster)
    fit: dict[str, Any] = field(default_factory=dict)
    test_sets: list[str] = field(default_factory=list)
    pooled: bool = False
    decodings: list[str] = field(default_factory=lambda: ["greedy", "beam5"])
    bins: list[tuple[int, int]] = field(default_factory=list)
    baseline: str | None = None
    comparisons: list[tuple[str, str]] = field(default_factory=list)
    primary: Primary = field(default_factory=Primary)
    tuning: Tuning | None = None
    parameters_tolerance: float = 0.05
    claims: dict[str, dict[str, Any]] = field(default_factory=dict)
    bench: Bench | None = None
    probe: Probe | None = None
    estimate_minutes: float | None = None
    path: Path = field(init=False, default=Path())

    @property
    def name(self) -> str:
        """The YAML's name without ending; the report's folder."""
        return self.path.stem

    @property
    def report_folder(self) -> Path:
        """`reports/<study>`."""
        return REPORTS / self.name

    @property
    def results_folder(self) -> Path:
        """Where the tables lie from which the report is drawn: `reports/<study>/results`."""
        return self.report_folder / "results"

    @property
    def bench_folder(self) -> Path:
        """Where throughput is measured into: `runs/bench/<study>`."""
        return RUNS / "bench" / self.name

    @property
    def bench_corpus(self) -> str:
        """The corpus on which throughput is measured."""
        return (self.bench and self.bench.corpus) or next(iter(self.corpora))

    @property
    def bench_threads(self) -> int:
        """The most CPU threads with which throughput is measured."""
        return max((self.bench and self.bench.threads) or [self.threads])

    def benched_runs(self, corpus: str = "") -> list[PlannedRun]:
        """The models whose throughput is measured, each as its first run, which need not have been trained.

        Args:
            corpus: on whose lengths they are measured; by default the study's choice.

        Raises:
            UserError: no such corpus in the study.
        """
        corpus = corpus or self.bench_corpus
        if corpus not in self.corpora:
            raise UserError(
                f'{self.path}: bench: no corpus "{corpus}" in this study{suggestion(corpus, self.corpora)}'
            )
        models = (self.bench.models or self.models) if self.bench else []
        return [self._plan(corpus, model, (self.seeds_of(corpus, model) or [1])[0]) for model in models]

    @property
    def probe_folder(self) -> Path:
        """Where gradients are measured into: `runs/probe/<study>`."""
        return RUNS / "probe" / self.name

    @property
    def probe_corpus(self) -> str:
        """The corpus on which gradients are measured."""
        return (self.probe and self.probe.corpus) or next(iter(self.corpora))

    @property
    def probe_test_set(self) -> str:
        """The test set on which gradients are measured."""
        return (self.probe and self.probe.test_set) or self.corpus_config(self.probe_corpus).test_sets[0]

    @property
    def probed_runs(self) -> list[PlannedRun]:
        """The runs whose gradients are measured; none where the study asks for none."""
        return [run for run in self.runs if self.probe and run.corpus == self.probe_corpus]

    @cached_property
    def parts(self) -> list[Study]:
        """The studies to carry out: those included, or this one."""
        return [load_study(name) for name in self.includes] or [self]

    @cached_property
    def runs(self) -> list[PlannedRun]:
        """The trainings, seed by seed, so that every model is there early."""
        return [
            self._plan(corpus, model, seed)
            for corpus in self.corpora
            for seed in self.seeds_of(corpus)
            for model in self.models
            if seed in self.seeds_of(corpus, model)
        ]

    def seeds_of(self, corpus: str, model: str | None = None) -> list[int]:
        """The seeds to train with on a corpus, all or a model's; none where models are only measured."""
        entry, chosen = self.corpora[corpus], self.models[model] if model else None
        seeds = self.seeds if entry is None or entry.seeds is None else entry.seeds
        return seeds if chosen is None or chosen.seeds is None else [seed for seed in seeds if seed in chosen.seeds]

    @cached_property
    def corpus_configs(self) -> dict[str, CorpusConfig]:
        """The resolved corpora by their names in the study."""
        configs = {}
        for name, entry in self.corpora.items():
            entry = entry or CorpusEntry()
            overrides = {**entry.overrides, "name": name} if entry.base or entry.overrides else None
            configs[name] = load_corpus_config(entry.base or name, overrides)
        known = list(dict.fromkeys(name for config in configs.values() for name in config.test_sets))
        named = [("test_sets", name) for name in self.test_sets]
        primary = {"primary.test_set": self.primary.test_set, "primary.lengths": self.primary.length_set}
        named += [(key, name) for key, name in primary.items() if name != POOLED]
        for key, name in named:
            if name not in known:
                raise UserError(f"{self.path}: {key}: no corpus of this study has {name}{suggestion(name, known)}")
        for name, config in configs.items():
            if self.test_sets and not set(self.test_sets) & set(config.test_sets):
                has = ", ".join(config.test_sets) or "none"
                raise UserError(f"{self.path}: test_sets: {name} has none of these; add one of its own: {has}")
        return configs

    def corpus_config(self, name: str) -> CorpusConfig:
        """The resolved corpus called `name` in this study.

        Raises:
            UserError: no such corpus in the study, or its YAML is missing or wrong.
        """
        if name not in self.corpora:
            raise UserError(f'{self.path}: no corpus "{name}"{suggestion(name, self.corpora)}')
        return self.corpus_configs[name]

    def test_sets_of(self, corpus: str) -> list[str]:
        """The test sets of a corpus that the study translates, in the corpus's order."""
        known = self.corpus_config(corpus).test_sets
        return [name for name in known if not self.test_sets or name in self.test_sets]

    def digest(self) -> str:
        """Of all that the study says and all that its runs are, for deciding what must be made again."""
        return digest([self.path.read_text(encoding="utf-8"), [str(run.folder) for run in self.runs]])

    def _plan(self, corpus: str, model: str, seed: int) -> PlannedRun:
        corpus_config = self.corpus_config(corpus)
        on, entry = self.corpora[corpus] or CorpusEntry(), self.models[model] or ModelEntry()
        config: dict[str, Any] = {"data": {"corpus": corpus_config.as_dict()}}
        config = merge(config, read_model(entry.base or model, self.path))
        config = merge(config, {"model": {"init_args": entry.init_args}} if entry.init_args else {})
        for fragment in (self.fit, on.fit, entry.fit):
            config = merge(config, fragment)
        config["threads"] = self.threads
        config.pop("seed_everything", None)
        config["trainer"] = merge(config.get("trainer") or {}, {})
        config["trainer"].pop("default_root_dir", None)
        for key in ("devices", "num_nodes"):
            found = config["trainer"].get(key, 1)
            if type(found) is not int or found < 1:
                raise UserError(
                    f"{self.path}: trainer.{key} of {model}: found {describe(found)}, expected 1 or more; a run is "
                    "given so many, and sees no others"
                )
        check_arguments(config["model"], f"{self.path}: models.{model}")
        identity = merge(config, {})
        identity["data"]["corpus"] = corpus_config.digest()
        folder = RUNS / corpus / f"{model}-{digest(identity)}" / f"seed{seed}"
        config["trainer"]["default_root_dir"] = str(folder)
        ordered = {"seed_everything": seed, "threads": config.pop("threads"), **config}
        return PlannedRun(corpus, model, seed, folder, ordered, self.test_sets_of(corpus), self.cluster)


def load_study(name_or_path: str | Path) -> Study:
    """Reads and checks a study: a name in `experiments/studies/`, or a path to a YAML.

    Raises:
        UserError: no such study, or what stands in it is wrong; in one line with file and key.
    """
    path = _find(str(name_or_path))
    study = build(Study, read_yaml(path), str(path))
    study.path = path
    check_study(study)
    for part in study.includes:
        if read_yaml(_find(part)).get("includes"):  # before it is loaded, lest one include itself
            raise UserError(f"{path}: includes: {part} includes others itself; name those instead")
    _ = study.parts
    return study


def known_studies() -> list[str]:
    """The names of the studies that ship."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml") if path.is_file())


def read_model(name: str, asked_by: Path | str = "") -> dict[str, Any]:
    """A model YAML as a LightningCLI fragment with `model.class_path`.

    Args:
        name: In `experiments/models/`, or a path to a YAML.
        asked_by: The file that names it, for messages.

    Raises:
        UserError: no such file, or no `model.class_path` in it.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else MODELS / f"{name}.yaml"
    if not path.is_file():
        place = f"{asked_by}: " if asked_by else ""
        raise UserError(f'{place}no model "{name}" ({path} does not exist){_instead(name, MODELS)}')
    fragment = read_yaml(path)
    model = fragment.get("model")
    class_path = model.get("class_path") if isinstance(model, dict) else None
    if not isinstance(class_path, str) or not class_path.strip():
        raise UserError(f"{path}: no model.class_path found; expected `model: {{class_path: ..., init_args: ...}}`")
    check_fragment(fragment, f"{path}: ", (*FRAGMENT, "seed_everything", "threads"))
    return fragment


def write_plan(study: Study) -> None:
    """Writes what the stages read, where it differs from what is there: corpora and runs, as resolved YAML.

    `data/<corpus>.yaml` for `lit-nmt prepare`, `<run>/fit.yaml` for `lit-nmt fit`.
    """
    for name, config in study.corpus_configs.items():
        _write_yaml(corpus_file(name), {"data": {"corpus": config.as_dict()}})
    for run in study.runs:
        _write_yaml(run.config_file, run.config)


def corpus_file(name: str) -> Path:
    """Where `write_plan` puts the resolved corpus that `lit-nmt prepare` reads."""
    return DATA / f"{name}.yaml"


def _write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    text = yaml.dump(dict(content), Dumper=StrictDumper, sort_keys=False, allow_unicode=True, width=110)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _find(name: str) -> Path:
    path = Path(name)
    if name.endswith((".yaml", ".yml")):
        if not path.is_file():
            raise UserError(f"{path}: no such study; give a YAML file or one of {', '.join(known_studies())}")
        return path
    path = STUDIES / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f'no study "{name}" ({path} does not exist){_instead(name, STUDIES)}')
    return path


def _instead(name: str, folder: Path) -> str:
    """The end of an error message: what a name may have meant that is not the one of a YAML in the folder."""
    if Path(f"{name}.yaml").is_file():
        return f'; one of your own goes by its path: did you mean "{name}.yaml"?'
    if not folder.is_dir():
        return f"; there is no folder {folder} here: call this in a checkout"
    return suggestion(name, sorted(path.stem for path in folder.glob("*.yaml") if path.is_file()))
