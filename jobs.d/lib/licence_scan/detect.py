"""Licences recognised by phrases that only their texts contain. Not a lawyer: a phrase more or less decides."""

from __future__ import annotations

import re
from pathlib import PurePath

_BSD = ("redistributions of source code must retain", "redistributions in binary form must reproduce")
_MIT = "permission is hereby granted, free of charge, to any person obtaining a copy"
_ISC = r"permission to use, copy, modify, and(/or)? distribute this software for any purpose with or without fee"
_ENDORSE = "endorse or promote products"

# SPDX identifier, patterns that must all occur, patterns of which none may.
RULES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("MIT", (_MIT, "above copyright notice and this permission notice"), ()),
    ("MIT-0", (_MIT,), ("above copyright notice and this permission notice",)),
    ("BSD-4-Clause", (*_BSD, "all advertising materials mentioning"), ()),
    ("BSD-3-Clause", (*_BSD, _ENDORSE), ("all advertising materials mentioning",)),
    ("BSD-2-Clause", _BSD, (_ENDORSE,)),
    ("ISC", (_ISC + " is hereby granted, provided that",), ()),
    ("0BSD", (_ISC + r" is hereby granted\.",), ()),
    ("Apache-2.0", ("apache license,? version 2.0, january 2004|licensed under the apache license, version 2.0",), ()),
    ("MPL-2.0", (r"mozilla public license,? (version|v\.) ?2\.0",), ()),
    ("GPL-2.0-only", ("gnu general public license version 2, june 1991",), ()),
    ("GPL-3.0-only", ("gnu general public license version 3, 29 june 2007",), ()),
    ("LGPL-2.1-only", ("gnu lesser general public license version 2.1, february 1999",), ()),
    ("LGPL-3.0-only", ("gnu lesser general public license version 3, 29 june 2007",), ()),
    ("AGPL-3.0-only", ("gnu affero general public license version 3, 19 november 2007",), ()),
    ("PSF-2.0", ("python software foundation license version 2",), ()),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",), ()),
    ("CC0-1.0", ("cc0 1.0 universal",), ()),
    ("Zlib", ("altered source versions must be plainly marked", "without any express or implied warranty"), ()),
    ("BSL-1.0", ("boost software license - version 1.0",), ()),
    ("HPND", ("permission to use, copy, modify,? and distribute this software and its documentation",), ()),
)
_COMPILED = [(name, [re.compile(p) for p in must], [re.compile(p) for p in none]) for name, must, none in RULES]

_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9][\w.+() \t-]*)")
_LICENCE_NAME = re.compile(r"(un)?licen[cs]e|copying|notice|copyright", re.IGNORECASE)
_CODE = frozenset(
    {".py", ".pyc", ".pyi", ".pyx", ".json", ".js", ".ts", ".c", ".h", ".cpp", ".rs", ".go", ".java", ".so"}
    | {".yml", ".yaml", ".toml", ".csv", ".css"}
)
_DECORATION = re.compile(r"[\s*#>\"`|]+")


def is_licence_file(path: str) -> bool:
    """LICENSE, COPYING.txt, NOTICE.md, everything in a distribution's licenses folder; not licence.py."""
    name = PurePath(path)
    if name.suffix.lower() in _CODE:
        return False
    return bool(_LICENCE_NAME.match(name.name)) or ".dist-info/licenses/" in path


def licences_in(text: str) -> list[str]:
    """Every licence whose text, or whose usual notice, occurs; line breaks and comment signs do not matter."""
    plain = _DECORATION.sub(" ", text).lower()
    return [
        name
        for name, must, none in _COMPILED
        if all(each.search(plain) for each in must) and not any(each.search(plain) for each in none)
    ]


def tags_in(text: str) -> list[str]:
    """What stands behind SPDX-License-Identifier, as written."""
    if "SPDX-License-Identifier:" not in text:
        return []
    return list(dict.fromkeys(found.strip() for found in _TAG.findall(text)))
