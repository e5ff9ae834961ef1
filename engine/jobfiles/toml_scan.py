"""Where each key of a TOML text stands. tomllib keeps no places, so this reads keys and skips values; it forgives
what tomllib will refuse, and holds the limits on depth and size that tomllib lacks."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from itertools import count

from engine.jobfiles.document import MAX_DEPTH, MAX_NODES, Document, KeyPath, Mark, UnparsableError

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_NUMBER = re.compile(r"[-+0-9.][0-9A-Za-z_.+-]*\Z")
_BARE_VALUE = re.compile(r"[^\],}#\n]*")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'",
    re.DOTALL,
)


class _LostError(Exception):
    """The text is not TOML from here on; tomllib says so better."""


class Scanner:
    """One pass over one text."""

    def __init__(self, text: str, document: Document) -> None:
        self.text = text
        self.document = document
        self.at = 0
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self.tables: dict[KeyPath, int] = {}  # arrays of tables, with their length so far
        self.nodes = count(1)

    def scan(self) -> None:
        base: KeyPath = ()
        try:
            while self._skip(_BLANK) < len(self.text):
                base = self._header() if self._peek("[") else self._pair(base)
        except _LostError:
            return

    def _header(self) -> KeyPath:
        start = self.at
        many = self._peek("[[")
        self.at += 2 if many else 1
        path = self._key((), start)
        self._expect("]]" if many else "]")
        if not many:
            return self._resolve(path)
        path = (*self._resolve(path[:-1]), path[-1])
        self.tables[path] = self.tables.get(path, 0) + 1
        item = (*path, self.tables[path] - 1)
        self._note(item, start)
        return item

    def _pair(self, base: KeyPath) -> KeyPath:
        path = self._key(base, None)
        self._expect("=")
        self._skip(_SPACE)
        self._value(path)
        return base

    def _key(self, base: KeyPath, start: int | None) -> KeyPath:
        """A dotted key; each of its parts is noted at the part, or at `start` for a header."""
        path = base
        while True:
            self._skip(_SPACE)
            begin = self.at if start is None else start
            path = (*path, self._key_part())
            self._note(path if start is None else self._resolve(path), begin)
            self._skip(_SPACE)
            if not self._peek("."):
                return path
            self.at += 1

    def _key_part(self) -> str:
        if self._peek('"') or self._peek("'"):
            quoted = self._take(_STRING)
            try:
                return str(tomllib.loads(f"k = {quoted}")["k"])
            except tomllib.TOMLDecodeError:
                raise _LostError from None
        return self._take(_BARE_KEY)

    def _resolve(self, path: KeyPath) -> KeyPath:
        """A header's path with the latest item of each array of tables on its way."""
        resolved: KeyPath = ()
        for part in path:
            resolved = (*resolved, part)
            if resolved in self.tables:
                resolved = (*resolved, self.tables[resolved] - 1)
        return resolved

    def _value(self, path: KeyPath) -> None:
        if self._peek('"') or self._peek("'"):
            self._take(_STRING)
        elif self._peek("["):
            self._array(path)
        elif self._peek("{"):
            self._inline(path)
        else:
            text = self._take(_BARE_VALUE).strip()
            if _NUMBER.match(text):
                self.document.texts[path] = text

    def _array(self, path: KeyPath) -> None:
        self.at += 1
        for index in count():
            self._skip(_BLANK)
            if self._peek("]"):
                break
            self._note((*path, index), self.at)
            self._value((*path, index))
            self._skip(_BLANK)
            if not self._peek(","):
                break
            self.at += 1
        self._expect("]")

    def _inline(self, path: KeyPath) -> None:
        self.at += 1
        while True:
            self._skip(_BLANK)
            if self._peek("}"):
                break
            self._pair(path)
            self._skip(_BLANK)
            if not self._peek(","):
                break
            self.at += 1
        self._expect("}")

    def _note(self, path: KeyPath, offset: int) -> None:
        line = bisect_right(self.starts, offset)
        mark = Mark(line, offset - self.starts[line - 1] + 1)
        if len(path) > MAX_DEPTH:
            raise UnparsableError(mark, f"nested too deep; allowed: at most {MAX_DEPTH} levels")
        if next(self.nodes) > MAX_NODES:
            raise UnparsableError(mark, f"too many values; allowed: at most {MAX_NODES:,} keys and items")
        self.document.marks.setdefault(path, mark)

    def _peek(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def _expect(self, text: str) -> None:
        self._skip(_SPACE)
        if not self._peek(text):
            raise _LostError
        self.at += len(text)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.at

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if not found or not found[0]:
            raise _LostError
        self.at = found.end()
        return found[0]
