"""A parsed text with positions: plain data, and for each key path the line and column it stands at.
Owns the limits that hold for every text, whatever its format."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from engine.jobfiles.errors import Problem, not_allowed

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20
MAX_NODES = 50_000  # YAML events; keys and items of a TOML file

KeyPath = tuple[str | int, ...]

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_INTEGERS = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Mark:
    """A place in a text, both counted from 1."""

    line: int = 1
    column: int = 1


class UnparsableError(Exception):
    """The text cannot be read further; `mark` is where."""

    def __init__(self, mark: Mark, message: str) -> None:
        super().__init__(message)
        self.mark = mark
        self.message = message


@dataclass
class Document:
    """`data` is the tree, `marks` the place of each key path (a key's own place, an item's start), `texts` how
    each number was written."""

    path: str
    data: dict[str, Any] = field(default_factory=dict)
    marks: dict[KeyPath, Mark] = field(default_factory=dict)
    texts: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    refused: set[KeyPath] = field(default_factory=set)

    def mark(self, path: KeyPath) -> Mark:
        """The place of `path`, or of the nearest thing around it that has one."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, Mark())

    def report(self, path: KeyPath, message: str, mark: Mark | None = None) -> None:
        """Note a problem at `path`, unless what stands there was already refused while parsing."""
        if path not in self.refused:
            place = mark or self.mark(path)
            self.problems.append(Problem(self.path, place.line, place.column, dotted(path), message))

    def refuse(self, path: KeyPath, message: str, mark: Mark | None = None) -> None:
        """Report, and hear nothing more about this path: whatever follows is only a consequence."""
        self.report(path, message, mark)
        self.refused.add(path)


def dotted(path: KeyPath) -> str:
    """jobs.scan.command[2]"""
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[:MAX_DEPTH])
    return parts.removeprefix(".")


def decode(data: bytes) -> str:
    """The text of a file, without byte order mark and with plain line ends."""
    if len(data) > MAX_BYTES:
        raise UnparsableError(Mark(), f"the file has {len(data):,} bytes; allowed: at most {MAX_BYTES:,}")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UnparsableError(Mark(), "the file is UTF-16; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        raise UnparsableError(mark_at(before, len(before)), f"byte 0x{data[error.start]:02x} is not UTF-8") from None
    text = text.replace("\r\n", "\n")
    if bad := _FORBIDDEN.search(text):
        raise UnparsableError(mark_at(text, bad.start()), f"control character U+{ord(bad[0]):04X} is not allowed")
    return text


def mark_at(text: str, offset: int) -> Mark:
    """The place of a character offset."""
    start = text.rfind("\n", 0, offset) + 1
    return Mark(text.count("\n", 0, offset) + 1, offset - start + 1)


def check_scalar(document: Document, path: KeyPath, value: Any) -> None:
    """Refuse what JSON, an environment or a database column cannot carry."""
    if isinstance(value, str):
        _check_text(document, path, value)
    elif isinstance(value, float) and not math.isfinite(value):
        document.refuse(path, f"found {value}; allowed: a finite number")
    elif isinstance(value, int) and value not in _INTEGERS:
        document.refuse(path, "found a number beyond 64 bits; allowed: a smaller one, or put it in quotes")
    elif not isinstance(value, bool | int | float | None):
        document.refuse(path, not_allowed(str(value), "no dates or times; put it in quotes"))


def _check_text(document: Document, path: KeyPath, value: str) -> None:
    if "\x00" in value:
        document.refuse(path, "found a NUL character; allowed: text without one")
    elif any("\ud800" <= each <= "\udfff" for each in value):
        document.refuse(path, "found half of a surrogate pair; allowed: whole characters")
