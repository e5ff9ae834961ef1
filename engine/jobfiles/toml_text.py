"""TOML to the same positioned tree that YAML gives."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from engine.jobfiles.document import MAX_DEPTH, Document, KeyPath, Mark, UnparsableError, check_scalar, mark_at
from engine.jobfiles.toml_scan import Scanner

_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)\Z")


def parse_toml(text: str, document: Document) -> Any:
    """The tree of `text`; marks and recoverable problems go into `document`. Raises UnparsableError."""
    Scanner(text, document).scan()
    try:
        tree = tomllib.loads(text)
    except RecursionError:
        raise UnparsableError(Mark(), f"nested too deep; allowed: at most {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise _explain(text, str(error)) from None
    return _checked(tree, document)


def _explain(text: str, message: str) -> UnparsableError:
    plain = message[0].lower() + message[1:] if message else "cannot be read"
    if place := _PLACE.search(plain):
        return UnparsableError(Mark(int(place[1]), int(place[2])), f"not TOML: {plain[: place.start()].strip()}")
    at_end = "end of document" in message
    return UnparsableError(mark_at(text, len(text)) if at_end else Mark(), f"not TOML: {plain}")


def _checked(tree: dict[str, Any], document: Document) -> dict[str, Any]:
    """The tree itself, each scalar looked at; without recursion, the scanner having bounded only what it read."""
    waiting: list[tuple[KeyPath, Any]] = [((), tree)]
    while waiting:
        path, value = waiting.pop()
        if len(path) > MAX_DEPTH:
            raise UnparsableError(document.mark(path), f"nested too deep; allowed: at most {MAX_DEPTH} levels")
        if isinstance(value, dict):
            for key in value:
                check_scalar(document, (*path, key), key)
            waiting.extend(((*path, key), each) for key, each in value.items())
        elif isinstance(value, list):
            waiting.extend(((*path, index), each) for index, each in enumerate(value))
        else:
            check_scalar(document, path, value)
    return tree
