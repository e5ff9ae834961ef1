"""Bytes to a positioned tree: the path's ending picks the parser; job files and interlock.toml share it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from engine.jobfiles.document import Document, UnparsableError, decode
from engine.jobfiles.errors import not_allowed
from engine.jobfiles.toml_text import parse_toml
from engine.jobfiles.yaml_text import parse_yaml

_PARSERS: dict[str, Callable[[str, Document], Any]] = {
    ".yaml": parse_yaml,
    ".yml": parse_yaml,
    ".toml": parse_toml,
}
SUFFIXES = tuple(_PARSERS)


def parse(document: Document, data: bytes) -> bool:
    """Fill a document from bytes; False, with the problem reported, if there is no tree to look at."""
    suffix = PurePath(document.path).suffix
    if suffix not in _PARSERS:
        document.report((), not_allowed(suffix, f"a file that ends in {', '.join(SUFFIXES)}"))
        return False
    try:
        tree = _PARSERS[suffix](decode(data), document)
    except UnparsableError as error:
        document.report((), error.message, error.mark)
        return False
    if not isinstance(tree, dict):
        document.report((), not_allowed(tree, "a mapping of keys"))
        return False
    document.data = tree
    return True
