"""From files to models: the glob over model YAMLs, and the trained model of a run folder."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import torch

from lit_nmt.configuration import read_yaml
from lit_nmt.errors import UserError
from lit_nmt.models.translation import TranslationModule

CHECKPOINT = Path("checkpoints") / "best.ckpt"
"""Where the weights to be scored lie in a run folder."""


def make_model(fragment: dict[str, Any], vocabulary_size: int, **overrides: Any) -> TranslationModule:
    """Instantiates the `model` of a LightningCLI fragment.

    Args:
        fragment: with `model.class_path` and, optionally, `model.init_args`.
        vocabulary_size: joint subwords of the corpus.
        overrides: of init_args.

    Raises:
        UserError: the class does not exist, is not a `TranslationModule`, or does not take the arguments.
    """
    class_path = fragment["model"]["class_path"]
    module_name, _, class_name = class_path.rpartition(".")
    try:
        architecture = getattr(importlib.import_module(module_name), class_name)
    except (Exception, SystemExit) as error:  # whatever a module of the user's own does
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"model.class_path: {class_path} cannot be imported ({reason}); expected a module and its class, as "
            "my_model.MyModel"
        ) from error
    if not (isinstance(architecture, type) and issubclass(architecture, TranslationModule)):
        raise UserError(f"model.class_path: {class_path} is not a lit_nmt.models.translation.TranslationModule")
    init_args = {
        **(fragment["model"].get("init_args") or {}),
        "vocabulary_size": vocabulary_size,
        **overrides,
    }
    try:
        return architecture(**init_args)
    except (TypeError, ValueError, RuntimeError) as error:
        told = ", ".join(f"{key}={value}" for key, value in init_args.items())
        raise UserError(f"model: {class_path} cannot be made: {error} (init_args: {told})") from None


def load_initial_model(run: Path) -> TranslationModule:
    """The model of a run with the weights that its training began with, in evaluation mode, on the CPU.

    Raises:
        UserError: there is no finished training in `run`, or its configuration names no seed.
    """
    config, _, vocabulary_size = _read(run, "cpu")
    seed = config.get("seed_everything")
    if not isinstance(seed, int):
        raise UserError(f"{run / 'config.yaml'}: seed_everything: found {seed!r}, expected the seed of a run")
    torch.manual_seed(seed)
    model = make_model(config, vocabulary_size)
    model.draw_initial_weights()
    return model.eval()


def load_model(run: Path, device: str | torch.device = "cpu") -> TranslationModule:
    """The trained model of a run, in evaluation mode.

    Reads `config.yaml` and `checkpoints/best.ckpt`; of the latter tensors and plain types only, so that a checkpoint
    from elsewhere cannot run code.

    Raises:
        UserError: there is no finished training in `run`, or its checkpoint does not fit its configuration.
    """
    config, weights, vocabulary_size = _read(run, device)
    model = make_model(config, vocabulary_size)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{run / CHECKPOINT}: does not fit {run / 'config.yaml'} ({reason}); train again or restore the file"
        ) from None
    return model.to(device).eval()


def _read(run: Path, device: str | torch.device) -> tuple[dict[str, Any], dict[str, Any], int]:
    """The configuration, the weights and the vocabulary's size of a finished training."""
    checkpoint = run / CHECKPOINT
    if not checkpoint.is_file():
        raise UserError(
            f"{run}: no finished training here (checkpoints/best.ckpt is missing); run `lit-nmt fit` first"
        )
    config = read_yaml(run / "config.yaml")
    if not isinstance(config.get("model"), dict) or not isinstance(config["model"].get("class_path"), str):
        raise UserError(f"{run / 'config.yaml'}: no model.class_path found; expected the configuration of a run")
    try:
        content = torch.load(checkpoint, map_location=device, weights_only=True)
        weights = content["state_dict"]
        vocabulary_size = weights["embedding.weight"].shape[0]
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, pickle.UnpicklingError):
            reason = "it is not of tensors and plain values alone, and what else it holds could run code"
        elif isinstance(error, KeyError | TypeError | IndexError | AttributeError):
            reason = "it holds no weights of a model"
        raise UserError(f"{checkpoint}: cannot be read ({reason}); train again or restore the file") from None
    return config, weights, vocabulary_size
