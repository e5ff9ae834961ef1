"""The spool: what this worker began and how it ended, for the engine that comes after its death.

The file's lock is held for the worker's life: locked means alive. The file is never replaced, only cut back, because
a reader that holds the old file would take its lock for the truth.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from pathlib import Path

COMPACT_BEYOND = 64 * 1024
LOCK_TRIES = 100


class Spool:
    def __init__(self, path: Path, boot: dict[str, object]) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        _hold(self._fd)
        self._lock = threading.Lock()
        os.ftruncate(self._fd, 0)
        self._size = 0
        self.append({"t": "boot", **boot})
        self._boot_size = self._size

    def append(self, record: dict[str, object]) -> None:
        """One write per record; a part that was written (full disk) is cut off again, so every line is whole."""
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                written = os.write(self._fd, line)
            except OSError:
                os.ftruncate(self._fd, self._size)
                raise
            if written != len(line):
                os.ftruncate(self._fd, self._size)
                raise OSError(28, "the spool's disk is full")
            self._size += len(line)

    def compact(self) -> None:
        """Forget everything but the boot record. Only when nothing runs and every exit is acknowledged."""
        with self._lock:
            if self._size > COMPACT_BEYOND:
                os.ftruncate(self._fd, self._boot_size)
                self._size = self._boot_size


def _hold(fd: int) -> None:
    """Takes the lock for life. An engine that looks whether we live holds it for an instant, so once is not enough."""
    for _ in range(LOCK_TRIES - 1):
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
    return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
