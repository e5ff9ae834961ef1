"""Owns what the engine reads from a worker's folder: its lock, its spool, and the removal of what nobody needs."""

from __future__ import annotations

import fcntl
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from engine.model.workflow import Json

LOG = structlog.get_logger("workers.folder")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ATTEMPT = re.compile(rb'"a"\s*:\s*(\d+)')


class WorkerNameError(ValueError):
    """A worker's name that could not be a folder of ours (a path, for example)."""


@dataclass
class Spool:
    """What a worker wrote about itself. `doubtful` are attempts named by damaged lines; `illegible` says that one
    damaged line names nobody, so that the absence of a start proves nothing."""

    exists: bool = False
    boot: dict[str, Json] | None = None
    starts: dict[tuple[int, int], dict[str, Json]] = field(default_factory=dict)
    exits: dict[tuple[int, int], dict[str, Json]] = field(default_factory=dict)
    doubtful: set[int] = field(default_factory=set)
    illegible: bool = False

    def may_have_started(self, attempt: int, epoch: int) -> bool:
        """Only a complete spool of this boot can show that an attempt never started (it is not fsynced)."""
        if self.boot is None or self.boot.get("boot_id") != boot_id():
            return True
        return (attempt, epoch) in self.starts or attempt in self.doubtful or self.illegible


def check_name(worker: str) -> str:
    """A name comes from a message or a row; only one that stays inside the workers' folder passes."""
    if not _NAME.fullmatch(worker):
        raise WorkerNameError(f"not a worker's name: {worker!r}")
    return worker


def worker_folder(state: Path, worker: str) -> Path:
    return state / "workers" / check_name(worker)


def worker_names(state: Path) -> list[str]:
    folder = state / "workers"
    if not folder.is_dir():
        return []
    return sorted(item.name for item in folder.iterdir() if item.is_dir() and _NAME.fullmatch(item.name))


def boot_id() -> str:
    return BOOT_ID.read_text().strip()


def is_locked(folder: Path) -> bool:
    """Whether a living worker holds the spool. The kernel drops the lock with the process, however it ends."""
    try:
        handle = os.open(folder / "spool", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:  # it cannot be told: then nobody is called dead
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def read_spool(folder: Path) -> Spool:
    """The spool's records; a damaged line is skipped, noted and logged."""
    try:
        lines = (folder / "spool").read_bytes().split(b"\n")
    except FileNotFoundError:
        return Spool()
    except OSError as problem:
        LOG.error("spool unreadable", spool=str(folder / "spool"), problem=str(problem))
        return Spool(exists=True)
    spool = Spool(exists=True)
    for number, line in enumerate(lines, 1):
        if line.strip() and not _take(spool, line):
            LOG.warning("spool line skipped", spool=str(folder / "spool"), line=number, text=repr(line[:200]))
    return spool


def _take(spool: Spool, line: bytes) -> bool:
    try:
        record = json.loads(line)
        kind = record["t"]
        if kind == "boot":
            spool.boot = record
            return True
        {"start": spool.starts, "exit": spool.exits}[kind][int(record["a"]), int(record["e"])] = record
    except (ValueError, KeyError, TypeError, RecursionError):
        _doubt(spool, line)
        return False
    return True


def _doubt(spool: Spool, line: bytes) -> None:
    if found := _ATTEMPT.search(line):
        spool.doubtful.add(int(found[1]))
    else:
        spool.illegible = True


def error_text(folder: Path, limit: int = 2000) -> str:
    """The end of what the worker wrote to stderr, which is where a host that cannot start says why."""
    try:
        return (folder / "stderr").read_bytes()[-limit:].decode(errors="replace").strip()
    except OSError:
        return ""


def tidy(folder: Path) -> None:
    """After a worker is gone and all its exits are on record: keep only output and words of complaint."""
    if not folder.is_dir():
        return
    (folder / "spool").unlink(missing_ok=True)
    complaint = folder / "stderr"
    if complaint.exists() and complaint.stat().st_size == 0:
        complaint.unlink()
    _drop_empty_segments(folder)
    remove_if_empty(folder)


def _drop_empty_segments(folder: Path) -> None:
    """A worker whose jobs said nothing leaves an empty segment, to which no attempt can refer."""
    for index in folder.glob("seg-*.idx"):
        data = index.with_suffix(".log")
        if index.stat().st_size == 0 and (not data.exists() or data.stat().st_size == 0):
            index.unlink()
            data.unlink(missing_ok=True)


def remove_if_empty(folder: Path) -> None:
    """Remove a gone worker's folder once it holds no spool, no output and no stderr."""
    if (folder / "spool").exists() or (folder / "stderr").exists():
        return
    if any(item.name.startswith(("seg-", "a-")) for item in folder.iterdir()):
        return
    for item in folder.iterdir():
        if item.is_file():
            item.unlink()
    try:
        folder.rmdir()
    except OSError as problem:  # something of somebody else's lies in it: not ours to remove
        LOG.warning("worker folder kept", folder=str(folder), problem=str(problem))
