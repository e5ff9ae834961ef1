"""Owns reading the open work back whole: what a starting engine, or a retry by hand, builds its state from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from engine.model.lifecycle import Outcome, RunState, TaskState
from engine.model.stored import Recovered, StoredAttempt, StoredRun, StoredTask, StoredWorkflow
from engine.model.workflow import Condition, Workflow
from engine.store import schema as s
from engine.store.codec import from_text
from engine.store.counts import OPEN_STATES, rebuild

After = tuple[tuple[int, Condition, RunState], ...]


def recover(connection: Connection) -> Recovered:
    """Begins a new epoch and reads all that is open, within the writer's transaction."""
    connection.execute(update(s.meta).values(epoch=s.meta.c.epoch + 1))
    rebuild(connection)
    meta = connection.execute(select(s.meta)).one()
    return Recovered(
        epoch=meta.epoch,
        instance=meta.instance,
        next_run=_next(connection, s.runs.c.id, meta.high_run),
        next_task=_next(connection, s.tasks.c.id, meta.high_task),
        next_attempt=_next(connection, s.attempts.c.id, meta.high_attempt),
        next_definition=_next(connection, s.definitions.c.id, 0),
        runs=load_runs(connection, s.runs.c.state.in_(OPEN_STATES)),
        workflows=_load_workflows(connection),
    )


def _next(connection: Connection, column: Any, removed: int) -> int:
    return max(int(connection.scalar(select(func.max(column))) or 0), removed) + 1


def load_runs(connection: Connection, which: ColumnElement[bool]) -> tuple[StoredRun, ...]:
    """The runs that `which` names, each with its tasks in force, oldest first."""
    tasks = _load_tasks(connection, which)
    after = _load_after(connection, which)
    bodies: dict[int, Workflow] = {}
    found = []
    for row in connection.execute(select(s.runs).where(which).order_by(s.runs.c.id)).all():
        if row.definition not in bodies:
            bodies[row.definition] = _workflow(connection, row.definition)
        found.append(_run(row, bodies[row.definition], after.get(row.id, ()), tuple(in_force(tasks[row.id]))))
    return tuple(found)


def _run(row: Any, workflow: Workflow, after: After, tasks: tuple[StoredTask, ...]) -> StoredRun:
    return StoredRun(
        run=row.id,
        workflow=workflow,
        definition=row.definition,
        key=row.key,
        state=RunState(row.state),
        parameters=from_text(row.parameters) or {},
        trigger=from_text(row.trigger) or {},
        priority=row.priority,
        round=row.round,
        created_us=row.created_us,
        started_us=row.started_us,
        after=after,
        tasks=tasks,
    )


def _workflow(connection: Connection, definition: int) -> Workflow:
    body = connection.scalar(select(s.definitions.c.body).where(s.definitions.c.id == definition))
    return Workflow.from_json(body or "")


def _load_after(connection: Connection, which: ColumnElement[bool]) -> dict[int, After]:
    needed = s.runs.alias("needed")
    statement = (
        select(s.run_after, needed.c.state)
        .join(s.runs, s.runs.c.id == s.run_after.c.run)
        .outerjoin(needed, needed.c.id == s.run_after.c.needed)
        .where(which)
    )
    found: dict[int, After] = defaultdict(tuple)
    for row in connection.execute(statement):
        # a run that is awaited by an open one is never removed; for a final one the answer no longer matters
        state = RunState(row.state or RunState.SUCCEEDED)
        found[row.run] += ((row.needed, Condition(row.condition), state),)
    return found


def _load_tasks(connection: Connection, which: ColumnElement[bool]) -> dict[int, list[tuple[StoredTask, bool]]]:
    """Each run's tasks of all rounds with their stand-in mark, oldest first."""
    attempts, unspent = _load_attempts(connection, which), _load_unspent(connection, which)
    statement = select(s.tasks).join(s.runs, s.runs.c.id == s.tasks.c.run).where(which).order_by(s.tasks.c.id)
    found: dict[int, list[tuple[StoredTask, bool]]] = defaultdict(list)
    for row in connection.execute(statement):
        spent = unspent.get(row.id, Counter())
        found[row.run].append((_task(row, attempts.get(row.id), spent), row.stand_in))
    return found


def _task(row: Any, attempt: StoredAttempt | None, unspent: Counter[str]) -> StoredTask:
    return StoredTask(
        task=row.id,
        job=row.job,
        item=row.item,
        round=row.round,
        state=TaskState(row.state),
        reason=row.reason,
        priority=row.priority,
        attempts=row.attempts,
        created_us=row.created_us,
        not_before_us=row.not_before_us,
        item_value=from_text(row.item_value),
        pending_each=row.pending_each,
        output=from_text(row.output),
        open_attempt=attempt,
        losses=unspent[Outcome.LOST.value],
        spared=unspent.total(),
        stopping=row.stopping,
    )


def _load_attempts(connection: Connection, which: ColumnElement[bool]) -> dict[int, StoredAttempt]:
    """The open attempt of each running task."""
    statement = (
        select(s.attempts)
        .join(s.tasks, s.tasks.c.id == s.attempts.c.task)
        .join(s.runs, s.runs.c.id == s.tasks.c.run)
        .where(which, s.tasks.c.state == TaskState.RUNNING.value, s.attempts.c.outcome.is_(None))
    )
    return {
        row.task: StoredAttempt(row.id, row.task, row.number, row.epoch, row.worker, row.started_us)
        for row in connection.execute(statement)
    }


def _load_unspent(connection: Connection, which: ColumnElement[bool]) -> dict[int, Counter[str]]:
    """By open task: how many of its attempts ended without using up a retry, by outcome."""
    outcomes = (Outcome.LOST.value, Outcome.NOT_STARTED.value)
    statement = (
        select(s.attempts.c.task, s.attempts.c.outcome, func.count())
        .join(s.tasks, s.tasks.c.id == s.attempts.c.task)
        .join(s.runs, s.runs.c.id == s.tasks.c.run)
        .where(which, s.attempts.c.outcome.in_(outcomes))
        .group_by(s.attempts.c.task, s.attempts.c.outcome)
    )
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for task, outcome, count in connection.execute(statement):
        found[task][outcome] = count
    return found


def in_force(tasks: Iterable[tuple[StoredTask, bool]]) -> list[StoredTask]:
    """Of each (job, item) the latest round's row. A stand-in begins its job afresh: what earlier rounds made of the
    job's items no longer counts, since the new expansion may yield others."""
    listed = list(tasks)
    fresh: dict[str, int] = defaultdict(int)
    for task, stand_in in listed:
        if stand_in:
            fresh[task.job] = max(fresh[task.job], task.round)
    latest: dict[tuple[str, int | None], StoredTask] = {}
    for task, _ in listed:
        key = (task.job, task.item)
        if task.round >= fresh[task.job] and (key not in latest or latest[key].round < task.round):
            latest[key] = task
    return sorted(latest.values(), key=lambda task: task.task)


def _load_workflows(connection: Connection) -> tuple[StoredWorkflow, ...]:
    statement = (
        select(s.workflows, s.definitions.c.body, s.definitions.c.revision)
        .outerjoin(s.definitions, s.definitions.c.id == s.workflows.c.definition)
        .order_by(s.workflows.c.name)
    )
    return tuple(
        StoredWorkflow(
            name=row.name,
            path=row.path,
            state=row.state,
            definition=row.definition,
            workflow=Workflow.from_json(row.body) if row.body is not None else None,
            revision=row.revision or 0,
            problems=tuple(from_text(row.problems) or ()),
        )
        for row in connection.execute(statement)
    )
