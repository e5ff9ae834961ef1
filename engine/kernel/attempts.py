"""Executions: what starts now, and what the end of an attempt means for its task (done, again, or over)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from engine.kernel.blockers import is_open
from engine.kernel.decisions import Decisions, Start
from engine.kernel.graph import context_of, settle
from engine.kernel.moves import move
from engine.kernel.queues import QueueManager
from engine.kernel.state import State, Task
from engine.model.changes import AttemptAdded, AttemptEnded, EventAdded, RunChanged
from engine.model.lifecycle import Move, Outcome, Reason, RunState
from engine.model.reports import Ended
from engine.model.templates import TemplateError, as_text, fill
from engine.model.workflow import Call, Command, OnLost, Retry, Shell

LOSSES_ALLOWED = 3  # a task that takes its worker down again and again is not started for ever


def dispatch(state: State, out: Decisions, epoch: int, place: Callable[[int], str], now_us: int) -> None:
    """Starts whatever may start: each queue within its quota first, then on lent seats, in the queues' order.
    `place` names the worker for an attempt (in memory, no I/O)."""
    for lent in (False, True):
        while task := _next(state, lent):
            _start(state, out, task, epoch, place, now_us)


def ready_due(state: State, out: Decisions, now_us: int) -> None:
    """Ends the back-offs that are over."""
    for task in state.due_tasks(now_us):
        move(state, out, task, Move.RELEASE, Reason.RELEASED, now_us)


def end_attempt(state: State, out: Decisions, report: Ended, now_us: int) -> bool:
    """Records the end of an attempt and moves its task. False if the attempt is not open (reported before)."""
    task = state.attempts.pop(report.attempt, None)
    if task is None:
        return False
    out.finished.append(report.attempt)
    out.changes.append(
        AttemptEnded(
            attempt=report.attempt,
            outcome=report.outcome,
            at_us=report.at_us,
            started_us=report.started_us,
            exit_code=report.exit_code,
            signal=report.signal,
            message=report.message,
            log=report.log,
            lost_bytes=report.lost_bytes,
            usage=report.usage,
        )
    )
    _move_task(state, out, task, report, now_us)
    task.attempt, task.stopping = None, None
    if task.state.is_final:
        settle(state, out, [task.node], now_us)
    return True


def _next(state: State, lent: bool) -> Task | None:
    """The first startable task of all queues, by priority then age; without `lent` only within the quotas."""
    best: Task | None = None
    for queue in state.queues.values():
        if not lent and queue.running >= queue.slots:
            continue
        for pool in queue.pools:
            head = _startable_head(state, queue, pool)
            if head and (best is None or (-head.priority, head.id) < (-best.priority, best.id)):
                best = head
    return best


def _startable_head(state: State, queue: QueueManager, pool: Any) -> Task | None:
    return queue.head(pool) if is_open(state, queue, pool) else None


def _start(state: State, out: Decisions, task: Task, epoch: int, place: Callable[[int], str], now_us: int) -> None:
    try:
        filled = _fill(task)
    except TemplateError as error:
        move(state, out, task, Move.FAIL, Reason.BAD_TEMPLATE, now_us, str(error))
        settle(state, out, [task.node], now_us)
        return
    attempt = state.take_id("attempt")
    worker = place(attempt)
    task.attempts += 1
    task.attempt = attempt
    state.attempts[attempt] = task
    move(state, out, task, Move.START, Reason.STARTED, now_us)
    out.changes.append(AttemptAdded(attempt, task.id, task.run.id, task.attempts, epoch, worker, now_us))
    _open_run(out, task, now_us)
    job = task.node.job
    out.starts.append(
        Start(
            attempt=attempt,
            task=task.id,
            run=task.run.id,
            job=job.name,
            number=task.attempts,
            worker=worker,
            pool=job.pool,
            timeout_seconds=job.timeout_seconds,
            stall_seconds=job.stall_seconds,
            grace_seconds=job.grace_seconds,
            **filled,
        )
    )


def _open_run(out: Decisions, task: Task, now_us: int) -> None:
    run = task.run
    if run.state is RunState.QUEUED:
        run.state, run.started_us = RunState.RUNNING, now_us
        out.changes.append(
            RunChanged(run.id, RunState.QUEUED, RunState.RUNNING, "", now_us, run.round, started_us=now_us)
        )
        out.changes.append(EventAdded("run.running", now_us, workflow=run.workflow.name, run=run.id))


def _fill(task: Task) -> dict[str, Any]:
    job, context = task.node.job, context_of(task.node, task)
    argv: tuple[str, ...] = ()
    call = None
    match job.action:
        case Command(literal=True):
            argv = job.action.argv
        case Command():
            argv = tuple(as_text(part) for part in fill(job.action.argv, context))
        case Shell():
            argv = ("/bin/sh", "-c", job.action.script)
        case Call() as action:
            call = {
                "module": action.module,
                "function": action.function,
                "arguments": fill(action.arguments, context),
                "interpreter": action.interpreter,
                "pythonpath": list(action.pythonpath),
            }
    return {
        "argv": argv,
        "call": call,
        "cwd": None if job.cwd is None else as_text(fill(job.cwd, context)),
        "env": {name: as_text(fill(value, context)) for name, value in job.env.items()},
        "context": {
            "params": context["params"],
            "needs": context["needs"] if call else {},
            "item": context.get("item"),
            "run": f"r{task.run.id}",
            "task": f"t{task.id}",
            "attempt": f"t{task.id}.{task.attempts + 1}",
            "scheduled": task.run.trigger.get("scheduled"),
            "file": task.run.trigger.get("file"),
        },
    }


def _move_task(state: State, out: Decisions, task: Task, report: Ended, now_us: int) -> None:
    reason = Reason(report.reason)
    if report.outcome is Outcome.SUCCEEDED:
        task.output = report.output
        move(state, out, task, Move.SUCCEED, Reason.SUCCEEDED, now_us)
    elif task.stopping is not None or report.outcome is Outcome.KILLED:
        move(state, out, task, Move.CANCEL, Reason.KILLED, now_us, task.stopping or report.message)
    elif report.outcome is Outcome.NOT_STARTED:
        task.spared += 1
        move(state, out, task, Move.REQUEUE, Reason.NOT_STARTED, now_us, report.message)
    elif report.outcome is Outcome.LOST:
        _after_loss(state, out, task, report, now_us)
    elif _may_retry(task, report):
        due = now_us + int(backoff_seconds(task.node.job.retry, task.attempts - task.spared, task.id) * 1e6)
        move(state, out, task, Move.RETRY, Reason.RETRY, now_us, report.message, not_before_us=due)
    else:
        move(state, out, task, Move.FAIL, reason, now_us, report.message)


def _after_loss(state: State, out: Decisions, task: Task, report: Ended, now_us: int) -> None:
    task.losses += 1
    task.spared += 1
    rule = task.node.job.on_lost
    if rule is OnLost.RETRY and task.losses < LOSSES_ALLOWED:
        move(state, out, task, Move.RETRY, Reason.LOST, now_us, report.message, not_before_us=now_us)
    elif rule is OnLost.FAIL:
        move(state, out, task, Move.FAIL, Reason.LOST, now_us, report.message)
    else:
        move(state, out, task, Move.RETRY, Reason.HELD_AFTER_LOSS, now_us, report.message)


def _may_retry(task: Task, report: Ended) -> bool:
    rule = task.node.job.retry
    if task.attempts - task.spared >= rule.attempts:
        return False
    return rule.exit_codes is None or report.exit_code in rule.exit_codes


def backoff_seconds(rule: Retry, attempts: int, task: int) -> float:
    """The wait after the given number of executions that count; the jitter is a stable function of task and attempt,
    so that a restart decides the same."""
    try:
        wait = min(rule.backoff_seconds * rule.factor ** (attempts - 1), rule.max_backoff_seconds)
    except OverflowError:
        wait = rule.max_backoff_seconds if rule.backoff_seconds else 0.0
    digest = hashlib.blake2b(f"{task}.{attempts}".encode(), digest_size=8).digest()
    spread = int.from_bytes(digest) / 2**64 * 2 - 1
    return max(0.0, wait * (1 + rule.jitter * spread))
