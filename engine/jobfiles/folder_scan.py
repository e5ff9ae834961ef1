"""Owns what lies in a watched folder now: which names are job files, and each one's change key. Blocking calls."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.jobfiles.safe_read import FileKey, key_of

_TAKEN = (".yaml", ".yml", ".toml")


@dataclass(frozen=True)
class Sight:
    """One look at a folder. `identity` is (device, inode); it changes when the folder is replaced or remounted."""

    identity: tuple[int, int]
    keys: dict[str, FileKey]


def is_job_file(name: str) -> bool:
    """Whether a name is a job file's. Hidden, temporary and backup names of editors are not."""
    return name.endswith(_TAKEN) and not name.startswith((".", "#", "~"))


def identity_of(folder: Path) -> tuple[int, int] | None:
    """(device, inode) of the folder, or None if it is not there or is no folder."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if folder.is_dir() else None


def look(folder: Path) -> Sight | None:
    """The job files in the folder, by name; None if it cannot be listed or was replaced meanwhile."""
    identity = identity_of(folder)
    try:
        keys = dict(_entries(folder))
    except OSError:
        return None
    return Sight(identity, keys) if identity is not None and identity == identity_of(folder) else None


def _entries(folder: Path) -> Iterator[tuple[str, FileKey]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_job_file(entry.name):
                try:
                    yield entry.name, key_of(os.lstat(entry.path))
                except FileNotFoundError:
                    continue


def shown(path: Path, root: Path) -> str:
    """The path as events name it: relative to the root where it lies below it, and always printable as UTF-8."""
    text = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
