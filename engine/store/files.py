"""Owns the database as a file: who may read it, whether it is ours, its backups, and how a new one comes to be."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from pathlib import Path

from engine.store import sqlite
from engine.store.errors import StoreBrokenError
from engine.store.migrate import SCHEMA_VERSION, upgrade

KEEP_BACKUPS = 3
_MAGIC = b"SQLite format 3\0"


def prepare_folder(folder: Path) -> None:
    """Makes the folder, for the owner only. One that exists keeps its mode: it may be the operator's own."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            folder.chmod(0o700)  # a umask can only take bits away, but it could take the owner's


def create(path: Path) -> None:
    """Builds a new database beside `path` and renames it there, so that a half-made one is never found."""
    _refuse_leftovers(path)
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    _touch_private(draft)
    engine = sqlite.builder(draft)
    try:
        with engine.begin() as connection:
            upgrade(connection)
    finally:
        engine.dispose()
    draft.rename(path)
    _sync_folder(path.parent)


def _refuse_leftovers(path: Path) -> None:
    """A database that has gone while its parts are still there was lost, not never made."""
    left = log_of(path) + backups(path)[-1:]
    if left:
        raise StoreBrokenError(
            f"{path} is missing, but {left[-1]} is there. Restore the database (copy a backup to {path}), or move "
            f"{', '.join(str(file) for file in left)} away to begin with an empty one. Nothing was written."
        )


def log_of(path: Path) -> list[Path]:
    """The write-ahead log beside the database, if there is one with anything in it."""
    log = path.with_name(f"{path.name}-wal")
    return [log] if log.exists() and log.stat().st_size else []


def check_header(path: Path) -> int:
    """Refuses, without writing or locking anything, a file that is not ours, is cut off or is from a newer engine.
    Returns its schema version."""
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_MAGIC):
        raise damaged(path, "it is not a whole SQLite file")
    if _number(header, 68, 4) != sqlite.APPLICATION_ID:
        raise StoreBrokenError(
            f"{path} is a database of another program. Nothing was written. Name another file as `database` in "
            "interlock.toml, or move this one away."
        )
    page = _number(header, 16, 2)
    expected = _number(header, 28, 4) * (65536 if page == 1 else page)
    if path.stat().st_size < expected and not log_of(path):
        raise damaged(path, f"it is cut off: {path.stat().st_size} of {expected} bytes")
    return _number(header, 60, 4)


def _number(header: bytes, offset: int, size: int) -> int:
    return int.from_bytes(header[offset : offset + size], "big")


def check_version(path: Path, version: int) -> None:
    if version > SCHEMA_VERSION:
        raise StoreBrokenError(
            f"{path} was written by a newer Interlock (schema {version}, this one knows {SCHEMA_VERSION}). Nothing was "
            f"written. Install that version again, or restore a backup made before the upgrade: {_newest(path)}."
        )


def damaged(path: Path, what: str) -> StoreBrokenError:
    return StoreBrokenError(
        f"{path} is damaged: {what}. Nothing was written. Keep a copy of it, then restore the newest backup: "
        f"{_newest(path)}."
    )


def _newest(path: Path) -> str:
    found = backups(path)
    return str(found[-1]) if found else "there is none"


def backups(path: Path) -> list[Path]:
    """The backups of `path`, oldest first."""
    pattern = re.compile(re.escape(path.stem) + r"\.backup-(\d+)")
    found = [(int(match[1]), file) for file in path.parent.iterdir() if (match := pattern.fullmatch(file.name))]
    return [file for _, file in sorted(found)]


def back_up(path: Path) -> Path:
    """A consistent copy beside the database; older ones than the last few go."""
    existing = backups(path)
    number = int(existing[-1].name.rpartition("-")[2]) + 1 if existing else 1
    target = path.with_suffix(f".backup-{number}")
    draft = target.with_name(f"{target.name}.new")
    draft.unlink(missing_ok=True)
    _touch_private(draft)
    with contextlib.closing(sqlite.connect(path, "rw")) as source, contextlib.closing(sqlite3.connect(draft)) as copy:
        source.backup(copy)
    draft.rename(target)
    _sync_folder(path.parent)
    for old in backups(path)[:-KEEP_BACKUPS]:
        old.unlink()
    return target


def _touch_private(path: Path) -> None:
    """SQLite gives its log files the database's mode, so the first file's mode decides for all."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """A rename is durable once the folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
