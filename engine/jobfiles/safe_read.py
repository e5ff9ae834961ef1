"""Owns reading one job file: plain files only, small ones only, never blocking, never a mixture of two versions."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from engine.jobfiles.writer_lease import has_writer

MAX_BYTES = 1024 * 1024
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class UnreadableFileError(Exception):
    """The file cannot be a job file. `why` is a plain sentence that says what to do."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


class ChangedFileError(UnreadableFileError):
    """The file changed while it was read, is not the version that was asked for, or is gone."""


class BusyFileError(UnreadableFileError):
    """Somebody has the file open for writing."""


class FileKey(NamedTuple):
    """What changes whenever a file's bytes may have changed."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def key_of(status: os.stat_result) -> FileKey:
    """The change key of a file's status."""
    return FileKey(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def read_job_file(path: Path, *, expect: FileKey | None = None, closed: bool = False) -> bytes:
    """The file's bytes, or UnreadableFileError. With `expect`, only that version; with `closed`, only if no writer
    has it open, as far as the system can tell."""
    with _opened(path) as descriptor:
        before = os.fstat(descriptor)
        _check_kind(path, before)
        if expect is not None and key_of(before) != expect:
            raise ChangedFileError(path, "it changed before it was read; read it again")
        if closed and has_writer(descriptor):
            raise BusyFileError(path, "a program has it open for writing; close it there")
        data = _read(path, descriptor)
        if key_of(os.fstat(descriptor)) != key_of(before) or len(data) != before.st_size:
            raise ChangedFileError(path, "it changed while it was read; read it again")
        return data


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        _check_kind(path, path.lstat())  # before opening: opening a device may do something
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError as error:
        raise ChangedFileError(path, "it does not exist; check the name") from error
    except (OSError, ValueError) as error:
        raise UnreadableFileError(path, _sentence(error)) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(path: Path, descriptor: int) -> bytes:
    """All bytes up to just beyond the limit."""
    parts: list[bytes] = []
    left = MAX_BYTES + 1
    try:
        while left > 0 and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
    except OSError as error:
        raise UnreadableFileError(path, _sentence(error)) from error
    return b"".join(parts)


def _check_kind(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableFileError(path, f"it is {_kind(status.st_mode)}; put a plain file in its place")
    if status.st_nlink > 1:
        raise UnreadableFileError(path, f"it has {status.st_nlink} names (hard links); put a copy in its place")
    if status.st_size > MAX_BYTES:
        raise UnreadableFileError(
            path, f"it has {status.st_size} bytes and a job file may have {MAX_BYTES}; split it or move data out of it"
        )


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def _sentence(error: OSError | ValueError) -> str:
    if isinstance(error, PermissionError):
        return "the engine may not read it; give the engine's user read permission"
    text = error.strerror if isinstance(error, OSError) else str(error)
    return f"it cannot be read ({text}); check the file and its disk"
