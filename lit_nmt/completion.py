"""What a shell completes: verbs, options, and the names of the studies, corpora and models that are here."""

from __future__ import annotations

import argparse
import importlib
import inspect
from typing import Any, Literal, get_args, get_origin, get_type_hints

import shtab

from lit_nmt import cli

_NAMES = {
    ("fetch", "name"): "corpora",
    ("prepare", "name"): "corpora",
    ("check-model", "name"): "models",
    ("score", "study"): "studies",
    ("bench", "targets"): "studies",
    ("report", "study"): "studies",
    ("probe", "study"): "studies",
    ("status", "study"): "studies",
}
"""The folder of `experiments` whose YAMLs a positional argument of a verb names."""

_PREAMBLE = {
    "bash": """
_lit_nmt_named() {
    compgen -W "$(ls "experiments/$1" 2>/dev/null | sed -n 's/[.]yaml$//p')" -- "$2"
    compgen -f -X '!*.yaml' -- "$2"
}
_lit_nmt_studies() { _lit_nmt_named studies "$1"; }
_lit_nmt_corpora() { _lit_nmt_named corpora "$1"; }
_lit_nmt_models() { _lit_nmt_named models "$1"; }
""",
    "zsh": """
_lit_nmt_named() { compadd -- experiments/$1/*.yaml(N:t:r); _files -g '*.yaml' }
_lit_nmt_studies() { _lit_nmt_named studies }
_lit_nmt_corpora() { _lit_nmt_named corpora }
_lit_nmt_models() { _lit_nmt_named models }
""",
}


def completion(shell: Literal["bash", "zsh"]) -> None:
    """Prints a script with which a shell completes the words of lit-nmt.

    Once, for bash: lit-nmt completion bash > ~/.local/share/bash-completion/completions/lit-nmt

    Args:
        shell: the shell that is to read it.
    """
    print(shtab.complete(_parser(), shell, preamble=_PREAMBLE[shell]))


def _parser() -> argparse.ArgumentParser:
    """The verbs and their options as argparse knows them, which is all that shtab asks."""
    parser = argparse.ArgumentParser("lit-nmt")
    parser.add_argument("--version", action="store_true")
    verbs = parser.add_subparsers()
    for verb, (place, summary) in cli.VERBS.items():
        own = verbs.add_parser(verb, help=summary)
        if verb == "fit":  # LightningCLI's options are hundreds: `lit-nmt fit --help` tells them
            config: Any = own.add_argument("--config")
            config.complete = shtab.FILE
            own.add_argument("--print_config", action="store_true")
            continue
        module, _, name = place.partition(":")
        function = getattr(importlib.import_module(module), name)
        hints = get_type_hints(function)
        for key, parameter in inspect.signature(function).parameters.items():
            word = key if parameter.default is inspect.Parameter.empty else f"--{key.rstrip('_')}"
            if hints[key] in (bool, bool | None):
                own.add_argument(word, f"--no_{key}", action="store_true")
                continue
            several = "list[" in str(hints[key])
            added: Any = own.add_argument(word, nargs="*" if several else None)
            if get_origin(hints[key]) is Literal:
                added.choices = get_args(hints[key])
            elif (verb, key) in _NAMES:
                added.complete = dict.fromkeys(_PREAMBLE, f"_lit_nmt_{_NAMES[verb, key]}")
            elif "Path" in str(hints[key]):
                added.complete = shtab.DIRECTORY
    return parser
