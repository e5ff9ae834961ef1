"""What a broken file says: a problem with its place, its key, what was found and what is allowed."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass

_SHOWN = 60  # characters of a found value that a message repeats
_LISTED = 10  # names a message lists before it stops
_COMPARED = 200  # names a suggestion looks through, so that a hostile file cannot buy minutes of comparing


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong in one file. `line` and `column` count from 1; `key` is the dotted path, or "" for the file."""

    path: str
    line: int
    column: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}"
        return f"{place} {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(Exception):
    """interlock.toml cannot be used; `problems` says why, all at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(each) for each in self.problems))


def show(value: object) -> str:
    """How a message names a value that was found."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def not_allowed(found: object, allowed: str) -> str:
    """The sentence for a value that does not fit."""
    return f"found {show(found)}; allowed: {allowed}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean "timeout"?`, or nothing if no known word is near."""
    near = difflib.get_close_matches(word[:128], list(known)[:_COMPARED], n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


def listing(names: Iterable[str]) -> str:
    """Names joined by commas, cut short when there are many."""
    every = list(names)
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return ", ".join(every[:_LISTED]) + more
