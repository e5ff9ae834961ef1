"""Owns the bytes on disk of attempts' output: index records and data files, as the worker wrote them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from engine.model.workflow import Json

RECORD = struct.Struct("<QBxxxIQQ")
PIECE_BYTES = 1024 * 1024
_READ_RECORDS = 8192


@dataclass(frozen=True)
class Record:
    """`length` bytes of one stream at `position` of a data file."""

    data: Path
    position: int
    length: int
    stream: int
    time_us: int


@dataclass(frozen=True)
class Reference:
    """A finished attempt's place in its worker's folder (REF of the protocol), checked."""

    segment: int | None = None
    first: int = 0
    last: int = -1
    own: tuple[int, ...] = ()
    total: int = 0

    @classmethod
    def read(cls, ref: dict[str, Json]) -> Reference:
        numbers = {name: _number(ref.get(name)) for name in ("segment", "first", "last", "bytes")}
        own = ref.get("own")
        files = [_number(item) for item in own] if isinstance(own, list) else []
        first, last = numbers["first"], numbers["last"]
        return cls(
            segment=numbers["segment"],
            first=first if first is not None else 0,
            last=last if last is not None else -1,
            own=tuple(sorted(item for item in files if item is not None)),
            total=numbers["bytes"] or 0,
        )


def _number(value: Json) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def segment_file(folder: Path, number: int) -> Path:
    return folder / f"seg-{number}.log"


def own_file(folder: Path, attempt: int, number: int) -> Path:
    return folder / f"a-{attempt}-{number}.log"


def segments(folder: Path) -> list[int]:
    return _numbers(folder, "seg-*.idx", re.compile(r"seg-(\d+)\.idx"))


def own_files(folder: Path, attempt: int) -> list[int]:
    return _numbers(folder, f"a-{attempt}-*.idx", re.compile(rf"a-{attempt}-(\d+)\.idx"))


def _numbers(folder: Path, glob: str, pattern: re.Pattern[str]) -> list[int]:
    return sorted(int(found[1]) for item in folder.glob(glob) if (found := pattern.fullmatch(item.name)))


def records(data: Path, attempt: int, first: int = 0, last: int | None = None) -> Iterator[Record]:
    """The attempt's records of one data file, in order. A torn last record is one that is not there yet."""
    count = None if last is None else max(0, last - first + 1)
    for number, stream, length, position, time_us in islice(_unpacked(data.with_suffix(".idx"), first), count):
        if number == attempt:
            yield Record(data, position, length, stream, time_us)


def attempts(data: Path) -> set[int]:
    """Whose records a data file holds."""
    return {number for number, *_ in _unpacked(data.with_suffix(".idx"), 0)}


def _unpacked(index: Path, first: int) -> Iterator[tuple[int, int, int, int, int]]:
    try:
        stream = index.open("rb")
    except FileNotFoundError:
        return
    with stream:
        stream.seek(first * RECORD.size)
        while block := stream.read(_READ_RECORDS * RECORD.size):
            yield from RECORD.iter_unpack(block[: len(block) - len(block) % RECORD.size])


def pieces(record: Record, skip: int) -> Iterator[bytes]:
    """A record's bytes after the first `skip`, in bounded pieces; fewer than promised if the data file is short."""
    try:
        stream = record.data.open("rb")
    except FileNotFoundError:
        return
    with stream:
        stream.seek(record.position + skip)
        left = record.length - skip
        while left > 0 and (piece := stream.read(min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece


def remove(data: Path) -> None:
    data.unlink(missing_ok=True)
    data.with_suffix(".idx").unlink(missing_ok=True)
