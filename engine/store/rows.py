"""Owns what each change becomes as rows: the parameters for its statement, and nothing about order or counting."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.model import changes as c
from engine.model.lifecycle import TaskState
from engine.store.codec import storable, to_text

Row = dict[str, Any]


def _path(path: str | None) -> str | None:
    return None if path is None else storable(path)


def definition(x: c.DefinitionAdded) -> Row:
    body = x.workflow.to_json().decode()
    row = {"id": x.definition, "workflow": x.workflow.name, "revision": x.revision, "path": _path(x.path)}
    return row | {"hash": x.workflow.definition_hash, "body": body, "created_us": x.at_us}


def workflow(x: c.WorkflowChanged) -> Row:
    problems = to_text(list(x.problems))
    row = {"name": x.name, "path": _path(x.path), "state": x.state, "definition": x.definition}
    return row | {"problems": problems, "changed_us": x.at_us}


def run(x: c.RunAdded) -> Row:
    return {
        "id": x.run,
        "workflow": x.workflow,
        "definition": x.definition,
        "key": storable(x.key),
        "state": x.state.value,
        "parameters": to_text(x.parameters),
        "trigger": to_text(x.trigger),
        "priority": x.priority,
        "actor": x.actor,
        "created_us": x.at_us,
        "changed_us": x.at_us,
    }


def occurrence(x: c.RunAdded) -> Row:
    return {"workflow": x.workflow, "key": storable(x.key), "run": x.run}


def awaited(changes: Iterable[c.RunAdded]) -> list[Row]:
    return [
        {"run": x.run, "needed": needed, "condition": condition.value} for x in changes for needed, condition in x.after
    ]


def run_change(x: c.RunChanged) -> Row:
    return {
        "b_id": x.run,
        "b_before": x.before.value,
        "b_state": x.state.value,
        "b_reason": storable(x.reason),
        "b_round": x.round,
        "b_at": x.at_us,
        "b_started": x.started_us,
        "b_ended": x.ended_us,
    }


def round_added(x: c.RoundAdded) -> Row:
    return {"run": x.run, "round": x.round, "actor": x.actor, "why": storable(x.why), "created_us": x.at_us}


def round_ended(x: c.RoundEnded) -> Row:
    return {"run": x.run, "round": x.round, "state": x.state.value, "ended_us": x.at_us}


def edges(changes: Iterable[c.EdgesAdded]) -> list[Row]:
    return [
        {"run": x.run, "job": job, "needed": needed, "condition": condition.value}
        for x in changes
        for job, needed, condition in x.edges
    ]


def task(x: c.TaskAdded) -> Row:
    return {
        "id": x.task,
        "run": x.run,
        "job": x.job,
        "item": x.item,
        "round": x.round,
        "queue": x.queue,
        "state": x.state.value,
        "reason": x.reason,
        "priority": x.priority,
        "item_value": to_text(x.item_value),
        "pending_each": x.pending_each,
        "stand_in": x.pending_each,
        "created_us": x.at_us,
        "changed_us": x.at_us,
        "ready_us": x.at_us if x.state is TaskState.READY else None,
        "ended_us": x.at_us if x.state.is_final else None,
    }


def task_expansion(x: c.TaskExpanded) -> Row:
    return {"b_id": x.task, "b_item": x.item, "b_value": to_text(x.item_value)}


def task_stop(x: c.TaskStopRequested) -> Row:
    return {"b_id": x.task, "b_why": storable(x.why)}


def task_change(x: c.TaskChanged) -> Row:
    return {
        "b_id": x.task,
        "b_before": x.before.value,
        "b_state": x.state.value,
        "b_reason": x.reason,
        "b_message": storable(x.message),
        "b_attempts": x.attempts,
        "b_not_before": x.not_before_us,
        "b_output": to_text(x.output) if x.state is TaskState.SUCCEEDED else None,
        "b_at": x.at_us,
        "b_ready": x.at_us if x.state is TaskState.READY else None,
        "b_started": x.at_us if x.state is TaskState.RUNNING else None,
        "b_ended": x.at_us if x.state.is_final else None,
    }


def attempt(x: c.AttemptAdded) -> Row:
    row = {"id": x.attempt, "task": x.task, "run": x.run, "number": x.number}
    return row | {"epoch": x.epoch, "worker": x.worker, "created_us": x.at_us}


def attempt_start(x: c.AttemptStarted) -> Row:
    return {"b_id": x.attempt, "b_at": x.at_us, "b_pid": x.pid}


def attempt_progress(x: c.AttemptProgress) -> Row:
    return {"b_id": x.attempt, "b_done": x.done, "b_total": x.total, "b_at": x.at_us}


def attempt_end(x: c.AttemptEnded) -> Row:
    return {
        "b_id": x.attempt,
        "b_outcome": x.outcome.value,
        "b_at": x.at_us,
        "b_started": x.started_us,
        "b_exit": x.exit_code,
        "b_signal": x.signal,
        "b_message": storable(x.message),
        "b_log": to_text(x.log),
        "b_lost": x.lost_bytes,
        "b_usage": to_text(x.usage),
    }


def worker(x: c.WorkerChanged) -> Row:
    row = {"worker": x.worker, "state": x.state, "pid": x.pid, "slots": x.slots}
    return row | {"message": storable(x.message), "changed_us": x.at_us}


def switch(x: c.SwitchChanged) -> Row:
    row = {"queue": x.queue, "paused": x.paused, "draining": x.draining}
    return row | {"actor": x.actor, "why": storable(x.why), "at_us": x.at_us}


def event(x: c.EventAdded) -> Row:
    """As readers get it, but for its revision."""
    return {
        "kind": x.kind,
        "at_us": x.at_us,
        "actor": x.actor,
        "workflow": x.workflow,
        "run": x.run,
        "task": x.task,
        "attempt": x.attempt,
        "worker": x.worker,
        "why": storable(x.why),
        "data": x.data,
    }
