"""Questions that are answered once: every query runs on a thread, and shows only what is committed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request

from engine.api.protocol import (
    Events,
    Live,
    Problem,
    QueueName,
    RunDetail,
    Runs,
    StatusView,
    TaskDetail,
    Tasks,
    Workflows,
    WorkflowView,
)
from engine.api.surface import EngineSurface, Row
from engine.api.wire import parse_id, show_id, to_wire
from engine.model.lifecycle import RunState, TaskState

PAGE = 1000
MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem}, 422: {"model": Problem}}

reads = APIRouter(responses={422: {"model": Problem}})


def runtime_of(request: Request) -> EngineSurface:
    found: EngineSurface = request.app.state.runtime
    return found


def run_number(run: str) -> int:
    return parse_id("run", run)


def task_number(task: str) -> int:
    return parse_id("task", task)


Engine = Annotated[EngineSurface, Depends(runtime_of)]
RunNumber = Annotated[int, Depends(run_number)]
TaskNumber = Annotated[int, Depends(task_number)]
Limit = Annotated[int, Query(ge=1, le=PAGE)]


def must(row: Row | None, what: str) -> Row:
    if row is None:
        raise HTTPException(404, f"there is no {what}")
    return row


def row_id(row: Row, kind: str) -> int:
    return int(row["id"] if "id" in row else row[kind])


@reads.get("/status", response_model=StatusView)
async def status(engine: Engine) -> Row:
    return to_wire(engine.status())


@reads.get("/health/live", response_model=Live)
async def live() -> Row:
    """The loop turns."""
    return {"status": "live"}


@reads.get("/health/ready", response_model=Live, responses={503: {"model": Problem}})
async def ready(engine: Engine) -> Row:
    """The engine takes new work; not while it drains or stops."""
    state = engine.status()["state"]
    if state != "running":
        raise HTTPException(503, f"the engine is {state}")
    return {"status": "ready"}


@reads.get("/workflows", response_model=Workflows)
async def workflows(engine: Engine) -> Row:
    return {"items": [to_wire(row) for row in await asyncio.to_thread(engine.read.workflows)]}


@reads.get("/workflows/{name:path}", response_model=WorkflowView, responses=MISSING)
async def workflow(engine: Engine, name: str) -> Row:
    return to_wire(must(await asyncio.to_thread(engine.read.workflow, name), f"workflow {name}"))


@reads.get("/runs", response_model=Runs)
async def runs(
    engine: Engine,
    workflow: str | None = None,
    state: RunState | None = None,
    limit: Limit = 100,
    before: str | None = None,
) -> Row:
    """The newest first; `next` is the `before` of the following page."""
    edge = None if before is None else parse_id("run", before)
    rows = await asyncio.to_thread(engine.read.runs, workflow=workflow, state=state, limit=limit, before=edge)
    following = show_id("run", row_id(rows[-1], "run")) if len(rows) == limit else None
    return {"items": [to_wire(row, "run") for row in rows], "next": following}


@reads.get("/runs/{run}", response_model=RunDetail, responses=MISSING)
async def run_detail(engine: Engine, run: RunNumber) -> Row:
    return await asyncio.to_thread(_run_detail, engine, run)


def _run_detail(engine: EngineSurface, run: int) -> Row:
    shown = to_wire(must(engine.read.run(run), f"run r{run}"), "run")
    shown["rounds"] = [to_wire(row) for row in engine.read.rounds(run)]
    shown["edges"] = [to_wire(edge) if isinstance(edge, dict) else list(edge) for edge in engine.read.edges(run)]
    if not isinstance(shown.get("counts"), dict):
        shown["counts"] = _counts(engine, run)
    return shown


def _counts(engine: EngineSurface, run: int) -> dict[str, int]:
    """Tasks by state: of each job and item only the latest round's."""
    latest: dict[tuple[str, int | None], Row] = {}
    after: int | None = None
    while True:
        rows = engine.read.tasks(run=run, limit=PAGE, after=after)
        for row in rows:
            slot = (row["job"], row.get("item"))
            if slot not in latest or latest[slot].get("round", 0) <= row.get("round", 0):
                latest[slot] = row
        if len(rows) < PAGE:
            return dict(Counter(str(row["state"]) for row in latest.values()))
        after = row_id(rows[-1], "task")


@reads.get("/runs/{run}/tasks", response_model=Tasks, responses=MISSING)
async def run_tasks(
    engine: Engine,
    run: RunNumber,
    state: TaskState | None = None,
    queue: QueueName | None = None,
    job: str | None = None,
    limit: Limit = PAGE,
    after: str | None = None,
) -> Row:
    """In the order they were made; `next` is the `after` of the following page."""
    edge = None if after is None else parse_id("task", after)
    must(await asyncio.to_thread(engine.read.run, run), f"run r{run}")
    rows = await asyncio.to_thread(
        engine.read.tasks, run=run, state=state, queue=queue, job=job, limit=limit, after=edge
    )
    following = show_id("task", row_id(rows[-1], "task")) if len(rows) == limit else None
    return {"items": [to_wire(row, "task") for row in rows], "next": following}


@reads.get("/tasks/{task}", response_model=TaskDetail, responses=MISSING)
async def task_detail(engine: Engine, task: TaskNumber) -> Row:
    row = to_wire(must(await asyncio.to_thread(engine.read.task, task), f"task t{task}"), "task")
    rows = await asyncio.to_thread(engine.read.attempts, task)
    return {**row, "history": [to_wire(attempt, "attempt") for attempt in rows]}


@reads.get("/events", response_model=Events)
async def events(
    engine: Engine,
    since: Annotated[int, Query(ge=0)] = 0,
    limit: Limit = PAGE,
    run: str | None = None,
    kind: str | None = None,
) -> Row:
    """Committed events after revision `since`, oldest first; `next` is the `since` of the following page."""
    number = None if run is None else parse_id("run", run)
    rows = await asyncio.to_thread(engine.read.events, since=since, limit=limit, run=number, kind=kind)
    following = rows[-1]["rev"] if len(rows) == limit else None
    return {"items": [to_wire(row) for row in rows], "next": following}
