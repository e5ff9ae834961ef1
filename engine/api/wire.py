"""How ids and times look outside the engine. Client and server share it, so it imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

PREFIXES = {"run": "r", "task": "t", "attempt": "a"}
_LISTS = {"runs": "r", "tasks": "t", "attempts": "a"}
# Values that belong to users: a key in them that looks like ours is not ours.
OPAQUE = frozenset({"output", "parameters", "trigger", "item_value", "usage", "log", "env", "workflow_definition"})
_ID = re.compile(r"[a-z]?([0-9]{1,18})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadIdError(ValueError):
    """A text that is not an id of the kind wanted. Says what one looks like."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(f"{text!r} is not a {kind} id; one looks like {PREFIXES[kind]}12 or 12")


def show_id(kind: str, number: int) -> str:
    return f"{PREFIXES[kind]}{number}"


def parse_id(kind: str, text: str | int) -> int:
    """The number in `r12` or `12`. Another kind's prefix is an error: t5 is never taken for run 5."""
    found = _ID.fullmatch(str(text).strip())
    if found is None or str(text).strip()[0] not in "0123456789" + PREFIXES[kind]:
        raise BadIdError(str(text), kind)
    return int(found.group(1))


def iso(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_iso(text: str) -> datetime:
    return datetime.fromisoformat(text)


def to_wire(row: Mapping[str, Any], kind: str | None = None) -> dict[str, Any]:
    """A stored row as it is shown: `started_us` becomes `started` in ISO 8601, `run: 12` becomes `run: "r12"`.
    `kind` is what the row itself is, so that its id stands under `id` whatever the store calls it."""
    shown = dict(_pair(key, value) for key, value in row.items())
    if kind is not None:
        number = row.get("id", row.get(kind))
        if isinstance(number, int):
            shown["id"] = show_id(kind, number)
    return shown


def _pair(key: str, value: Any) -> tuple[str, Any]:
    if key.endswith("_us") and (value is None or _is_int(value)):
        return key[:-3], None if value is None else iso(value)
    if key in PREFIXES and _is_int(value):
        return key, show_id(key, value)
    if key in _LISTS and isinstance(value, list | tuple):
        return key, [f"{_LISTS[key]}{v}" if _is_int(v) else _value(v) for v in value]
    return key, value if key in OPAQUE else _value(value)


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return to_wire(value)
    if isinstance(value, list | tuple):
        return [_value(v) for v in value]
    return value


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
