"""Answers that go on: the event stream (server-sent events) and task logs. Both end when the server stops."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from engine.api.logs import LogRequest, find_attempt, follow, whole
from engine.api.routes_read import MISSING, PAGE, Engine, TaskNumber
from engine.api.surface import EngineSurface, Row, Subscription
from engine.api.wire import parse_id, to_wire

PING_S = 5.0

streams = APIRouter(responses={422: MISSING[422]})


@streams.get("/events/stream", response_class=StreamingResponse)
async def event_stream(
    engine: Engine,
    request: Request,
    since: Annotated[int, Query(ge=0)] = 0,
    run: str | None = None,
    last_event_id: Annotated[int | None, Header(ge=0)] = None,
) -> StreamingResponse:
    """Events after revision `since` (or the Last-Event-ID header), first from the record, then live, without gap or
    double. A `gap` event ends the stream of a reader that was too slow: catch up by asking again from its `since`."""
    number = None if run is None else parse_id("run", run)
    begin = since if last_event_id is None else last_event_id
    feed = _Feed(engine, begin, number, request.app.state.stopping)
    return StreamingResponse(feed.lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


class _Feed:
    """One reader's way through the events: `rev` is the last revision it was given."""

    def __init__(self, engine: EngineSurface, since: int, run: int | None, stopping: asyncio.Event) -> None:
        self._engine, self._run, self._stopping = engine, run, stopping
        self._rev = since

    async def lines(self) -> AsyncIterator[str]:
        # Subscribed before the record is read: what is committed in between comes twice, and is dropped by its rev.
        subscription = self._engine.subscribe()
        try:
            yield _sse("hello", {"since": self._rev})
            async for row in self._recorded():
                yield self._show(row)
            async for line in self._live(subscription):
                yield line
        finally:
            subscription.close()

    async def _recorded(self) -> AsyncIterator[Row]:
        while not self._stopping.is_set():
            rows = await asyncio.to_thread(self._engine.read.events, since=self._rev, limit=PAGE, run=self._run)
            for row in rows:
                yield row
            if len(rows) < PAGE:
                return

    async def _live(self, subscription: Subscription) -> AsyncIterator[str]:
        stop = asyncio.ensure_future(self._stopping.wait())
        batch = asyncio.ensure_future(subscription.next())
        try:
            while not self._stopping.is_set():
                await asyncio.wait({stop, batch}, timeout=PING_S, return_when=asyncio.FIRST_COMPLETED)
                if subscription.gap:
                    yield _sse("gap", {"since": self._rev, "why": "this reader was too slow; ask again from `since`"})
                    return
                if not batch.done():
                    yield _sse("ping", {})
                    continue
                for row in batch.result():
                    if self._wanted(row):
                        yield self._show(row)
                batch = asyncio.ensure_future(subscription.next())
            yield _sse("bye", {"since": self._rev})
        finally:
            for waiting in (stop, batch):
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await waiting

    def _wanted(self, row: Row) -> bool:
        if self._run is not None and row.get("run") != self._run:
            return False
        return row.get("rev") is None or int(row["rev"]) > self._rev

    def _show(self, row: Row) -> str:
        rev = row.get("rev")
        if rev is not None:
            self._rev = int(rev)
        return _sse("progress" if rev is None else "event", to_wire(row), rev)


def _sse(name: str, body: Row, rev: int | None = None) -> str:
    number = "" if rev is None else f"id: {rev}\n"
    return f"{number}event: {name}\ndata: {json.dumps(body, separators=(',', ':'), default=str)}\n\n"


@streams.get("/tasks/{task}/log", response_class=StreamingResponse, responses=MISSING)
async def task_log(
    engine: Engine,
    request: Request,
    task: TaskNumber,
    attempt: Annotated[int | None, Query(ge=1)] = None,
    stream: Literal["all", "out", "err"] = "all",
    tail_bytes: Annotated[int | None, Query(ge=0, le=64 * 1024 * 1024)] = None,
    follow_: Annotated[bool, Query(alias="follow")] = False,
    whole_lines: bool = False,
) -> StreamingResponse:
    """The raw bytes of an attempt (by its number; the latest unless said), with `follow` until it has ended."""
    row = await find_attempt(engine, task, attempt, wait=follow_, stopping=request.app.state.stopping)
    asked = LogRequest(engine, task, row, stream, tail_bytes, request.app.state.stopping, whole_lines)
    shown = {"X-Interlock-Attempt": str(row["number"])} if row is not None else {}
    content = follow(asked) if follow_ else whole(asked)
    return StreamingResponse(content, media_type="application/octet-stream", headers=shown)
