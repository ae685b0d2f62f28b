"""Which code runs: its commit, and what the file of a model's class says without being run, as torch takes seconds."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
from functools import cache
from pathlib import Path

from lit_nmt.files import file_digest

_ROOT = Path(__file__).parents[1]
_OF_A_RESULT = ("lit_nmt", "experiments", "pyproject.toml", "constraints.txt")
"""What a result depends on."""


def commit() -> str:
    """The commit of the code that runs, with "+" where files were changed or added since; empty outside a checkout."""
    name = git(_ROOT, "describe", "--always", "--abbrev=12", "--exclude=*")
    return f"{name}+" if name and git(_ROOT, "status", "--porcelain", "--", *_OF_A_RESULT) else name


def git(folder: Path, *words: str) -> str:
    """What git prints in a folder; nothing where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def class_file(class_path: str) -> Path | None:
    """The file in which a class should stand, None where its module is not found."""
    try:
        spec = importlib.util.find_spec(class_path.rpartition(".")[0])
    except Exception:  # whatever the package's own code raises: it is told where the class is imported
        return None
    path = Path(spec.origin) if spec and spec.origin else None
    return Path(os.path.relpath(path)) if path and path.suffix == ".py" and path.is_file() else None


def class_digest(class_path: str) -> str:
    """The digest of the file in which a class stands; empty where that is not found."""
    path = class_file(class_path)
    return file_digest(path)[:16] if path else ""


def parsed(class_path: str) -> tuple[ast.Module, ast.ClassDef] | None:
    """The syntax trees of a class's file and of the class; None where it is not found, or its file is no Python."""
    path = class_file(class_path)
    try:
        tree = ast.parse(path.read_bytes()) if path else ast.Module([], [])
    except (SyntaxError, ValueError):
        return None  # the error is told where the module is imported
    name = class_path.rpartition(".")[2]
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return (tree, found[-1]) if found else None


@cache
def arguments(class_path: str) -> frozenset[str] | None:
    """The names that a class takes when it is made, those of its parents too where it hands others on to them.

    None where the files do not tell.
    """
    found = parsed(class_path)
    if not found:
        return None
    tree, node = found
    made = [line for line in node.body if isinstance(line, ast.FunctionDef) and line.name == "__init__"]
    own = made[0].args if made else None
    names = {argument.arg for argument in (*own.args, *own.kwonlyargs)} - {"self"} if own else set()
    if own and not own.kwarg:
        return frozenset(names)
    places = {
        alias.asname or alias.name: f"{line.module}.{alias.name}"
        for line in tree.body
        if isinstance(line, ast.ImportFrom) and not line.level
        for alias in line.names
    }
    for base in node.bases:
        if not isinstance(base, ast.Name):
            if ast.unparse(base) in ("pl.LightningModule", "nn.Module"):
                continue
            return None
        inherited = arguments(places.get(base.id, f"{class_path.rpartition('.')[0]}.{base.id}"))
        if inherited is None and base.id != "ABC":
            return None
        names |= inherited or set()
    return frozenset(names)
