"""Third step, in threads: copyright statements of one part of the files, each once per package."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from licence_scan.common import leave_trace, read_json, texts, write_json

LONGEST = 200
# "Copyright" or the sign, then (c), years or a name with a capital: not prose about copyright, not code.
_STATEMENT = re.compile(
    r"(?:copyright(?:\s+|\s*:\s*)(?:(?:\(c\)|©|&copy;)\s*)?|©\s*|\(c\)\s*copyright\s*)"
    r"(?=(?:\d{4}|by\s|(?-i:[A-Z])[\w.'-]+\s))[^\n]{4,}",
    re.IGNORECASE,
)
_YEAR_OR_MARK = re.compile(r"\d{4}|\(c\)|©", re.IGNORECASE)
_PROSE = re.compile(
    r"^copyright\s+(notice|holder|owner|law|act|license|statement|interest|treaty|and|or|in|of|the)s?\b", re.IGNORECASE
)


def copyrights(context: Any, part: dict) -> dict:
    """Findings go to a file beside the part's; the output only says where, and how many."""
    found: dict[int, set[str]] = defaultdict(set)
    units = read_json(part["file"])
    for unit, _path, text in texts(context, units):
        found[unit["package"]].update(statements(text))
    result = Path(part["file"]).with_name(f"copyrights-{part['number']}.json")
    write_json(result, {str(package): sorted(lines) for package, lines in found.items() if lines})
    count = sum(map(len, found.values()))
    print(f"part {part['number']}: {count} copyright statements")
    leave_trace(context)
    return {"result": str(result), "copyrights": count}


def statements(text: str) -> set[str]:
    """The statements of a text; a quick look first, as most files hold none."""
    lower = text.lower()
    if "copyright" not in lower and "©" not in lower:
        return set()
    found = (tidy(match[0]) for match in _STATEMENT.finditer(text))
    return {each for each in found if _YEAR_OR_MARK.search(each) and not _PROSE.match(each)}


def tidy(line: str) -> str:
    """One spelling for what differs only in blanks, comment signs and closing punctuation."""
    text = " ".join(line.split())[:LONGEST]
    text = re.sub(r"\s*all rights reserved.*", "", text, flags=re.IGNORECASE)
    return text.strip(" \t*#/\\\"'`.,;|-")
