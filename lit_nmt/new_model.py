"""`lit-nmt new-model`: the two files of a new model, a small architecture that works and waits to be replaced."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2

from lit_nmt.errors import UserError
from lit_nmt.files import write_text
from lit_nmt.studies import MODELS

PACKAGE = Path("lit_nmt/models")

YAML = """\
# {title}: say what it is for, and how many parameters it has.
model:
  class_path: {class_path}
  init_args:
    dim: 128
    kernel: 5
    dropout: 0.15
    learning_rate: 2.0e-3
    warmup_steps: 400
    schedule: linear
"""


def new_model(name: str) -> None:
    """Writes the module and the YAML of a new model: a small architecture that works, to be replaced by yours.

    In a checkout they are lit_nmt/models/NAME.py and experiments/models/NAME.yaml, and every study and test can
    name the model; elsewhere both are written beside each other.

    Args:
        name: of the model, as conv-s2s: small letters and digits, words joined by hyphens.

    Raises:
        UserError: it cannot be a name, or there is a model of that name.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UserError(f"{name!r}: expected small letters and digits, words joined by hyphens, as my-model")
    inside = PACKAGE.is_dir()
    stem = name.replace("-", "_")
    module = (PACKAGE if inside else Path()) / f"{stem}.py"
    settings = (MODELS if inside else Path()) / f"{name}.yaml"
    for path in (module, settings):
        if path.exists():
            raise UserError(f"{path}: there already; choose another name")
    class_name = "".join(word.capitalize() for word in name.split("-"))
    title = name.replace("-", " ").capitalize()
    template = (Path(__file__).parent / "models/new_model.py.jinja").read_text(encoding="utf-8")
    text = jinja2.Template(template, keep_trailing_newline=True).render(name=class_name, title=title)
    write_text(module, text)
    class_path = f"lit_nmt.models.{stem}.{class_name}" if inside else f"{stem}.{class_name}"
    write_text(settings, YAML.format(title=title, class_path=class_path))
    asked = name if inside else settings
    print(f"{module}: the architecture, to be replaced by yours\n{settings}: its settings")
    print(f"next: lit-nmt check-model {asked}")
