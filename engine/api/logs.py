"""Reads an attempt's output for the door: whole, its tail, or as it grows. Files are read on a thread, piece by piece,
so that a large log never stands in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import islice

from fastapi import HTTPException

from engine.api.surface import Chunk, EngineSurface, Row
from engine.model.lifecycle import TaskState

POLL_S = 0.2
_BATCH = 64  # chunks a thread reads before it hands over
_NAMES = {1: "out", 2: "err", "out": "out", "err": "err", "stdout": "out", "stderr": "err"}


@dataclass(frozen=True)
class LogRequest:
    engine: EngineSurface
    task: int
    attempt: Row | None
    stream: str
    tail_bytes: int | None
    stopping: asyncio.Event
    whole_lines: bool = False  # whether a tail starts where a line does, if it holds the start of one


async def find_attempt(
    engine: EngineSurface, task: int, number: int | None, wait: bool, stopping: asyncio.Event
) -> Row | None:
    """The attempt of that number, or the latest. With `wait`, a task that may still start is waited for."""
    while True:
        known = await asyncio.to_thread(engine.read.task, task)
        if known is None:
            raise HTTPException(404, f"there is no task t{task}")
        row = await asyncio.to_thread(_attempt, engine, task, number)
        if row is not None:
            return row
        if number is not None and not wait:
            raise HTTPException(404, f"task t{task} has no attempt {number}")
        if not wait or TaskState(known["state"]).is_final or await _pause(stopping):
            return None


def _attempt(engine: EngineSurface, task: int, number: int | None) -> Row | None:
    if number is None:
        return engine.read.latest_attempt(task)
    return next((row for row in engine.read.attempts(task) if row["number"] == number), None)


async def _pause(stopping: asyncio.Event) -> bool:
    """Waits for one beat; true when the server stops."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), POLL_S)
    return stopping.is_set()


def _chunks(asked: LogRequest, row: Row, start: int) -> Iterator[Chunk]:
    if row.get("ended_us") is not None and row.get("log") is None:
        return iter(())  # it ended without output; there is nothing to look for
    number = int(row["id"] if "id" in row else row["attempt"])
    return asked.engine.logs.chunks(row.get("log"), number, row["worker"], start)


def _shown(asked: LogRequest, chunk: Chunk) -> bytes:
    return chunk.data if asked.stream in ("all", _NAMES.get(chunk.stream)) else b""


async def whole(asked: LogRequest) -> AsyncIterator[bytes]:
    if asked.attempt is None:
        return
    if asked.tail_bytes is not None:
        tail, _ = await asyncio.to_thread(_tail, asked, asked.attempt)
        yield tail
        return
    async for chunk in _batched(_chunks(asked, asked.attempt, 0)):
        yield _shown(asked, chunk)


def _tail(asked: LogRequest, row: Row) -> tuple[bytes, int]:
    """The last bytes wanted, and the offset after the last byte seen."""
    want = asked.tail_bytes or 0
    kept: deque[bytes] = deque()
    held = end = seen = 0
    for chunk in _chunks(asked, row, 0):
        end = chunk.offset + len(chunk.data)
        kept.append(_shown(asked, chunk))
        held += len(kept[-1])
        seen += len(kept[-1])
        while kept and held - len(kept[0]) > want:  # one byte more than wanted: it says whether a line starts there
            held -= len(kept.popleft())
    joined = b"".join(kept)
    tail = joined[-want:] if want else b""
    if asked.whole_lines and seen > want and not joined[: -len(tail)].endswith(b"\n"):
        tail = tail.partition(b"\n")[2] or tail
    return tail, end


async def _batched(chunks: Iterator[Chunk]) -> AsyncIterator[Chunk]:
    while batch := await asyncio.to_thread(lambda: list(islice(chunks, _BATCH))):
        for chunk in batch:
            yield chunk


async def follow(asked: LogRequest) -> AsyncIterator[bytes]:
    """Everything up to now (or its tail), then what comes, until the attempt has ended and all of it is sent."""
    row, offset = asked.attempt, 0
    if row is not None and asked.tail_bytes is not None:
        tail, offset = await asyncio.to_thread(_tail, asked, row)
        yield tail
    while row is not None:
        ended = row.get("ended_us") is not None  # looked at before reading, so that the last bytes are not missed
        async for chunk in _batched(_chunks(asked, row, offset)):
            offset = chunk.offset + len(chunk.data)
            yield _shown(asked, chunk)
        if ended or await _pause(asked.stopping):
            return
        row = await asyncio.to_thread(_attempt, asked.engine, asked.task, int(row["number"]))
