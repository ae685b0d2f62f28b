"""YAML files into typed objects: strict reading, merging of fragments, one-line errors that name the key."""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
import types
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from lit_nmt.errors import UserError

T = TypeVar("T")


LARGEST_BYTES = 4 * 2**20
MOST_VALUES = 100_000
"""No configuration written by people is larger; a file that is, or that unfolds to more, is a mistake or an attack."""


class StrictLoader(yaml.SafeLoader):
    """YAML without its surprises: a key given twice is refused, `1e-3` is a number, `no` is a word.

    Aliases (`*name`) may stand for what has an end and does not multiply beyond `MOST_VALUES`.
    """

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _count_values(node, {})
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        value: str = super().construct_scalar(node)
        if any("\ud800" <= character <= "\udfff" or character == "\0" for character in value):
            raise yaml.constructor.ConstructorError(None, None, "an escape that is no character", node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool):
                problem = "a key must be a word or a number"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'"{key}" is given twice; keep one of them', key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _count_values(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node unfolds to, aliases followed; `known` holds those counted, 0 while they are."""
    if id(node) not in known:
        known[id(node)] = 0
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        known[id(node)] = 1 + sum(_count_values(part, known) for part in parts)
    problem = "contains itself" if not known[id(node)] else f"unfolds to more than {MOST_VALUES:,} values"
    if not 0 < known[id(node)] <= MOST_VALUES:
        raise yaml.constructor.ConstructorError(None, None, f"what stands here {problem}", node.start_mark)
    return known[id(node)]


# YAML 1.2's scalars: PyYAML still reads 1.1, where `no` (Norwegian) is false and `1e-3` a string.
_REPLACED = (":bool", ":float", ":timestamp")
StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(_REPLACED)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+"
        r"|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


class StrictDumper(yaml.SafeDumper):
    """Writes what `StrictLoader` reads back the same: `'1e3'` in quotes where it is a word."""


StrictDumper.yaml_implicit_resolvers = StrictLoader.yaml_implicit_resolvers


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        UserError: no such file, not UTF-8, not YAML, a key given twice, or not a mapping at the top; or far larger
            than a configuration.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UserError(f"{path}: {path.stat().st_size:,} bytes; expected a configuration, of a few thousand")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path}: cannot be read ({reason}); give the path of a file that you may read") from None
    try:
        content = yaml.load(text, StrictLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or getattr(error, "reason", error)).split())
        raise UserError(f"{path}{line}: not valid YAML: {problem}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid YAML: brackets within brackets without end; close them") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: found {describe(content)}, expected keys with values (`key: value`)")
    return content


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `base` in which the values of `over` win; mappings are merged key by key, lists replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return {key: merge(value, {}) if isinstance(value, Mapping) else value for key, value in merged.items()}


def build(kind: type[T], content: Any, place: str) -> T:
    """Makes an object of the annotated type `kind` from plain YAML content.

    Understands dataclasses, `list[X]`, `dict[str, X]`, `tuple[X, Y]`, unions, `Literal`, `Any` and plain
    types; an int is accepted for a float, nothing else is converted.

    Args:
        place: where the content stands, for messages: the file, then the keys down to here.

    Raises:
        UserError: an unknown or missing key, or a value of another type.
    """
    return _build(kind, content, place)


def _build(kind: Any, content: Any, place: str) -> Any:
    if kind is Any:
        return content
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, content, place)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _build_union(arguments, kind, content, place)
    if origin is Literal:
        if content in arguments:
            return content
        raise UserError(f"{place}: found {describe(content)}, expected {name_of(kind)}")
    if origin is list and isinstance(content, list):
        return [_build(arguments[0], item, f"{place}[{number}]") for number, item in enumerate(content)]
    if origin is tuple and isinstance(content, list) and len(content) == len(arguments):
        return tuple(
            _build(argument, item, f"{place}[{number}]")
            for number, (argument, item) in enumerate(zip(arguments, content, strict=True))
        )
    if origin is dict and isinstance(content, dict):
        for key in content:
            if not isinstance(key, str):
                raise UserError(f"{place}: found the key {key!r}, expected a name; put it in quotes")
        return {key: _build(arguments[1], value, f"{place}.{key}") for key, value in content.items()}
    if kind is float and isinstance(content, int | float) and not isinstance(content, bool):
        if abs(content) <= sys.float_info.max:  # neither NaN nor infinite
            return float(content)
        raise UserError(f"{place}: found {describe(content)}, expected a finite number")
    # bool is a subclass of int, and `seed: true` is no number.
    if origin is None and isinstance(content, kind) and (kind is bool or not isinstance(content, bool)):
        return content
    raise UserError(f"{place}: found {describe(content)}, expected {name_of(kind)}")


def _build_union(arguments: tuple[Any, ...], kind: Any, content: Any, place: str) -> Any:
    candidates = [argument for argument in arguments if argument is not type(None)]
    if content is None and len(candidates) < len(arguments):
        return None
    if len(candidates) == 1:
        return _build(candidates[0], content, place)
    for argument in candidates:
        try:
            return _build(argument, content, place)
        except UserError:
            continue
    raise UserError(f"{place}: found {describe(content)}, expected {name_of(kind)}")


def _build_dataclass(kind: Any, content: Any, place: str) -> Any:
    if not isinstance(content, dict):
        raise UserError(f"{place}: found {describe(content)}, expected keys with values (`key: value`)")
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for key in content:
        if key not in fields:
            raise UserError(f'{place}: unknown key "{key}"{suggestion(str(key), fields)}')
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in content:
            raise UserError(f'{place}: the key "{name}" is missing; add it')
    hints = get_type_hints(kind)
    return kind(**{key: _build(hints[key], value, f"{place}: {key}") for key, value in content.items()})


def suggestion(word: str, known: Mapping[str, Any] | list[str]) -> str:
    """The end of an error message: the nearest known word, or all of them."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else f"; known are {', '.join(known)}"


def describe(content: Any) -> str:
    """A found value in a few words, for an error message."""
    if content is None:
        return "nothing"
    if isinstance(content, dict):
        return f"keys ({', '.join(map(str, list(content)[:3]))}, ...)" if content else "empty keys"
    if isinstance(content, list):
        return f"a list of {len(content)}"
    if isinstance(content, int) and content.bit_length() > 200:
        return f"{name_of(int)} of {content.bit_length() * 301 // 1000:,} digits"
    shown = repr(content)
    return f"{name_of(type(content))} {shown if len(shown) <= 60 else shown[:57] + '...'}"


def name_of(kind: Any) -> str:
    """A type in words for people."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(name_of(argument) for argument in arguments)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin is list:
        return f"a list, each {name_of(arguments[0])}"
    if origin is tuple:
        return f"a list of {len(arguments)}"
    if origin is dict or dataclasses.is_dataclass(kind):
        return "keys with values"
    words = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        type(None): "nothing",
    }
    return words.get(kind, getattr(kind, "__name__", str(kind)))
