"""First step: what there is, split into parts of about equal work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from licence_scan.common import leave_trace, write_json
from licence_scan.trees import packages

CHUNK = 100  # files: a large distribution is shared among parts
FILE_COST = 4096  # opening a file costs about as much as reading this many bytes
COST_LIMIT = 512 * 1024


def inventory(context: Any, tree: str | list[str] | None = None, parts: int = 8) -> dict:
    """Writes one file per part and returns only their descriptions."""
    found = packages(tree)
    context.progress(1, 3)
    work = Path(context.params["report"]) / f"work-{context.run}"
    units = [unit for number, package in enumerate(found) for unit in _units(number, package)]
    shares = _balance(units, max(1, int(parts)))
    context.progress(2, 3)
    write_json(work / "packages.json", [_summary(number, package) for number, package in enumerate(found)])
    described = [_write_part(work, number, share) for number, share in enumerate(shares)]
    context.progress(3, 3)
    files = sum(len(package["files"]) for package in found)
    print(f"{len(found)} distributions, {files} files, {len(described)} parts")
    leave_trace(context)
    return {"parts": described, "distributions": len(found), "files": files, "packages": f"{work}/packages.json"}


def _summary(number: int, package: dict) -> dict:
    kept = {key: package[key] for key in ("name", "version")}
    return kept | {"id": number, "files": len(package["files"])}


def _units(number: int, package: dict) -> list[dict]:
    """A package in chunks of files; its declared licence goes with the first, which exists even without files."""
    files = package["files"]
    starts = range(0, max(len(files), 1), CHUNK)
    units = [{"package": number, "files": files[start : start + CHUNK], "declared": None} for start in starts]
    units[0]["declared"] = package["declared"]
    return units


def _balance(units: list[dict], parts: int) -> list[list[dict]]:
    """The dearest unit first, each to the part with the least so far; empty parts are left out."""
    shares: list[list[dict]] = [[] for _ in range(parts)]
    loads = [0] * parts
    for cost, _, unit in sorted(
        ((_cost(unit), -at, unit) for at, unit in enumerate(units)), reverse=True, key=lambda each: each[:2]
    ):
        lightest = loads.index(min(loads))
        shares[lightest].append(unit)
        loads[lightest] += cost
    return [share for share in shares if share]


def _cost(unit: dict) -> int:
    return FILE_COST + sum(FILE_COST + min(_size(path), COST_LIMIT) for path in unit["files"])


def _size(path: str) -> int:
    """A recorded file may be missing or out of reach: then it costs nothing more."""
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return 0


def _write_part(work: Path, number: int, units: list[dict]) -> dict:
    path = work / f"part-{number}.json"
    write_json(path, units)
    return {"number": number, "file": str(path), "files": sum(len(unit["files"]) for unit in units)}
