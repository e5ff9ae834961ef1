"""What all four steps share: reading files that may be anything, writing results whole, leaving a trace."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

READ_LIMIT = 512 * 1024  # licences and copyrights stand early; nobody needs the rest of a data file
PROGRESS_EVERY = 50


def read_text(path: str) -> str | None:
    """The start of a text file, or None for what is binary, unreadable, gone or no plain file.
    Opened without blocking, so that a named pipe in a tree cannot hang the scan."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    with os.fdopen(handle, "rb") as file:
        try:
            plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(READ_LIMIT) if plain else b"\0"
        except OSError:
            return None
    return None if b"\0" in data[:8192] else data.decode("utf-8", errors="replace")


def write_json(path: Path, value: Any) -> None:
    """All or nothing, so that a killed attempt leaves no half file for the next step."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Under a name of this thread first, then renamed: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    draft.write_text(text, encoding="utf-8", errors="backslashreplace")
    draft.replace(path)


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def leave_trace(context: Any) -> None:
    """One line per finished attempt in effects.log: executions can be counted from what they did."""
    folder = Path(context.params["report"])
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "effects.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(handle, f"{context.attempt}\n".encode())
    finally:
        os.close(handle)


def texts(context: Any, units: list[dict]) -> Iterator[tuple[dict, str, str]]:
    """(unit, path, text) of each readable text file of a part, reporting progress on the way."""
    total = sum(len(unit["files"]) for unit in units)
    done = 0
    for unit in units:
        for path in unit["files"]:
            if done % PROGRESS_EVERY == 0:
                _pause_point(context, done, total)
            done += 1
            text = read_text(path)
            if text:
                yield unit, path, text
    context.progress(total, total)


def _pause_point(context: Any, done: int, total: int) -> None:
    """A thread cannot be killed: it has to look whether it should go on."""
    if context.cancelled is True:
        raise InterruptedError(f"cancelled after {done} of {total} files")
    context.progress(done, total)
