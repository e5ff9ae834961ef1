"""Owns a job's whole environment and the stamp by which a runner knows that the source it loaded is still current."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from engine.model.workflow import Json

MAX_FILES = 2_000
MAX_DEPTH = 3
SKIPPED = frozenset({"node_modules", "__pycache__", "venv"})
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base_environment() -> dict[str, str]:
    """The stated base every job and worker gets; nothing else of the engine's surroundings leaks into work."""
    home, user = _account()
    base = {
        "PATH": os.environ.get("PATH") or _PATH,
        "HOME": os.environ.get("HOME") or home,
        "LANG": os.environ.get("LANG") or "C.UTF-8",
        "USER": os.environ.get("USER") or user,
    }
    if zone := os.environ.get("TZ"):  # without it the system's own zone applies
        base["TZ"] = zone
    return base


def _account() -> tuple[str, str]:
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:  # a container's anonymous user
        return "/", str(os.getuid())
    return entry.pw_dir, entry.pw_name


def build_environment(
    job_env: Mapping[str, str],
    *,
    attempt: str,
    run: str,
    task: str,
    worker: str,
    instance: str,
    output: str,
    scheduled: str = "",
    parameters: Mapping[str, Json] | None = None,
    file: str | None = None,
    item: Json = None,
) -> dict[str, str]:
    """Base, then the job's own, then our marks: a job cannot hide from the search for survivors."""
    marks: dict[str, Json] = {
        "ATTEMPT": attempt,
        "RUN": run,
        "TASK": task,
        "WORKER": worker,
        "INSTANCE": instance,
        "SCHEDULED": scheduled,
        "OUTPUT": output,
    }
    marks |= {f"PARAM_{_upper(name)}": value for name, value in (parameters or {}).items()}
    marks |= {name: value for name, value in (("FILE", file), ("ITEM", item)) if value is not None}
    ours = {f"INTERLOCK_{name}": _text(value) for name, value in marks.items()}
    return base_environment() | dict(job_env) | ours


def _upper(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def _text(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def source_stamp(interpreter: str, cwd: str, pythonpath: Sequence[str]) -> str:
    """A cheap digest that changes when a file a callable may have imported changes. Bounded, so not a proof."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (interpreter, cwd, *pythonpath):
        digest.update(os.fsencode(part) + b"\0")
    for path in islice(_sources(Path(cwd), [Path(cwd, entry) for entry in pythonpath]), MAX_FILES):
        try:
            found = path.stat()
        except OSError:  # removed between listing and looking: as if it had not been listed
            continue
        digest.update(os.fsencode(path) + f"\0{found.st_mtime_ns}\0{found.st_size}\0".encode())
    return digest.hexdigest()


def _sources(cwd: Path, entries: Sequence[Path]) -> Iterator[Path]:
    yield from _walk(cwd, 1)
    for entry in entries:
        if _is_file(entry):  # a zipped package
            yield entry
        else:
            yield from _walk(entry, MAX_DEPTH)


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """*.py files in name order, a level at a time, so that the same tree always gives the same digest."""
    try:
        with os.scandir(folder) as listing:
            items = sorted(listing, key=lambda item: item.name)
    except (OSError, ValueError):  # ValueError: no path at all, such as one with a NUL
        return
    for item in items:
        if item.name.endswith(".py") and _is_file(item):
            yield Path(item.path)
    for item in items if depth > 1 else ():
        if not item.name.startswith(".") and item.name not in SKIPPED and item.is_dir(follow_symlinks=False):
            yield from _walk(Path(item.path), depth - 1)


def _is_file(item: os.DirEntry[str] | Path) -> bool:
    """No for what cannot be looked at, such as a link that leads to itself."""
    try:
        return item.is_file()
    except OSError:
        return False
