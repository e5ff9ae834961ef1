"""Templates: dotted paths in double braces, no logic. Parsing is shared by the loader (which checks) and the
kernel (which fills)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

ROOTS = ("params", "item", "needs", "trigger", "run")
_EXPRESSION = re.compile(r"\{\{([^{}]*)\}\}")  # no brace inside, so that no text makes it slow
_INDEX = re.compile(r"[0-9]{1,9}\Z")  # int() refuses other digits such as ² and very long numbers
_PATH = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*\Z")


class TemplateError(ValueError):
    """A template that cannot be parsed or filled; the text names the path and what was there instead."""


def paths(text: str) -> Iterator[tuple[str, ...]]:
    """Each path in `text`, split at its dots. Raises TemplateError for anything that is not a plain path."""
    for found in _EXPRESSION.finditer(text):
        yield _split(found[1])


def paths_in(value: Any) -> Iterator[tuple[str, ...]]:
    """Each path in the strings of a value, through lists and mappings."""
    if isinstance(value, str):
        yield from paths(value)
    elif isinstance(value, list | tuple | Mapping):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from paths_in(each)


def fill(value: Any, context: Mapping[str, Any]) -> Any:
    """`value` with every template in its strings filled from `context`, through lists and mappings.
    A string that is one whole expression keeps the type of what it names."""
    if isinstance(value, str):
        return _fill_text(value, context)
    if isinstance(value, list | tuple):
        return [fill(each, context) for each in value]
    if isinstance(value, Mapping):
        return {key: fill(each, context) for key, each in value.items()}
    return value


def as_text(value: Any) -> str:
    """How a value reads inside a longer string, an argument or an environment variable: strings as they are,
    everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fill_text(text: str, context: Mapping[str, Any]) -> Any:
    if "{{" not in text:
        return text
    whole = _EXPRESSION.fullmatch(text)
    if whole:
        return _look_up(_split(whole[1]), context)
    return _EXPRESSION.sub(lambda found: as_text(_look_up(_split(found[1]), context)), text)


def _split(inside: str) -> tuple[str, ...]:
    expression = inside.strip()
    if not _PATH.match(expression):
        raise TemplateError(f"{{{{ {expression} }}}} is not a dotted path such as params.source")
    parts = tuple(expression.split("."))
    if parts[0] not in ROOTS:
        raise TemplateError(f"{{{{ {expression} }}}} starts with {parts[0]!r}; allowed: {', '.join(ROOTS)}")
    return parts


def _look_up(parts: tuple[str, ...], context: Mapping[str, Any]) -> Any:
    value: Any = context
    for depth, part in enumerate(parts):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list | tuple) and _INDEX.match(part) and int(part) < len(value):
            value = value[int(part)]
        else:
            kind = "nothing" if value is None else type(value).__name__
            raise TemplateError(
                f"{{{{ {'.'.join(parts)} }}}}: no {part!r} in {'.'.join(parts[:depth]) or 'it'} ({kind})"
            )
    return value
