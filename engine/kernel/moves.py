"""The one home of a task's state change inside the kernel: state, queue counters, node counters and the record move
together, or not at all."""

from __future__ import annotations

from engine.kernel.decisions import Decisions
from engine.kernel.state import State, Task
from engine.model import lifecycle
from engine.model.changes import EventAdded, TaskChanged
from engine.model.lifecycle import Move, Reason, TaskState

_TOLD = {TaskState.RUNNING, TaskState.WAITING} | lifecycle.FINAL_TASK_STATES


def move(
    state: State,
    out: Decisions,
    task: Task,
    verb: Move,
    reason: Reason,
    now_us: int,
    message: str = "",
    not_before_us: int | None = None,
) -> None:
    """Applies `verb` to the task and records it. Raises ForbiddenMoveError before anything is changed."""
    before = task.state
    task.state = lifecycle.apply(before, verb)
    task.reason = reason.value
    task.not_before_us = not_before_us
    task.node.counts[before] -= 1
    task.node.counts[task.state] += 1
    state.queues[task.queue].moved(task, before)
    _count_pool(state, task, before)
    if not_before_us is not None:
        state.set_timer(task, not_before_us)
    if task.state.is_final:
        task.run.open_tasks -= 1
        state.tasks.pop(task.id, None)
    _record(out, task, before, now_us, message)


def _count_pool(state: State, task: Task, before: TaskState) -> None:
    pool = task.node.job.pool
    if task.state is TaskState.RUNNING:
        state.pool_running[pool] += 1
    elif before is TaskState.RUNNING:
        state.pool_running[pool] -= 1


def _record(out: Decisions, task: Task, before: TaskState, now_us: int, message: str) -> None:
    out.changes.append(
        TaskChanged(
            task=task.id,
            before=before,
            state=task.state,
            reason=task.reason,
            at_us=now_us,
            attempts=task.attempts,
            message=message,
            not_before_us=task.not_before_us,
            output=task.output if task.state is TaskState.SUCCEEDED else None,
        )
    )
    if task.state in _TOLD:
        out.changes.append(
            EventAdded(
                kind=f"task.{task.state}",
                at_us=now_us,
                workflow=task.run.workflow.name,
                run=task.run.id,
                task=task.id,
                attempt=task.attempt,
                why=message,
                data={"job": task.node.job.name, "item": task.item, "reason": task.reason, "round": task.round},
            )
        )
