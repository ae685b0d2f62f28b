"""What a benchmark has measured so far, in a file: one that is killed goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lit_nmt.files import digest, write_json

T = TypeVar("T")
Key = tuple[object, ...]


class Unfinished:
    """Values by key, in types of JSON, kept from one call to the next until they are forgotten.

    Args:
        path: of the file; None: kept in memory alone.
        asked: everything that decides the values, in plain types; a file of another question counts as none.
    """

    def __init__(self, path: Path | None = None, asked: Any = None) -> None:
        self.path = path
        self._asked = digest(asked, 64)
        self._values: dict[str, Any] = {}
        try:
            found = json.loads(path.read_text(encoding="utf-8")) if path else {}
            if found.get("asked") == self._asked:
                self._values = dict(found["values"])
        except (FileNotFoundError, ValueError, AttributeError, KeyError, TypeError):
            pass  # nothing was measured yet, or the file is damaged: all is measured anew

    def get(self, *key: object) -> Any:
        """The value of a key; None where there is none."""
        return self._values.get(_name(key))

    def keep(self, values: Mapping[Key, Any]) -> None:
        """Keeps all these values, or none where it is killed."""
        self._values.update({_name(key): value for key, value in values.items()})
        if self.path:
            write_json(self.path, {"asked": self._asked, "values": self._values})

    def once(self, measure: Callable[[], T], *key: object) -> T:
        """The value of a key, measured and kept where there is none."""
        found: T | None = self.get(*key)
        if found is None:
            found = measure()
            self.keep({key: found})
        return found

    def forget(self) -> None:
        """Removes the file: its values have become a result."""
        if self.path:
            self.path.unlink(missing_ok=True)


def _name(key: Key) -> str:
    return ", ".join(map(str, key))
