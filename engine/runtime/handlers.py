"""What each operator request does: looks up what it needs off the loop, then decides inside a turn. A refused
request is an event too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from engine.jobfiles.load import load_file
from engine.kernel import acts
from engine.kernel.decisions import Decisions
from engine.kernel.runs import Submission, release_held, restore, retry, submit
from engine.model.changes import EventAdded
from engine.model.lifecycle import Reason, RunState
from engine.model.requests import (
    AddCommand,
    CancelRun,
    KillTask,
    Reply,
    Request,
    RetryRun,
    RunWorkflow,
    SetQueue,
    StopEngine,
)
from engine.model.stored import StoredRun
from engine.model.workflow import Command, Condition, Job, Workflow

if TYPE_CHECKING:
    from engine.runtime.loop import Runtime

Decide = Callable[[Decisions, int], Reply]

AD_HOC = "ad-hoc"


async def prepare(runtime: Runtime, request: Request, actor: str) -> Decide:
    """Does the slow part (files, rows) and returns the decision to make inside a turn."""
    if not _is_storable(request):
        return lambda out, now: Reply("refused", "the request holds text that is not UTF-8; nothing was done")
    match request:
        case RunWorkflow():
            return await _prepare_run(runtime, request, actor)
        case AddCommand():
            return await _prepare_add(runtime, request, actor)
        case RetryRun():
            return await _prepare_retry(runtime, request, actor)
        case CancelRun():
            return await _prepare_cancel(runtime, request, actor)
        case KillTask():
            return await _prepare_kill(runtime, request, actor)
        case SetQueue():
            return lambda out, now: _set_queue(runtime, out, request, actor, now)
        case StopEngine():
            return lambda out, now: _stop(runtime, out, request, actor, now)


def _is_storable(request: Request) -> bool:
    """False when some text holds half a character (an argument that was not UTF-8): neither the database nor an answer
    takes it, and a decision that fails midway would end the engine."""
    try:
        json.dumps(asdict(request), ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


async def _prepare_run(runtime: Runtime, request: RunWorkflow, actor: str) -> Decide:
    if request.file is not None:
        loaded = await asyncio.to_thread(load_file, Path(request.file), request.file)
        if loaded.workflow is None:
            return _refuse(request, actor, "\n".join(str(problem) for problem in loaded.problems))
        workflow = loaded.workflow
    else:
        entry = runtime.catalog.entries.get(request.workflow or "")
        if entry is None or entry.workflow is None or entry.state == "removed":
            known = (
                ", ".join(
                    sorted(name for name, e in runtime.catalog.entries.items() if e.workflow and e.state != "removed")
                )
                or "none"
            )
            return _missing(f"no workflow named {request.workflow}; known: {known}")
        workflow = entry.workflow
    if unknown := sorted(set(request.parameters) - set(workflow.parameters)):
        allowed = ", ".join(sorted(workflow.parameters)) or "none"
        return _refuse(request, actor, f"{workflow.name} has no parameter {', '.join(unknown)}; it has: {allowed}")
    given = Submission(
        workflow, 0, f"manual:{request.request_id}", actor, dict(request.parameters), {}, request.priority or 0
    )
    return await _prepare_submit(runtime, given, request.file)


async def _prepare_add(runtime: Runtime, request: AddCommand, actor: str) -> Decide:
    ended = []
    for run, when in request.after:
        row = await asyncio.to_thread(runtime.read.run, run)
        if row is None and run not in runtime.state.runs:
            return _missing(f"--after r{run}: there is no such run")
        ended.append((run, when, RunState(row["state"]) if row else RunState.QUEUED))
    name = request.name or AD_HOC
    job = Job(name, Command(request.argv, literal=True), env=dict(request.env), cwd=request.cwd)
    workflow = Workflow(name, (job,), manual=True)
    given = Submission(workflow, 0, f"manual:{request.request_id}", actor, priority=request.priority, after=())
    return await _prepare_submit(runtime, given, None, tuple(ended))


async def _prepare_submit(
    runtime: Runtime,
    given: Submission,
    path: str | None,
    after: tuple[tuple[int, Condition, RunState], ...] = (),
) -> Decide:
    await runtime.learn(given.workflow.name)
    existing = await asyncio.to_thread(runtime.read.run_by_key, given.workflow.name, given.key)

    def decide(out: Decisions, now_us: int) -> Reply:
        if existing is not None:
            return Reply("done", "the same request again", {"run": existing["run"], "round": existing["round"]})
        if runtime.state.draining:
            return Reply("refused", "the engine is draining; ask the next one")
        definition, added = runtime.catalog.define(given.workflow, path, now_us)
        out.changes += added
        current = tuple(
            (run, when, RunState.RUNNING if run in runtime.state.runs else runtime.ended_runs.get(run, ended))
            for run, when, ended in after
        )
        return _submitted(runtime, out, given, definition, current, now_us)

    return decide


def _submitted(
    runtime: Runtime,
    out: Decisions,
    given: Submission,
    definition: int,
    after: tuple[tuple[int, Condition, RunState | None], ...],
    now_us: int,
) -> Reply:
    if run := runtime.fresh_keys.get((given.workflow.name, given.key)):
        return Reply("done", "the same request again", {"run": run, "round": 1})
    submission = Submission(
        given.workflow,
        definition,
        given.key,
        given.actor,
        given.parameters,
        given.trigger,
        given.priority,
        after,
    )
    run_made = submit(runtime.state, out, submission, now_us)
    runtime.remember_key(given.workflow.name, given.key, run_made.id)
    return Reply("done", "", {"run": run_made.id, "round": 1})


async def _prepare_retry(runtime: Runtime, request: RetryRun, actor: str) -> Decide:
    stored = await asyncio.to_thread(runtime.store.load_run, request.run)

    def decide(out: Decisions, now_us: int) -> Reply:
        run = runtime.state.runs.get(request.run)
        if run is not None:
            held = [t for t in run.tasks() if t.reason == Reason.HELD_AFTER_LOSS and _named(t.id, request.tasks)]
            for task in held:
                release_held(runtime.state, out, task, now_us)
            if held:
                return Reply("done", "", {"run": run.id, "round": run.round, "tasks": [t.id for t in held]})
            return Reply("refused", f"r{request.run} has not ended; cancel it first, or wait for it")
        if stored is None:
            return Reply("missing", f"there is no run r{request.run}")
        return _retried(runtime, out, request, stored, actor, now_us)

    return decide


def _named(task: int, named: tuple[int, ...]) -> bool:
    return not named or task in named


def _retried(runtime: Runtime, out: Decisions, request: RetryRun, stored: StoredRun, actor: str, now_us: int) -> Reply:
    if not stored.state.is_final:  # it ended after its rows were read; the same request again will see it
        return Reply("refused", f"r{stored.run} is just ending; ask again")
    run = restore(runtime.state, stored)
    made = retry(runtime.state, out, run, request.tasks, actor, request.why, now_us)
    if not made:
        runtime.state.runs.pop(run.id, None)
        return Reply("refused", f"nothing in r{run.id} failed or was cancelled")
    return Reply("done", "", {"run": run.id, "round": run.round, "tasks": made})


async def _prepare_cancel(runtime: Runtime, request: CancelRun, actor: str) -> Decide:
    row = await asyncio.to_thread(runtime.read.run, request.run)

    def decide(out: Decisions, now_us: int) -> Reply:
        run = runtime.state.runs.get(request.run)
        if run is None:
            return _gone(f"r{request.run}", row)
        touched = acts.cancel_run(runtime.state, out, run, actor, request.why, now_us)
        return Reply("done", "", {"run": request.run, "tasks": touched})

    return decide


async def _prepare_kill(runtime: Runtime, request: KillTask, actor: str) -> Decide:
    row = await asyncio.to_thread(runtime.read.task, request.task)

    def decide(out: Decisions, now_us: int) -> Reply:
        task = runtime.state.tasks.get(request.task)
        if task is None:
            return _gone(f"t{request.task}", row)
        acts.kill_task(runtime.state, out, task, actor, request.why, request.grace_seconds, now_us)
        return Reply("done", "", {"task": request.task, "run": task.run.id})

    return decide


def _gone(shown: str, row: dict[str, object] | None) -> Reply:
    if row is None:
        return Reply("missing", f"there is no {shown}")
    return Reply("refused", f"{shown} has already ended ({row['state']})")


def _set_queue(runtime: Runtime, out: Decisions, request: SetQueue, actor: str, now_us: int) -> Reply:
    if request.queue not in runtime.state.queues:
        return Reply("missing", f"there is no queue {request.queue}; there are dependent and independent")
    acts.set_queue(runtime.state, out, request.queue, request.paused, request.draining, actor, request.why, now_us)
    return Reply("done", "", {"queue": request.queue})


def _stop(runtime: Runtime, out: Decisions, request: StopEngine, actor: str, now_us: int) -> Reply:
    if request.mode not in ("drain", "now", "detach"):
        return Reply("refused", f"stop mode {request.mode} is unknown; use drain, now or detach")
    out.changes.append(EventAdded("engine.stop_requested", now_us, actor, why=request.why, data={"mode": request.mode}))
    runtime.begin_stop(request.mode)
    return Reply("done", "", {"mode": request.mode, "running": len(runtime.state.attempts)})


def _refuse(request: Request, actor: str, why: str) -> Decide:
    def decide(out: Decisions, now_us: int) -> Reply:
        kind = f"{type(request).__name__}"
        out.changes.append(EventAdded("request.refused", now_us, actor, why=why, data={"request": kind}))
        return Reply("refused", why)

    return decide


def _missing(why: str) -> Decide:
    return lambda out, now_us: Reply("missing", why)
