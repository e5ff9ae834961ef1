"""What an operator asks for: each route makes one engine request and shows the engine's reply, after the commit."""

from __future__ import annotations

import re
from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from fastapi import Request as HttpRequest

from engine.api.peers import actor_of
from engine.api.protocol import (
    CommandBody,
    KillBody,
    Problem,
    QueueName,
    ReplyView,
    RetryBody,
    RunBody,
    StopBody,
    WhyBody,
)
from engine.api.routes_read import Engine, RunNumber, TaskNumber
from engine.api.surface import EngineSurface, Row
from engine.api.wire import to_wire
from engine.model.requests import (
    AddCommand,
    CancelRun,
    KillTask,
    Request,
    RetryRun,
    RunWorkflow,
    SetQueue,
    StopEngine,
)

_PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (404, 409, 413, 422, 503)}
_CODES = {"missing": 404, "refused": 409}

writes = APIRouter(responses=_PROBLEMS)


async def _ask(engine: EngineSurface, http: HttpRequest, request: Request) -> Row:
    reply = await engine.handle(request, actor_of(http))
    if reply.status in _CODES:
        # The engine may name a thing by its id alone; here it is said as the questions say it.
        raise HTTPException(_CODES[reply.status], re.sub(r"^there is no (?=t[0-9]+$)", "there is no task ", reply.why))
    return {"status": reply.status, "why": reply.why, "data": to_wire(reply.data)}


@writes.post("/runs", response_model=ReplyView)
async def run_workflow(engine: Engine, http: HttpRequest, body: RunBody) -> Row:
    asked = RunWorkflow(body.request_id, body.workflow, body.file, dict(body.parameters), body.priority)
    return await _ask(engine, http, asked)


@writes.post("/commands", response_model=ReplyView)
async def add_command(engine: Engine, http: HttpRequest, body: CommandBody) -> Row:
    after = tuple((one.run, one.when) for one in body.after)
    asked = AddCommand(body.request_id, tuple(body.argv), body.cwd, body.env, body.name, body.priority, after)
    return await _ask(engine, http, asked)


@writes.post("/runs/{run}/cancel", response_model=ReplyView)
async def cancel_run(engine: Engine, http: HttpRequest, run: RunNumber, body: WhyBody) -> Row:
    return await _ask(engine, http, CancelRun(body.request_id, run, body.why))


@writes.post("/runs/{run}/retry", response_model=ReplyView)
async def retry_run(engine: Engine, http: HttpRequest, run: RunNumber, body: RetryBody) -> Row:
    return await _ask(engine, http, RetryRun(body.request_id, run, tuple(body.tasks), body.why))


@writes.post("/tasks/{task}/kill", response_model=ReplyView)
async def kill_task(engine: Engine, http: HttpRequest, task: TaskNumber, body: KillBody) -> Row:
    return await _ask(engine, http, KillTask(body.request_id, task, body.grace_seconds, body.why))


@writes.post("/queues/{name}/{verb}", response_model=ReplyView)
async def set_queue(
    engine: Engine, http: HttpRequest, name: QueueName, verb: Literal["pause", "resume", "drain"], body: WhyBody
) -> Row:
    """`drain` lets what is queued finish and takes nothing new; `resume` ends both a pause and a drain."""
    paused, draining = {"pause": (True, None), "resume": (False, False), "drain": (None, True)}[verb]
    return await _ask(engine, http, SetQueue(body.request_id, name, paused, draining, body.why))


@writes.post("/stop", response_model=ReplyView)
async def stop_engine(engine: Engine, http: HttpRequest, body: StopBody) -> Row:
    return await _ask(engine, http, StopEngine(body.request_id, body.mode, body.why))
