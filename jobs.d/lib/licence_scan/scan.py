"""Second step, in processes: licences of one part of the files."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from licence_scan.common import leave_trace, read_json, texts, write_json
from licence_scan.declared import declared, expression
from licence_scan.detect import is_licence_file, licences_in, tags_in


def scan(context: Any, part: dict) -> dict:
    """Findings go to a file beside the part's; the output only says where, and how many."""
    units = read_json(part["file"])
    found = _findings(context, units)
    for unit in units:
        if unit["declared"] is not None:
            found[unit["package"]]["declared"] = declared(unit["declared"])
    result = Path(part["file"]).with_name(f"scan-{part['number']}.json")
    write_json(result, {str(package): _plain(finding) for package, finding in found.items()})
    read = sum(finding["text_files"] for finding in found.values())
    print(f"part {part['number']}: {part['files']} files, {read} of them text, of {len(found)} packages")
    leave_trace(context)
    return {"result": str(result), "files": part["files"], "text_files": read}


def _findings(context: Any, units: list[dict]) -> dict[int, dict]:
    found: dict[int, dict] = defaultdict(_nothing)
    for unit in units:
        found[unit["package"]]["files"] += len(unit["files"])
    for unit, path, text in texts(context, units):
        finding = found[unit["package"]]
        finding["text_files"] += 1
        _look_at(path, text, finding)
    return found


def _look_at(path: str, text: str, finding: dict) -> None:
    if is_licence_file(path):
        finding["licence_files"] += 1
        finding["texts"].update(licences_in(text))
    for tag in tags_in(text):
        known = expression(tag)
        if known:
            finding["tags"].add(known)


def _nothing() -> dict:
    return {"declared": None, "texts": set(), "tags": set(), "files": 0, "text_files": 0, "licence_files": 0}


def _plain(finding: dict) -> dict:
    return finding | {"texts": sorted(finding["texts"]), "tags": sorted(finding["tags"])}
