"""What an operator's word does: cancel, kill, pause, drain. Retry stands with the runs' rounds."""

from __future__ import annotations

from engine.kernel.decisions import Decisions, Kill
from engine.kernel.graph import settle
from engine.kernel.moves import move
from engine.kernel.state import Run, State, Task
from engine.model.changes import EventAdded, SwitchChanged, TaskStopRequested
from engine.model.lifecycle import Move, Reason, TaskState


def cancel_run(state: State, out: Decisions, run: Run, actor: str, why: str, now_us: int) -> int:
    """Ends every task of the run that has not started and kills the running ones. Returns how many it touched."""
    out.changes.append(EventAdded("run.cancel_requested", now_us, actor, run.workflow.name, run.id, why=why))
    open_tasks = [task for task in run.tasks() if not task.state.is_final]
    for task in open_tasks:
        _stop(state, out, task, why or f"cancelled by {actor}", None, now_us)
    settle(state, out, [task.node for task in open_tasks if task.state.is_final], now_us)
    return len(open_tasks)


def kill_task(
    state: State, out: Decisions, task: Task, actor: str, why: str, grace_seconds: float | None, now_us: int
) -> None:
    """Kills a running task (its end comes with the worker's report) or cancels one that has not started."""
    run = task.run
    out.changes.append(EventAdded("task.kill_requested", now_us, actor, run.workflow.name, run.id, task.id, why=why))
    _stop(state, out, task, why or f"killed by {actor}", grace_seconds, now_us)
    if task.state.is_final:
        settle(state, out, [task.node], now_us)


def kill_everything(state: State, out: Decisions, why: str) -> int:
    """Kills every running attempt, whatever its run; what has not started stays as it is."""
    running = list(state.attempts.values())
    for task in running:
        _kill(out, task, why, None)
    return len(running)


def resume_kills(state: State) -> list[Kill]:
    """What an engine before this one was asked to kill and had no time to."""
    stopping = [(a, task, task.stopping) for a, task in state.attempts.items() if task.stopping is not None]
    return [Kill(attempt, task.node.job.grace_seconds, why) for attempt, task, why in stopping]


def set_queue(
    state: State,
    out: Decisions,
    name: str,
    paused: bool | None,
    draining: bool | None,
    actor: str,
    why: str,
    now_us: int,
) -> None:
    """Moves a queue's switches; None leaves one as it is."""
    queue = state.queues[name]
    queue.paused = queue.paused if paused is None else paused
    queue.draining = queue.draining if draining is None else draining
    word = "paused" if queue.paused else "draining" if queue.draining else "resumed"
    out.changes += [
        SwitchChanged(name, queue.paused, queue.draining, actor, why, now_us),
        EventAdded(f"queue.{word}", now_us, actor, why=why, data={"queue": name}),
    ]


def _stop(state: State, out: Decisions, task: Task, why: str, grace_seconds: float | None, now_us: int) -> None:
    if task.state is TaskState.RUNNING:
        _kill(out, task, why, grace_seconds)
    else:
        move(state, out, task, Move.CANCEL, Reason.CANCELLED, now_us, why)


def _kill(out: Decisions, task: Task, why: str, grace_seconds: float | None) -> None:
    task.stopping = why
    if task.attempt is not None:
        out.changes.append(TaskStopRequested(task.id, why))
        grace = task.node.job.grace_seconds if grace_seconds is None else grace_seconds
        out.kills.append(Kill(task.attempt, grace, why))
