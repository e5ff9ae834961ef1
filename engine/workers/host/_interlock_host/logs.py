"""Where output bytes lie: the shared segment, then an attempt's own head, then a ring of its last pieces."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from pathlib import Path

from .config import Config, now_us

RECORD = struct.Struct("<QBxxxIQQ")  # attempt, stream, length, offset, time in microseconds
RING_PIECES = 4  # of an eighth of the cap each: the last half


class DataFile:
    """A data file with its index. Data first, then the record: a reader never sees a record without its bytes."""

    def __init__(self, folder: Path, stem: str) -> None:
        self._paths = [folder / f"{stem}.log", folder / f"{stem}.idx"]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._data = os.open(self._paths[0], flags, 0o600)
        try:
            self._index = os.open(self._paths[1], flags, 0o600)
        except OSError:
            os.close(self._data)
            raise
        self._lock = threading.Lock()
        self.size = 0
        self.records = 0

    def append(self, attempt: int, stream: int, chunk: bytes) -> int:
        """The new record's number. On a full disk nothing of the chunk stays."""
        with self._lock:
            try:
                _write_whole(self._data, chunk)
                _write_whole(self._index, RECORD.pack(attempt, stream, len(chunk), self.size, now_us()))
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._data, self.size)
                    os.ftruncate(self._index, self.records * RECORD.size)
                raise
            self.size += len(chunk)
            self.records += 1
            return self.records - 1

    def close(self, remove: bool = False) -> None:
        os.close(self._data)
        os.close(self._index)
        for path in self._paths if remove else []:
            path.unlink(missing_ok=True)


def _write_whole(fd: int, data: bytes) -> None:
    done = 0
    while done < len(data):
        done += os.write(fd, data[done:])


class Segments:
    """The worker's shared files for small outputs. An attempt stays in the segment it began in."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._lock = threading.Lock()
        self._number = -1
        self._open: dict[int, DataFile] = {}
        self._users: dict[int, int] = {}

    def take(self) -> tuple[int, DataFile]:
        with self._lock:
            current = self._open.get(self._number)
            if current is None or current.size >= self._limit:
                current = DataFile(self._folder, f"seg-{self._number + 1}")
                self._number += 1
                self._open[self._number] = current
                self._close_unused()
            self._users[self._number] = self._users.get(self._number, 0) + 1
            return self._number, current

    def give_back(self, number: int) -> None:
        with self._lock:
            self._users[number] -= 1
            self._close_unused()

    def _close_unused(self) -> None:
        for number in [n for n in self._open if n != self._number and not self._users.get(n)]:
            self._open.pop(number).close()


class OutputLog:
    """One attempt's output. Written by its pump and, for a warning, by its deadlines: in one thread."""

    def __init__(self, folder: Path, config: Config, segments: Segments, attempt: int) -> None:
        self._folder, self._config, self._segments, self._attempt = folder, config, segments, attempt
        self._head_limit = max(config.log_cap // 2, 1)
        self._piece_limit = max(config.log_cap // 8, 1)
        self._segment: tuple[int, DataFile] | None = None
        self._first = self._last = 0
        self._own: dict[int, DataFile] = {}
        self._kept_before = 0  # in segment and head
        self.seen = 0
        self.lost = 0

    def write(self, stream: int, chunk: bytes) -> None:
        self.seen += len(chunk)
        while chunk:
            try:
                taken = self._write_some(stream, chunk)
            except OSError:  # full disk, too many files: the job goes on, its bytes are counted
                self.lost += len(chunk)
                return
            chunk = chunk[taken:]

    def _write_some(self, stream: int, chunk: bytes) -> int:
        in_segment = min(self._config.own_file, self._head_limit) - self._kept_before
        if in_segment > 0:
            return self._to_segment(stream, chunk[:in_segment])
        in_head = self._head_limit - self._kept_before
        if in_head > 0:
            return self._to_head(stream, chunk[:in_head])
        return self._to_ring(stream, chunk)

    def _to_segment(self, stream: int, part: bytes) -> int:
        fresh = self._segment is None
        if self._segment is None:
            self._segment = self._segments.take()
        record = self._segment[1].append(self._attempt, stream, part)
        if fresh or self._last < self._first:
            self._first = record
        self._last = record
        self._kept_before += len(part)
        return len(part)

    def _to_head(self, stream: int, part: bytes) -> int:
        self._piece(0).append(self._attempt, stream, part)
        self._kept_before += len(part)
        return len(part)

    def _to_ring(self, stream: int, chunk: bytes) -> int:
        number = max([*self._own, 1])
        room = self._piece_limit - self._piece(number).size
        if room <= 0:
            number += 1
            room = self._piece_limit
            self._drop_oldest()
        part = chunk[:room]
        self._piece(number).append(self._attempt, stream, part)
        return len(part)

    def _drop_oldest(self) -> None:
        ring = sorted(number for number in self._own if number > 0)
        if len(ring) >= RING_PIECES:
            oldest = self._own.pop(ring[0])
            self.lost += oldest.size
            oldest.close(remove=True)

    def _piece(self, number: int) -> DataFile:
        if number not in self._own:
            self._own[number] = DataFile(self._folder, f"a-{self._attempt}-{number}")
        return self._own[number]

    def close(self) -> dict[str, object] | None:
        """The reference for the exit message; None without output."""
        for piece in self._own.values():
            piece.close()
        if self._segment is not None:
            self._segments.give_back(self._segment[0])
        if not self.seen:
            return None
        return {
            "worker": self._config.worker,
            "segment": self._segment[0] if self._segment and self._kept_before else None,
            "first": self._first,
            "last": self._last,
            "own": sorted(self._own),
            "bytes": self.seen,
            "lost": self.lost,
        }
