"""The report as a Markdown page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

SHOWN = 20  # copyright statements per package; the SPDX document has all


def page(packages: list[dict], summary: str) -> str:
    return "\n".join([*_head(packages, summary), *_table(packages), *_details(packages), ""])


def _head(packages: list[dict], summary: str) -> Iterator[str]:
    yield from ("# Licence report", "", summary + ".", "", "| licence concluded | packages |", "|---|---:|")
    counts = Counter(package["concluded"] or "unknown" for package in packages)
    for licence, count in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
        yield f"| {_cell(licence)} | {count} |"


def _table(packages: list[dict]) -> Iterator[str]:
    yield from ("", "## Packages", "", "| package | version | declared | concluded | files | copyrights |")
    yield "|---|---|---|---|---:|---:|"
    for package in packages:
        words = (package["name"], package["version"], package["declared"] or "-", package["concluded"] or "unknown")
        cells = [*map(_cell, words), str(package["scanned"]), str(len(package["copyrights"]))]
        yield f"| {' | '.join(cells)} |"


def _details(packages: list[dict]) -> Iterator[str]:
    yield from ("", "## Copyrights")
    for package in packages:
        lines = sorted(package["copyrights"])
        if lines:
            yield from ("", f"### {_cell(package['name'])} {_cell(package['version'])}", "")
            yield from (f"- {_cell(line)}" for line in lines[:SHOWN])
        if len(lines) > SHOWN:
            yield f"- and {len(lines) - SHOWN} more"


def _cell(text: str) -> str:
    """Found text must not become markup."""
    return "".join(f"\\{sign}" if sign in "|<>`*_[]#" else sign for sign in text)
