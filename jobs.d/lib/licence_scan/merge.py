"""Findings of all parts, brought together by package."""

from __future__ import annotations

import re

from licence_scan.common import read_json
from licence_scan.declared import all_of

_WORDS = re.compile(r"[\w.+-]+")


def merged(inventory: dict, scans: list[dict], found: list[dict]) -> list[dict]:
    """Packages in order of their names, each with its licences, copyrights and counts."""
    packages = {package["id"]: _start(package) for package in read_json(inventory["packages"])}
    for part in scans:
        for number, finding in read_json(part["result"]).items():
            _add(packages[int(number)], finding)
    for part in found:
        for number, lines in read_json(part["result"]).items():
            packages[int(number)]["copyrights"].update(lines)
    for package in packages.values():
        package["concluded"] = concluded(package["declared"], sorted(package["texts"]))
    return sorted(packages.values(), key=lambda package: (package["name"].lower(), package["version"]))


def _start(package: dict) -> dict:
    counts = {"scanned": 0, "text_files": 0, "licence_files": 0}
    return package | counts | {"declared": None, "texts": set(), "tags": set(), "copyrights": set()}


def _add(package: dict, finding: dict) -> None:
    package["declared"] = package["declared"] or finding["declared"]
    package["texts"].update(finding["texts"])
    package["tags"].update(finding["tags"])
    package["scanned"] += finding["files"]
    package["text_files"] += finding["text_files"]
    package["licence_files"] += finding["licence_files"]


def concluded(declared: str | None, texts: list[str]) -> str | None:
    """What is declared, plus each licence text that came along and is not named in it (bundled software, often).
    A vague "BSD" gives way to the exact text found."""
    if declared == "LicenseRef-BSD" and any(text.startswith("BSD-") for text in texts):
        declared = None
    named = {_family(word) for word in _WORDS.findall(declared or "")}
    return all_of([*([declared] if declared else []), *(text for text in texts if _family(text) not in named)])


def _family(name: str) -> str:
    """A text cannot tell `only` from `or later`."""
    return name.removesuffix("-only").removesuffix("-or-later").removesuffix("+")
