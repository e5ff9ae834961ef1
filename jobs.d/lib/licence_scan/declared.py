"""Declared licences as SPDX expressions: from License-Expression, else License, else the classifiers."""

from __future__ import annotations

from functools import cache

from license_expression import ExpressionError, Licensing, get_spdx_licensing

from licence_scan.detect import licences_in

LONGEST_NAME = 120  # a longer License field holds a text rather than a name

# Names that people write, in lower case without "license", to SPDX. "BSD" alone does not say which.
NAMES = {
    "mit": "MIT", "expat": "MIT", "mit no attribution (mit-0)": "MIT-0",
    "apache": "Apache-2.0", "apache 2": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache-2": "Apache-2.0",
    "apache software": "Apache-2.0", "apache software 2.0": "Apache-2.0", "apache , version 2.0": "Apache-2.0",
    "apache version 2.0": "Apache-2.0", "asl 2.0": "Apache-2.0",
    "bsd": "LicenseRef-BSD", "new bsd": "BSD-3-Clause", "modified bsd": "BSD-3-Clause", "3-clause bsd": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause", "bsd 3 clause": "BSD-3-Clause", "bsd-3": "BSD-3-Clause",
    "simplified bsd": "BSD-2-Clause", "2-clause bsd": "BSD-2-Clause", "bsd 2-clause": "BSD-2-Clause",
    "isc": "ISC", "isc (iscl)": "ISC", "the unlicense (unlicense)": "Unlicense", "zlib": "Zlib", "zlib/libpng": "Zlib",
    "mozilla public 2.0 (mpl 2.0)": "MPL-2.0", "mpl 2.0": "MPL-2.0", "mpl2": "MPL-2.0",
    "python software foundation": "PSF-2.0", "psf": "PSF-2.0", "psfl": "PSF-2.0", "cc0": "CC0-1.0",
    "gnu general public v2 (gplv2)": "GPL-2.0-only", "gnu general public v2 or later (gplv2+)": "GPL-2.0-or-later",
    "gnu general public v3 (gplv3)": "GPL-3.0-only", "gnu general public v3 or later (gplv3+)": "GPL-3.0-or-later",
    "gplv2": "GPL-2.0-only", "gplv3": "GPL-3.0-only", "gplv3+": "GPL-3.0-or-later", "gpl": "LicenseRef-GPL",
    "gnu lesser general public v2 or later (lgplv2+)": "LGPL-2.0-or-later", "lgpl": "LicenseRef-LGPL",
    "gnu lesser general public v3 (lgplv3)": "LGPL-3.0-only", "public domain": "LicenseRef-Public-Domain",
    "gnu lesser general public v3 or later (lgplv3+)": "LGPL-3.0-or-later",
    "gnu affero general public v3": "AGPL-3.0-only", "boost software 1.0 (bsl-1.0)": "BSL-1.0",
    "historical permission notice and disclaimer (hpnd)": "HPND",
}  # fmt: skip


@cache
def licensing() -> Licensing:
    """Built once a process: the index of all SPDX licences takes a while to load."""
    return get_spdx_licensing()


def declared(fields: dict) -> str | None:
    """The best statement in the metadata, normalised; None if it says nothing that can be understood."""
    for statement in (fields.get("expression"), fields.get("licence")):
        understood = understand(statement)
        if understood:
            return understood
    found = [understand(each.rsplit("::", 1)[-1]) for each in fields.get("classifiers") or ()]
    return all_of([each for each in found if each])


def understand(statement: str | None) -> str | None:
    """An expression, a name people use, or a whole licence text."""
    text = (statement or "").strip()
    if not text or text.upper() in ("UNKNOWN", "OSI APPROVED"):
        return None
    if len(text) > LONGEST_NAME:
        return all_of(licences_in(text))
    name = " ".join(text.lower().replace("licence", "license").replace("license", "").split())
    return expression(text) or NAMES.get(name) or NAMES.get(name.removeprefix("the "))


def expression(text: str) -> str | None:
    """`text` in SPDX's spelling if it is an expression of known licences."""
    try:
        return str(licensing().parse(text, validate=True, strict=True))
    except (ExpressionError, AttributeError, TypeError, ValueError):
        return None


def all_of(expressions: list[str]) -> str | None:
    """One expression that demands each; `OR` binds weaker than `AND`, so such parts get parentheses."""
    unique = list(dict.fromkeys(expressions))
    if len(unique) < 2:
        return unique[0] if unique else None
    return " AND ".join(f"({each})" if " OR " in each else each for each in unique)
