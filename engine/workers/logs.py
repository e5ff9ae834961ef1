"""Owns reading and removing attempts' output: raw bytes with times and streams, wherever the worker put them."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from engine.model.workflow import Json
from engine.workers import log_files
from engine.workers.folder import remove_if_empty, worker_folder
from engine.workers.log_files import Record, Reference

GAP, OUT, ERR = 0, 1, 2
LONGEST_LINE_BYTES = 64 * 1024


@dataclass(frozen=True)
class LogChunk:
    """Bytes of one stream; `offset` counts the attempt's own bytes, lost ones included. A gap (stream 0) has no data
    and says in `lost` how many bytes are missing, or -1 when nobody knows."""

    offset: int
    time_us: int
    stream: int
    data: bytes
    lost: int = 0


@dataclass(frozen=True)
class LogMatch:
    """A line that holds the pattern; a line beyond 64 KiB is searched in parts of that length."""

    offset: int
    time_us: int
    stream: int
    line: bytes


@dataclass(frozen=True)
class _Hole:
    """Bytes that once were between two files; -1 when their number is unknown."""

    length: int


class LogReader:
    def __init__(self, state: Path) -> None:
        self._state = state

    def chunks(self, ref: dict[str, Json] | None, attempt: int, worker: str, start: int = 0) -> Iterator[LogChunk]:
        """The attempt's output from byte `start` on: of a finished attempt by its ref, of a running one as far as it is
        written. Nothing is kept open between two calls, so a follower calls again with the next offset."""
        offset = 0
        for part in self._parts(ref, attempt, worker):
            if isinstance(part, _Hole):
                if offset + max(part.length, 0) > start or part.length < 0:
                    yield LogChunk(offset, 0, GAP, b"", part.length)
                offset += max(part.length, 0)
            else:
                if offset + part.length > start:
                    yield from self._read(part, offset, max(0, start - offset))
                offset += part.length

    def _read(self, record: Record, offset: int, skip: int) -> Iterator[LogChunk]:
        place, end = offset + skip, offset + record.length
        for data in log_files.pieces(record, skip):
            yield LogChunk(place, record.time_us, record.stream, data)
            place += len(data)
        if place < end:
            yield LogChunk(place, record.time_us, GAP, b"", end - place)

    def _parts(self, ref: dict[str, Json] | None, attempt: int, worker: str) -> Iterator[Record | _Hole]:
        folder = worker_folder(self._state, worker)
        if ref is None:
            yield from self._running(folder, attempt)
            return
        known = Reference.read(ref)
        head = list(self._head(folder, attempt, known))
        tail = [item for number in known.own if number for item in self._own(folder, attempt, number)]
        yield from head
        missing = known.total - sum(item.length for item in (*head, *tail))
        if missing > 0:  # cut by the cap, or a file is gone: either way they were before the tail
            yield _Hole(missing)
        yield from tail

    def _head(self, folder: Path, attempt: int, known: Reference) -> Iterator[Record]:
        if known.segment is not None:
            data = log_files.segment_file(folder, known.segment)
            yield from log_files.records(data, attempt, known.first, known.last)
        if 0 in known.own:
            yield from self._own(folder, attempt, 0)

    def _running(self, folder: Path, attempt: int) -> Iterator[Record | _Hole]:
        """Found by looking. Files the worker has already removed are counted as long as the oldest one that is left:
        all but the newest have the same length, within one write."""
        for number in log_files.segments(folder):
            yield from log_files.records(log_files.segment_file(folder, number), attempt)
        expected = 0
        for number in log_files.own_files(folder, attempt):
            found = list(self._own(folder, attempt, number))
            if number > expected:
                length = sum(item.length for item in found)
                yield _Hole((number - expected) * length if expected else -1)
            yield from found
            expected = number + 1

    def _own(self, folder: Path, attempt: int, number: int) -> Iterator[Record]:
        return log_files.records(log_files.own_file(folder, attempt, number), attempt)

    def size(self, ref: dict[str, Json] | None, attempt: int, worker: str) -> int:
        """Bytes seen so far, lost ones included; reads only indexes."""
        return sum(max(part.length, 0) for part in self._parts(ref, attempt, worker))

    def tail(self, ref: dict[str, Json] | None, attempt: int, worker: str, max_bytes: int) -> list[LogChunk]:
        """The last `max_bytes`, however much a running attempt writes meanwhile."""
        start = max(0, self.size(ref, attempt, worker) - max_bytes)
        kept: deque[LogChunk] = deque()
        held = 0
        for chunk in self.chunks(ref, attempt, worker, start):
            kept.append(chunk)
            held += len(chunk.data)
            while held - len(kept[0].data) >= max_bytes and len(kept) > 1:
                held -= len(kept.popleft().data)
        excess = held - max_bytes
        if kept and excess > 0:
            first = kept.popleft()
            kept.appendleft(_cut(first, excess, len(first.data)))
        return list(kept)

    def range(
        self, ref: dict[str, Json] | None, attempt: int, worker: str, start: int, stop: int
    ) -> Iterator[LogChunk]:
        """The bytes from `start` up to, without, `stop`."""
        for chunk in self.chunks(ref, attempt, worker, start):
            if chunk.offset >= stop:
                return
            yield _cut(chunk, 0, stop - chunk.offset)

    def search(
        self, ref: dict[str, Json] | None, attempt: int, worker: str, pattern: bytes, limit: int | None = None
    ) -> Iterator[LogMatch]:
        """Lines of either stream that hold `pattern` (bytes, no expression), in the order in which they end."""
        return islice((line for line in self._lines(ref, attempt, worker) if pattern in line.line), limit)

    def _lines(self, ref: dict[str, Json] | None, attempt: int, worker: str) -> Iterator[LogMatch]:
        """Lines of each stream, each with the offset and time of its first byte; a gap ends a line."""
        open_lines: dict[int, LogMatch] = {}
        for chunk in self.chunks(ref, attempt, worker):
            if chunk.stream == GAP:
                yield from open_lines.values()
                open_lines.clear()
                continue
            yield from _split(open_lines, chunk)
        yield from open_lines.values()

    def remove(self, worker: str, attempt: int, segment: int | None = None, running: Collection[int] = ()) -> None:
        """For retention: the attempt's own files go. Name `segment` when no finished attempt refers to it any more; it
        stays while one of the `running` wrote to it or while a living worker may still use it for new ones."""
        folder = worker_folder(self._state, worker)
        if not folder.is_dir():
            return
        for number in log_files.own_files(folder, attempt):
            log_files.remove(log_files.own_file(folder, attempt, number))
        if segment is not None and not _in_use(folder, segment, running):
            log_files.remove(log_files.segment_file(folder, segment))
        remove_if_empty(folder)


def _in_use(folder: Path, segment: int, running: Collection[int]) -> bool:
    if (folder / "spool").exists() and segment == max(log_files.segments(folder), default=None):
        return True
    return not log_files.attempts(log_files.segment_file(folder, segment)).isdisjoint(running)


def _cut(chunk: LogChunk, start: int, stop: int) -> LogChunk:
    if chunk.stream == GAP:
        return chunk
    return LogChunk(chunk.offset + start, chunk.time_us, chunk.stream, chunk.data[start:stop])


def _split(open_lines: dict[int, LogMatch], chunk: LogChunk) -> Iterator[LogMatch]:
    place = chunk.offset
    for part in _by_newline(chunk.data):
        held = open_lines.pop(chunk.stream, None)
        line = LogMatch(place, chunk.time_us, chunk.stream, part)
        if held:
            line = LogMatch(held.offset, held.time_us, held.stream, held.line + part)
        place += len(part)
        if part.endswith(b"\n"):
            yield LogMatch(line.offset, line.time_us, line.stream, line.line.rstrip(b"\r\n"))
        elif len(line.line) >= LONGEST_LINE_BYTES:
            yield line
        else:
            open_lines[chunk.stream] = line


def _by_newline(data: bytes) -> list[bytes]:
    *whole, last = data.split(b"\n")
    return [line + b"\n" for line in whole] + ([last] if last else [])
