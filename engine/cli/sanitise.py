"""The one place where text that came from jobs, files or names is made fit for a terminal: it may be read there, but it
may not move the cursor, change colours, set a title, or show letters in an order they do not have."""

from __future__ import annotations

import codecs
import re

# Whole sequences first, so that "\x1b[31m" does not leave "[31m" behind: CSI, then OSC and its kin up to their end.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def text(dirty: object) -> str:
    """Without control, escape and direction characters; newlines and tabs stay, a carriage return ends a line."""
    plain = _SEQUENCES.sub("", str(dirty)).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", plain)


def line(dirty: object) -> str:
    """The same on one line."""
    return " ".join(text(dirty).split())


class LogText:
    """A log's bytes as text for a terminal; a character split between two pieces is kept whole."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes, last: bool = False) -> str:
        return text(self._decoder.decode(data, last))
