"""The command `lit-nmt`: verbs, each a typed function, loaded only when it is called.

Nothing heavy is imported here, so `lit-nmt --help` answers at once; only verbs that need `torch` wait for it.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import inspect
import os
import re
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from lit_nmt.errors import UserError
from lit_nmt.leader import follow

VERBS = {
    "fetch": ("lit_nmt.cli:fetch", "bring a corpus's text here, checked"),
    "prepare": ("lit_nmt.cli:prepare", "train subwords on a corpus and encode it"),
    "fit": (
        "lit_nmt.fit:main",
        "train one model (LightningCLI: --config FILE, --trainer.*, --model.*, --data.*)",
    ),
    "translate": ("lit_nmt.translate:translate", "translate test sets, or your own text, with trained runs"),
    "score": ("lit_nmt.scoring:score", "score a study's translations"),
    "bench": ("lit_nmt.benchmark.bench:bench", "measure tokens per second against sentence length"),
    "probe": ("lit_nmt.gradients:probe", "measure how far back gradients reach in a study's models"),
    "report": ("lit_nmt.report.build:report", "draw a study's pages and tables"),
    "status": ("lit_nmt.status:status", "tell how far a study's runs are, and how long the rest takes"),
    "doctor": ("lit_nmt.doctor:doctor", "tell what this machine is good for, and what is missing"),
    "new-model": ("lit_nmt.new_model:new_model", "write the two files of a new model, which works at once"),
    "check-model": ("lit_nmt.conformance:check_model", "check that a model keeps the promises of the protocol"),
    "completion": ("lit_nmt.completion:completion", "print what lets bash or zsh complete these words"),
}

_MISTAKE = 2
_INTERRUPTED = 130
_WRITABLE = "make it readable and writable for you, or work in a folder of your own"
_MOVE_AWAY = "a file stands where a folder is expected, or the other way round: move it away"
_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _WRITABLE),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR), _MOVE_AWAY),
    errno.ENAMETOOLONG: "choose a shorter name",
}
"""What to do where the system refuses a file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `lit-nmt VERB ...`.

    Returns:
        The exit status: 0; 2 after a user's mistake, told in one line on standard error; 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # a `class_path` may name a module of the user's own
    follow()
    try:
        return _run(arguments)
    except UserError as error:
        print(f"lit-nmt: {one_line(str(error))}", file=sys.stderr)
        return _MISTAKE
    except BrokenPipeError:  # the reader of a pipe, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            place = f" while {error.filename} was written" if error.filename else ""
            told = f"the disk is full{place}; what was there is whole: free some space, go on"
        elif error.errno in _REMEDIES and error.filename:
            told = f"{error.filename}: {os.strerror(error.errno).lower()}; {_REMEDIES[error.errno]}"
        else:
            raise
        print(f"lit-nmt: {one_line(told)}", file=sys.stderr)
        return _MISTAKE
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from here" if arguments[:1] == ["fit"] else ""
        print(f"lit-nmt: stopped{goes_on}", file=sys.stderr)
        return _INTERRUPTED


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if arguments else _MISTAKE
    verb, *rest = arguments
    if verb == "--version":
        from importlib.metadata import version

        print(f"lit-nmt {version('lit-nmt')}")
        return 0
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        instead = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(VERBS)} (see lit-nmt --help)"
        raise UserError(f'no verb "{verb}"; {instead}')
    module, _, name = VERBS[verb][0].partition(":")
    function = getattr(importlib.import_module(module), name)
    try:
        if verb == "fit":
            function(rest)
        else:
            call(function, rest, f"lit-nmt {verb}")
    except argparse.ArgumentError as error:
        raise UserError(f"{one_line(str(error), 500)} (see lit-nmt {verb} --help)") from None
    return 0


def _overview() -> str:
    lines = [f"  {verb:<11} {summary}" for verb, (_, summary) in VERBS.items()]
    return "\n".join(
        [
            "usage: lit-nmt VERB [...]",
            "",
            "Neural machine translation architectures, trained and judged on one footing.",
            "",
            *lines,
            "",
            "lit-nmt VERB --help tells a verb's options; ./run_all.sh [STUDY] runs them all in order.",
            "Exit status: 0 when done, 2 after a mistake, which one line tells, 130 when stopped by Ctrl-C.",
        ]
    )


def call(function: Callable[..., Any], arguments: Sequence[str], program: str) -> Any:
    """Calls a typed function with command-line arguments.

    Parameters without a default are positional, the others options of the same name (less a final `_`, which
    Python's keywords need); lists take several words, a bool is a flag with a `--no_` twin. jsonargparse
    checks the types, and the help is the docstring.

    Raises:
        UserError: the arguments do not fit the function.
    """
    parsed = _parser(function, program).parse_args(list(arguments))
    return function(**{name: parsed[name.rstrip("_")] for name in inspect.signature(function).parameters})


def _parser(function: Callable[..., Any], program: str) -> Any:
    import docstring_parser
    import jsonargparse

    class OneLineParser(jsonargparse.ArgumentParser):
        def error(self, message: str, ex: Exception | None = None) -> Any:
            raise UserError(f"{message} (see {program} --help)")

    document = docstring_parser.parse(function.__doc__ or "")
    about = {parameter.arg_name: parameter.description or "" for parameter in document.params}
    parts = [document.short_description, document.long_description]
    parser = OneLineParser(prog=program, description="\n\n".join(part for part in parts if part))
    hints = get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        key = name.rstrip("_")
        kind = _without_none(hints[name])
        settings: dict[str, Any] = {"help": about.get(name, "")}
        positional = parameter.default is inspect.Parameter.empty
        if kind is bool:
            settings["action"] = jsonargparse.ActionYesNo(no_prefix="no_")
        elif get_origin(kind) is list:
            settings |= {"nargs": "+" if positional else "*", "type": get_args(kind)[0]}
        else:
            settings["type"] = kind if positional else hints[name]
        if positional:
            parser.add_argument(
                key, metavar=key.upper().removesuffix("S") if "nargs" in settings else None, **settings
            )
        else:
            parser.add_argument(f"--{key}", default=parameter.default, **settings)
    return parser


def _without_none(kind: Any) -> Any:
    """`X` of `X | None`."""
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [argument for argument in get_args(kind) if argument is not type(None)]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


# What jsonargparse says of a value that fits none of several types, besides what is wrong with it
_CHATTER = ("Does not validate against", "Subtypes:", "Errors:", "Given value type:", "Given value: NestedArg")


def one_line(message: str, longest: int = 600) -> str:
    """A message of several lines, as jsonargparse's are, as one."""
    printable = "".join(c if c.isprintable() or c == "\n" else " " for c in message.replace("\r", "\n"))
    lines = [line.strip().removeprefix("- ") for line in printable.split("\n")]
    kept = [line for line in lines if line and not line.startswith((*_CHATTER, "Expected a <class 'NoneType'>"))]
    words = re.sub(r"<class '([^']*)'>", r"\1", " ".join(kept)).replace("typing.", "")
    return words if len(words) <= longest else f"{words[: longest - 3]}..."


def fetch(name: str) -> None:
    """Brings a corpus's text to this machine, checksums verified, so that all later steps work offline.

    Args:
        name: a corpus of experiments/corpora, as multi30k-en-de, or a corpus YAML.
    """
    from lit_nmt.data import sources
    from lit_nmt.data.corpora import load_corpus_config

    config = load_corpus_config(name)
    for split in config.splits:
        sources.locate(config, split)
    print(f"{config.name}: the text of {', '.join(config.splits)} is here")


def prepare(name: str, force: bool = False) -> None:
    """Trains a corpus's subwords, encodes its splits and writes data/NAME with a manifest.

    Args:
        name: a corpus of experiments/corpora, as multi30k-en-de, or a corpus YAML.
        force: prepare again even if nothing has changed.
    """
    from lit_nmt.data import prepare as stage
    from lit_nmt.data.corpora import load_corpus_config

    corpus = stage.prepare(load_corpus_config(name), force=force)
    counts = ", ".join(f"{split} {entry['pairs']:,}" for split, entry in corpus.manifest["splits"].items())
    print(f"{corpus.folder}: {corpus.vocabulary_size:,} subwords; pairs: {counts}")


if __name__ == "__main__":
    sys.exit(main())
