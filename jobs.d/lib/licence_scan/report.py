"""Last step: one Markdown page for people, one SPDX document for tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from licence_scan.common import leave_trace, write_json, write_text
from licence_scan.markdown import page
from licence_scan.merge import merged
from licence_scan.spdx import document


def report(context: Any, inventory: dict, scans: list[dict], found: list[dict]) -> dict:
    """Merges the parts' findings; the output is what an operator wants to read first."""
    packages = merged(inventory, scans, found)
    context.progress(1, 2)
    files = sum(package["scanned"] for package in packages)
    count = sum(len(package["copyrights"]) for package in packages)
    summary = f"{len(packages)} distributions, {files} files, {count} copyright statements"
    folder = Path(context.params["report"])
    write_text(folder / "report.md", page(packages, summary))
    write_json(folder / "report.spdx.json", document(packages))
    context.progress(2, 2)
    print(summary)
    leave_trace(context)
    totals = {"distributions": len(packages), "files": files, "copyrights": count}
    return {"report": str(folder / "report.md"), "summary": summary} | totals
