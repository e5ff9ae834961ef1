"""A small engine for the tests of the door: rows in lists, the same surface as the runtime, no decisions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.api.client import Client
from engine.api.server import ApiServer, create_app
from engine.model.requests import Reply, Request

Row = dict[str, Any]
T0 = 1_800_000_000_000_000


@dataclass(frozen=True)
class Chunk:
    offset: int
    stream: int
    data: bytes
    time_us: int = T0


class FakeSubscription:
    """Bounded like the real one: beyond `room` batches the reader has a gap."""

    def __init__(self, owner: FakeRuntime, room: int) -> None:
        self.gap, self.room, self._owner = False, room, owner
        self._batches: asyncio.Queue[list[Row]] = asyncio.Queue()

    def offer(self, batch: list[Row]) -> None:
        self.gap = self.gap or self._batches.qsize() >= self.room
        self._batches.put_nowait(batch)

    async def next(self) -> list[Row]:
        return await self._batches.get()

    def close(self) -> None:
        self._owner.subscriptions.remove(self)


class FakeRead:
    """The queries the server asks, over lists."""

    def __init__(self) -> None:
        self.run_rows: list[Row] = []
        self.task_rows: list[Row] = []
        self.attempt_rows: list[Row] = []
        self.round_rows: list[Row] = []
        self.event_rows: list[Row] = []

    def workflows(self) -> list[Row]:
        return [{"name": "nightly", "path": "jobs.d/nightly.yaml", "state": "active", "changed_us": T0}]

    def workflow(self, name: str) -> Row | None:
        return next((row for row in self.workflows() if row["name"] == name), None)

    def runs(
        self, workflow: str | None = None, state: str | None = None, limit: int = 100, before: int | None = None
    ) -> list[Row]:
        found = [r for r in self.run_rows if workflow in (None, r["workflow"]) and state in (None, r["state"])]
        return [r for r in reversed(found) if before is None or r["id"] < before][:limit]

    def run(self, run: int) -> Row | None:
        return next((row for row in self.run_rows if row["id"] == run), None)

    def tasks(
        self,
        run: int | None = None,
        state: str | None = None,
        queue: str | None = None,
        job: str | None = None,
        limit: int = 1000,
        after: int | None = None,
    ) -> list[Row]:
        wanted = {"run": run, "state": state, "queue": queue, "job": job}
        found = [row for row in self.task_rows if all(v in (None, row[k]) for k, v in wanted.items())]
        return [row for row in found if after is None or row["id"] > after][:limit]

    def task(self, task: int) -> Row | None:
        return next((row for row in self.task_rows if row["id"] == task), None)

    def attempts(self, task: int) -> list[Row]:
        return [row for row in self.attempt_rows if row["task"] == task]

    def latest_attempt(self, task: int) -> Row | None:
        return (self.attempts(task) or [None])[-1]

    def edges(self, run: int) -> list[Any]:
        return [{"run": run, "job": "scan", "needed": "unpack", "condition": "succeeded"}]

    def rounds(self, run: int) -> list[Row]:
        return [row for row in self.round_rows if row["run"] == run]

    def events(self, since: int = 0, limit: int = 1000, run: int | None = None, kind: str | None = None) -> list[Row]:
        found = [e for e in self.event_rows if run in (None, e["run"]) and kind in (None, e["kind"])]
        return [event for event in found if event["rev"] > since][:limit]


class FakeLogs:
    """Chunks by attempt id."""

    def __init__(self) -> None:
        self.kept: dict[int, list[Chunk]] = {}

    def write(self, attempt: int, data: bytes, stream: int = 1) -> None:
        held = self.kept.setdefault(attempt, [])
        held.append(Chunk(sum(len(c.data) for c in held), stream, data))

    def chunks(self, ref: Any, attempt: int, worker: str, start: int = 0) -> Iterator[Chunk]:
        return iter([chunk for chunk in self.kept.get(attempt, []) if chunk.offset >= start])


@dataclass
class FakeRuntime:
    """Records what it was asked, and answers `reply` (or raises it)."""

    read: FakeRead = field(default_factory=FakeRead)
    logs: FakeLogs = field(default_factory=FakeLogs)
    asked: list[tuple[Request, str]] = field(default_factory=list)
    reply: Reply | Exception = field(default_factory=lambda: Reply("done", data={"run": 12, "round": 1}))
    state: str = "running"
    room: int = 100
    root: str = "/somewhere"
    subscriptions: list[FakeSubscription] = field(default_factory=list)
    on_request: Any = None

    async def handle(self, request: Request, actor: str) -> Reply:
        self.asked.append((request, actor))
        if self.on_request is not None:
            self.on_request(request)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    def status(self) -> Row:
        queue = {"slots": 4, "running": 1, "ready": 2, "waiting": 3, "paused": False, "draining": False}
        return {
            "pid": 4242,
            "epoch": 3,
            "root": self.root,
            "version": "0.1.0",
            "state": self.state,
            "revision": len(self.read.event_rows),
            "queues": {"dependent": queue, "independent": dict(queue)},
            "workers": [{"worker": "w-3-1", "state": "connected", "pid": 7, "slots": 8, "changed_us": T0}],
            "lending": True,
            "started_us": T0,
            "problems": [],
        }

    def subscribe(self) -> FakeSubscription:
        made = FakeSubscription(self, self.room)
        self.subscriptions.append(made)
        return made

    def add_run(self, run: int, state: str = "running", workflow: str = "nightly") -> None:
        ended = T0 if state in ("succeeded", "failed", "cancelled") else None
        row = {"id": run, "workflow": workflow, "state": state, "round": 1, "parameters": {"at_us": 1}}
        self.read.run_rows.append({**row, "created_us": T0, "started_us": T0, "ended_us": ended, "reason": ""})
        self.read.round_rows.append({"run": run, "round": 1, "state": state if ended else None, "ended_us": ended})

    def add_task(self, task: int, run: int, job: str, state: str = "running", **more: Any) -> None:
        row = {"id": task, "run": run, "job": job, "item": None, "round": 1, "state": state, "attempts": 1}
        row |= {"queue": "independent", "reason": "", "message": "", "priority": 0, "output": None, "created_us": T0}
        self.read.task_rows.append({**row, **more})

    def add_attempt(self, attempt: int, task: int, number: int = 1, ended: bool = True) -> Row:
        row = {"id": attempt, "task": task, "number": number, "worker": "w-3-1", "started_us": T0}
        row |= {"ended_us": T0 if ended else None, "log": {"segment": 0} if ended else None, "outcome": None}
        self.read.attempt_rows.append(row)
        return row

    def commit(self, *events: Row) -> None:
        """Records events as the store does, and tells the subscribers."""
        rows = []
        for event in events:
            rev = len(self.read.event_rows) + 1
            rows.append({"rev": rev, "at_us": T0, "run": None, "task": None, "data": {}, "why": "", **event})
            self.read.event_rows.append(rows[-1])
        self.tell(rows)

    def tell(self, rows: list[Row]) -> None:
        for subscription in self.subscriptions:
            subscription.offer(rows)

    def end_run(self, run: int, state: str) -> None:
        row = self.read.run(run)
        assert row is not None
        row.update(state=state, ended_us=T0)
        self.read.rounds(run)[-1].update(state=state, ended_us=T0)
        self.commit({"kind": "run.ended", "run": run, "data": {"state": state, "round": 1}})


@contextlib.asynccontextmanager
async def serving(runtime: FakeRuntime, folder: Path) -> AsyncIterator[Client]:
    """The real server on a real socket in `folder`, and the real client."""
    server = ApiServer(create_app(runtime), folder)
    await server.start()
    try:
        async with Client(folder) as client:
            yield client
    finally:
        await server.stop()
