"""Owns how values become columns and back: JSON as text, and text that any database takes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from engine.model.workflow import Json


def to_text(value: Json) -> str | None:
    """JSON text, ASCII only (a lone surrogate survives as its escape). None stays NULL."""
    return None if value is None else json.dumps(value, separators=(",", ":"))


def from_text(text: str | None) -> Json:
    return None if text is None else json.loads(text)


def storable(text: str) -> str:
    """Text without lone surrogates: a message may quote a file name that is not UTF-8, and must not stop the engine."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def decode(row: Any, json_columns: Iterable[str] = ()) -> dict[str, Any]:
    """A result row as a plain dict, with the named columns decoded."""
    found = dict(row._mapping)
    for name in json_columns:
        found[name] = from_text(found[name])
    return found
