"""`lit-nmt fit`: trains one model on one corpus with one seed, by LightningCLI, into one run folder."""

from __future__ import annotations

import logging
import os
import platform
import re
import resource
import sys
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import filelock
import pytorch_lightning as pl
import torch
import yaml
from jsonargparse.typing import PositiveInt
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import ModelParallelStrategy, StrategyRegistry
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from lit_nmt.callbacks import Bar, Checkpoints, NotFiniteError, Record, SeedEachStep, ValidationBleu
from lit_nmt.code import class_digest, commit
from lit_nmt.configuration import read_yaml
from lit_nmt.data.datamodule import TranslationData
from lit_nmt.errors import UserError
from lit_nmt.files import digest, read_record, replacing, write_json, write_text
from lit_nmt.leader import LEADER, this_process
from lit_nmt.models.loading import CHECKPOINT
from lit_nmt.models.translation import TranslationModule
from lit_nmt.status import duration

# Whole checkpoints, which every verb reads; `TranslationModule.configure_model` shards the weights.
StrategyRegistry.register("fully_shard", ModelParallelStrategy, save_distributed_checkpoint=False)


class FitCLI(LightningCLI):
    """LightningCLI with this project's own options and defaults."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds what no Lightning class takes, and ties what must agree."""
        parser.add_argument("--threads", type=PositiveInt, default=1, help="CPU threads of this training.")
        parser.add_argument("--average", type=PositiveInt, default=5, help="Validations whose weights are averaged.")
        parser.link_arguments("data.vocabulary_size", "model.init_args.vocabulary_size", apply_on="instantiate")
        parser.link_arguments("seed_everything", "data.seed")

    def before_instantiate_classes(self) -> None:
        """Sets up the processor before the first tensor is made."""
        nodes = self.config.trainer.num_nodes
        if nodes > 1 and not {"MASTER_ADDR", "SLURM_NTASKS"} & set(os.environ):
            raise UserError(
                f"trainer.num_nodes: {nodes} machines are asked for, but nothing starts the training on them; start "
                "it by torchrun or srun, or the study by ./run_all.sh --profile slurm"
            )
        set_up_processor(self.config.threads)


def set_up_processor(threads: int) -> None:
    """Sets for the whole process how it computes.

    Subnormal numbers count as 0: gradients that vanish over a thousand steps of a recurrent network become such, and a
    processor takes several times as long for them.
    """
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")
    torch.set_flush_denormal(True)


OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory")
"""What torch says, on GPUs and on CPUs."""

TRAINER_DEFAULTS: dict[str, Any] = {
    "max_epochs": 1,
    "gradient_clip_val": 1.0,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 50,
    "use_distributed_sampler": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "logger": False,
}


def main(args: ArgsType = None) -> None:
    """Trains as the arguments say; goes on where an earlier call was stopped.

    The run folder is `trainer.default_root_dir`, by default `runs/<corpus>/<class>-<digest>/seed<k>`. A folder whose
    `fit.json` says "finished" is left alone.

    Raises:
        UserError: the arguments or files make no training; the folder is in use, or holds a training with another
            configuration.
    """
    started, code = datetime.now(UTC), commit()
    _quieten()
    _check_files(sys.argv[1:] if args is None else args)
    try:
        cli = FitCLI(
            TranslationModule,
            TranslationData,
            subclass_mode_model=True,
            run=False,
            auto_configure_optimizers=False,
            parser_kwargs={"prog": "lit-nmt fit", "exit_on_error": False},
            args=args,
            save_config_callback=None,
            seed_everything_default=1,
            trainer_defaults=TRAINER_DEFAULTS,
        )
    except (ValueError, TypeError, RuntimeError, ImportError, MisconfigurationException) as error:
        raise UserError(f"this configuration makes no training: {error}") from error
    config = yaml.safe_load(cli.parser.dump(cli.config, skip_link_targets=False, skip_none=False))
    folder = run_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    if getattr(rank_zero_only, "rank", 0):  # the processes beside the first share its folder
        if not finished(folder):
            train(cli, config, folder, started, code)
        return
    lock = filelock.FileLock(folder / ".lock")
    # a cluster's job of an earlier call may still train here, and this one finds it finished
    on_cluster = any(name in os.environ for name in ("SLURM_JOB_ID", "KUBERNETES_SERVICE_HOST"))
    try:
        lock.acquire(timeout=-1 if on_cluster else 0)
    except filelock.Timeout:
        raise UserError(f"{folder}: another process is training here; wait for it or stop it") from None
    try:
        if finished(folder):
            print(f"{folder}: finished before; delete {folder / 'fit.json'} to train again")
            return
        _keep_config(folder, config)
        train(cli, config, folder, started, code)
    finally:
        lock.release()


def _check_files(args: ArgsType) -> None:
    """Reads what `--config` names as strictly as studies are read; jsonargparse would take a key given twice."""
    words = [str(word) for word in args] if isinstance(args, list) else []
    for option, word in pairwise([*words, ""]):
        for path in (word if option == "--config" else "", option.partition("--config=")[2]):
            if path and not Path(path).is_dir() and (Path(path).exists() or path.endswith((".yaml", ".yml"))):
                read_yaml(Path(path))


def _quieten() -> None:
    """Silences what Lightning says that a user can do nothing about."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "LightningCLI's args parameter",
        "You're resuming from a checkpoint that ended before the epoch",  # the stream goes on by itself
        "The number of training batches",
        "The `srun` command is available",
        "It is recommended to use `self.log\\(.validation_bleu",  # the same on every rank already
        "The '.*_dataloader' does not have many workers",
        "`isinstance\\(treespec",
        "`training_step` returned",
    ):
        warnings.filterwarnings("ignore", message)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning\.cli")


def run_folder(config: dict[str, Any]) -> Path:
    """Where a configuration's run lies."""
    if config["trainer"].get("default_root_dir"):
        return Path(config["trainer"]["default_root_dir"])
    identity = {key: value for key, value in config.items() if key not in ("seed_everything", "threads")}
    identity["data"] = {key: value for key, value in config["data"].items() if key != "seed"}
    name = config["model"]["class_path"].rsplit(".", 1)[-1].lower()
    corpus = config["data"]["corpus"]["name"]
    return Path("runs") / corpus / f"{name}-{digest(identity)}" / f"seed{config['seed_everything']}"


def finished(folder: Path) -> bool:
    """Whether the training in a run folder has come to its end.

    Raises:
        UserError: its record is damaged.
    """
    record = folder / "fit.json"
    return record.is_file() and read_record(record)["status"] == "finished"


def _keep_config(folder: Path, config: dict[str, Any]) -> None:
    """Writes `config.yaml`, or checks that the training to go on with has the same."""
    path = folder / "config.yaml"
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=110)
    if any((folder / "checkpoints").glob("*.ckpt")) and path.is_file():
        try:
            before = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            raise UserError(f"{path}: damaged; delete the run's folder to train anew, or restore the file") from None
        differing = _differences(before, config)
        if differing:
            raise UserError(
                f"{folder}: holds a training with another configuration ({', '.join(differing[:3])}); "
                "choose another --trainer.default_root_dir or delete the folder"
            )
    write_text(path, text)


def _differences(a: Any, b: Any, place: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted(set(a) | set(b))
        return [d for key in keys for d in _differences(a.get(key), b.get(key), f"{place}.{key}" if place else key)]
    return [] if a == b else [place]


def train(cli: FitCLI, config: dict[str, Any], folder: Path, started: datetime, code: str) -> None:
    """Fits, chooses the weights to be scored, and writes `fit.json` last.

    Args:
        cli: with model, data and trainer.
        config: resolved.
        folder: of the run.
        started: when the process did.
        code: the commit of the code that trains.

    Raises:
        UserError: memory does not suffice, or checkpoints are damaged.
        KeyboardInterrupt: the training was interrupted.
    """
    trainer: Any = cli.trainer
    model: TranslationModule = cli.model
    data: TranslationData = cli.datamodule
    model_digest = class_digest(config["model"]["class_path"])
    checkpoints = Checkpoints(folder / "checkpoints", config["average"])
    record = Record(folder / "metrics.csv")
    bars = [Bar()] if sys.stderr.isatty() else []
    trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, ProgressBar)] + (
        bars if config["trainer"]["enable_progress_bar"] is not False else []
    )
    # Checkpoints last, so that they hold what the others have made of a validation
    own = [SeedEachStep(config["seed_everything"]), ValidationBleu(), record]
    trainer.callbacks = [*own, *trainer.callbacks, checkpoints]
    trainer.loggers = [TensorBoardLogger(folder, name="", version="tensorboard")]
    result: dict[str, Any] = {"status": "finished", "stopped_by": "budget"}
    scored, scored_bleu = "", None
    os.environ[LEADER] = this_process()  # for the processes of other devices
    try:
        trainer.fit(model, data, ckpt_path=checkpoints.readable())
        if trainer.should_stop and record.target_tokens < data.target_tokens:
            result["stopped_by"] = "early_stopping"
        scored, scored_bleu = _choose_weights(trainer, model, data, checkpoints)
    except SystemExit:
        if trainer.interrupted:  # Lightning makes an exit with status 1 of it
            raise KeyboardInterrupt from None
        raise
    except NotFiniteError as error:
        result = {"status": "failed", "stopped_by": f"error: {error}"}
    except MisconfigurationException as error:
        raise UserError(f"{folder}: this configuration makes no training: {error}") from error
    except (RuntimeError, MemoryError) as error:
        if "loading state_dict" in str(error):
            raise UserError(
                f"{folder}: its checkpoint does not fit the model ({' '.join(str(error).split())[:200]}); the corpus "
                "was prepared anew: delete the run's folder to train anew, or prepare it as it was"
            ) from error
        if not isinstance(error, MemoryError) and not OUT_OF_MEMORY.search(str(error)):
            raise
        batch = f" with a batch of {record.shape}" if record.shape else ""
        raise UserError(
            f"{folder}: out of memory{batch}; lower data.max_tokens (now {config['data']['max_tokens']}) in the study "
            "or on the command line, or make the model smaller"
        ) from error
    if not trainer.is_global_zero:
        return
    validations = [row for row in record.rows() if row["validation_loss"]]
    bleus = [float(row["validation_bleu"]) for row in validations] if scored_bleu is None else [round(scored_bleu, 4)]
    result |= {
        "parameters": sum(p.numel() for p in model.parameters()),
        "target_tokens": record.target_tokens,
        "cut": model.count_cut(data.corpus.split("train")),
        "subwords_digest": data.corpus.subwords_digest,
        "train_seconds": round(record.train_seconds, 1),
        "tokens_per_second": round(record.target_tokens / max(record.train_seconds, 1e-9), 1),
        "best_validation_loss": min((float(row["validation_loss"]) for row in validations), default=None),
        "best_validation_bleu": max(bleus, default=None),
        "scored_weights": scored,
        "peak_memory_bytes": peak_memory_bytes(trainer.strategy.root_device),
        "precision": str(trainer.precision),
        "threads": config["threads"],
        **machine(trainer.strategy.root_device),
        "commit": code,
        "model_digest": model_digest,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / "fit.json", result)
    if result["status"] == "failed":
        print(f"{folder}: failed, {result['stopped_by']}")
    else:
        speed = f"{result['tokens_per_second']:,.0f} tokens/s for {duration(result['train_seconds'])}"
        print(f"{folder}: {speed}, scored weights: {scored}")


def _choose_weights(
    trainer: pl.Trainer, model: TranslationModule, data: TranslationData, checkpoints: Checkpoints
) -> tuple[str, float]:
    """Writes `best.ckpt`: the better, on validation BLEU, of the best single weights and the average of the last.

    Returns:
        What they are, in words, and their validation BLEU.
    """
    if not checkpoints.kept:
        raise UserError(
            f"{checkpoints.folder.parent}: the training ended before its first validation, so there is nothing to "
            "score; leave out trainer.max_steps and what else cuts it short"
        )
    chosen, bleu = checkpoints.load_weights(checkpoints.best_step), checkpoints.best_bleu
    name = f"best, step {checkpoints.best_step}"
    if len(checkpoints.recent) > 1:
        averaged = checkpoints.averaged()
        set_model_state_dict(model, averaged["state_dict"], options=StateDictOptions(full_state_dict=True))
        (scores,) = trainer.validate(model, data, verbose=False)
        if scores["validation_bleu"] > bleu:
            chosen, bleu = averaged, float(scores["validation_bleu"])
            name = f"average of {len(checkpoints.recent)}"
    if trainer.is_global_zero:
        with replacing(checkpoints.folder / CHECKPOINT.name) as beside, open(beside, "wb") as file:
            torch.save(chosen, file)
    return f"{name}, validation BLEU {bleu:.2f}", bleu


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory this process held: on a GPU what torch allocated there, else its resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def machine(device: torch.device) -> dict[str, Any]:
    """What a measurement was made on and with."""
    packages = ("torch", "pytorch-lightning", "sentencepiece", "sacrebleu", "numpy")
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": gpu or cpu,
        "hardware": {"cpu": cpu, "cores": os.cpu_count(), "memory_bytes": memory, "gpu": gpu},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }
