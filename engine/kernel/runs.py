"""The birth of a run, its rebirth from stored rows, and its further rounds."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.kernel.decisions import Decisions
from engine.kernel.graph import (
    add_task,
    answer_awaited,
    cause,
    context_of,
    is_impossible,
    is_met,
    release,
    settle,
    skip,
)
from engine.kernel.moves import move
from engine.kernel.state import Node, Run, State, Task
from engine.model.changes import EdgesAdded, EventAdded, RoundAdded, RunAdded, RunChanged
from engine.model.lifecycle import Move, Reason, RunState, TaskState
from engine.model.stored import StoredRun, StoredTask
from engine.model.templates import TemplateError, fill, paths_in
from engine.model.workflow import Condition, Json, Workflow


@dataclass(frozen=True)
class Submission:
    """A run to be. `after` gives each awaited run's condition and, if it has ended, its final state."""

    workflow: Workflow
    definition: int
    key: str
    actor: str
    parameters: dict[str, Json] = field(default_factory=dict)
    trigger: dict[str, Json] = field(default_factory=dict)
    priority: int = 0
    after: tuple[tuple[int, Condition, RunState | None], ...] = ()


def submit(state: State, out: Decisions, given: Submission, now_us: int) -> Run:
    """A new run with all its tasks; what has no prerequisites is ready at once."""
    run = Run(
        id=state.take_id("run"),
        workflow=given.workflow,
        definition=given.definition,
        key=given.key,
        parameters={**given.workflow.parameters, **given.parameters},
        trigger=given.trigger,
        priority=given.priority,
        created_us=now_us,
        after={awaited: when for awaited, when, _ in given.after},
        awaited={awaited for awaited, _, _ in given.after},
    )
    state.runs[run.id] = run
    _record_run(out, run, given.actor, now_us)
    _build_nodes(run)
    for node in run.nodes.values():
        _add_tasks(state, out, node, now_us)
    ended_nodes = []
    for awaited, _, ended in given.after:
        if ended is not None and ended.is_final:
            ended_nodes += answer_awaited(state, out, run, awaited, ended, now_us)
    for awaited in run.awaited:
        state.awaiting[awaited].append(run)
    ended_nodes += [node for node in run.nodes.values() if release(state, out, node, now_us)]
    settle(state, out, ended_nodes, now_us)
    return run


def restore(state: State, stored: StoredRun) -> Run:
    """The run as its rows say, with nothing recorded anew. Running tasks keep their open attempt."""
    run = Run(
        id=stored.run,
        workflow=stored.workflow,
        definition=stored.definition,
        key=stored.key,
        parameters=stored.parameters,
        trigger=stored.trigger,
        priority=stored.priority,
        created_us=stored.created_us,
        state=stored.state,
        round=stored.round,
        started_us=stored.started_us,
        after={awaited: when for awaited, when, _ in stored.after},
        awaited={awaited for awaited, _, ended in stored.after if not ended.is_final},
    )
    state.runs[run.id] = run
    _build_nodes(run)
    for row in stored.tasks:
        _restore_task(state, run.nodes[row.job], row)
    for node in run.nodes.values():
        node.tasks.sort(key=lambda task: (task.item or 0, task.id))
        node.recount()
        _look_again(node)
    if not run.state.is_final and not _waits_for_runs(run):
        run.awaited.clear()  # its wait was over before the awaited run was opened again by a retry
    for awaited in run.awaited:
        state.awaiting[awaited].append(run)
    return run


def retry(
    state: State, out: Decisions, run: Run, tasks: tuple[int, ...], actor: str, why: str, now_us: int
) -> list[int]:
    """Opens a new round of an ended run: new tasks for those named (none: every failed or cancelled one) and for what
    was skipped because of them. Returns the new tasks' ids; nothing to retry gives an empty list and no round."""
    chosen = [task for task in run.tasks() if _is_chosen(task, tasks)]
    if not chosen:
        return []
    chosen += _skipped_behind(chosen)
    before, run.state, run.round = run.state, RunState.RUNNING, run.round + 1
    out.changes += [
        RoundAdded(run.id, run.round, actor, why, now_us),
        RunChanged(run.id, before, run.state, "retry", now_us, run.round),
        EventAdded(
            "run.retried",
            now_us,
            actor,
            run.workflow.name,
            run.id,
            why=why,
            data={"round": run.round, "tasks": len(chosen)},
        ),
    ]
    state.runs[run.id] = run
    made = [_renew(state, out, task, now_us) for task in chosen]
    nodes = list(dict.fromkeys(task.node for task in made))
    for node in nodes:
        node.tasks.sort(key=lambda task: (task.item or 0, task.id))
        node.recount()
    for node in nodes:
        _look_again(node)
    ended = [node for node in nodes if _skip_hopeless(state, out, node, now_us) or release(state, out, node, now_us)]
    settle(state, out, ended, now_us)
    return [task.id for task in made]


def release_held(state: State, out: Decisions, task: Task, now_us: int) -> None:
    """A task held after a loss goes on, by an operator's word."""
    move(state, out, task, Move.RELEASE, Reason.RELEASED, now_us)


def _record_run(out: Decisions, run: Run, actor: str, now_us: int) -> None:
    edges = tuple((job.name, need.job, need.when) for job in run.workflow.jobs for need in job.needs)
    out.changes.append(
        RunAdded(
            run=run.id,
            workflow=run.workflow.name,
            definition=run.definition,
            key=run.key,
            state=run.state,
            parameters=run.parameters,
            trigger=run.trigger,
            priority=run.priority,
            actor=actor,
            at_us=now_us,
            after=tuple(run.after.items()),
        )
    )
    out.changes.append(RoundAdded(run.id, run.round, actor, "", now_us))
    if edges:
        out.changes.append(EdgesAdded(run.id, edges))
    out.changes.append(EventAdded("run.queued", now_us, actor, run.workflow.name, run.id, data={"key": run.key}))


def _build_nodes(run: Run) -> None:
    run.nodes = {job.name: Node(run, job) for job in run.workflow.jobs}
    for node in run.nodes.values():
        for need in node.job.needs:
            needed = run.nodes[need.job]
            node.needs.append((needed, need.when))
            needed.dependents.append((node, need.when))
            node.unmet.add(need.job)


def _add_tasks(state: State, out: Decisions, node: Node, now_us: int) -> None:
    """One task, one per known item, or the stand-in of items not known yet (or of none)."""
    items = _items_known_now(node)
    if node.job.each is None:
        add_task(state, out, node, None, None, node.run.round, now_us)
    elif not items:
        add_task(state, out, node, None, None, node.run.round, now_us, pending_each=True)
    else:
        for number, value in enumerate(items):
            add_task(state, out, node, number, value, node.run.round, now_us)


def _items_known_now(node: Node) -> list[Json] | None:
    if any(path[0] == "needs" for path in paths_in(node.job.each)):
        return None
    try:
        items = fill(node.job.each, context_of(node))
    except TemplateError:
        return None  # expansion will say so, with the task's name
    return items if isinstance(items, list) else None


def _restore_task(state: State, node: Node, row: StoredTask) -> None:
    task = Task(row.task, node, row.item, row.item_value, row.round, row.created_us)
    task.state, task.reason, task.priority, task.attempts = row.state, row.reason, row.priority, row.attempts
    task.not_before_us, task.output, task.pending_each = row.not_before_us, row.output, row.pending_each
    task.losses, task.spared, task.stopping = row.losses, row.spared, row.stopping
    node.tasks.append(task)
    if task.state.is_final:
        return
    node.run.open_tasks += 1
    state.tasks[task.id] = task
    state.queues[task.queue].enter(task)
    if task.state is TaskState.WAITING and task.not_before_us is not None:
        state.set_timer(task, task.not_before_us)
    if task.state is TaskState.RUNNING:
        state.pool_running[node.job.pool] += 1
    if row.open_attempt is not None:
        task.attempt = row.open_attempt.attempt
        state.attempts[row.open_attempt.attempt] = task


def _waits_for_runs(run: Run) -> bool:
    roots = (node for node in run.nodes.values() if not node.needs)
    return any(t.state is TaskState.WAITING and t.reason == Reason.PREREQUISITE for node in roots for t in node.tasks)


def _look_again(node: Node) -> None:
    """Which prerequisites are unmet, judged from the counts as they stand."""
    node.unmet = {needed.job.name for needed, when in node.needs if not is_met(needed, when)}


def _skip_hopeless(state: State, out: Decisions, node: Node, now_us: int) -> bool:
    for needed, when in node.needs:
        if is_impossible(needed, when):
            text = f"{needed.job.name} can no longer be {when}"
            return skip(state, out, node, cause(needed), text, now_us)
    return False


def _is_chosen(task: Task, named: tuple[int, ...]) -> bool:
    if named:
        return task.id in named and task.state.is_final
    return task.state in (TaskState.FAILED, TaskState.CANCELLED)


def _skipped_behind(chosen: list[Task]) -> list[Task]:
    """Every skipped task of a job that depends, however far, on one of the chosen."""
    seen: dict[Node, None] = {}
    pending = list(dict.fromkeys(task.node for task in chosen))
    while pending:
        for dependent, _ in pending.pop().dependents:
            if dependent not in seen:
                seen[dependent] = None
                pending.append(dependent)
    picked = set(chosen)
    return [t for node in seen for t in node.tasks if t.state is TaskState.SKIPPED and t not in picked]


def _renew(state: State, out: Decisions, old: Task, now_us: int) -> Task:
    """The same job and item in the new round; a stand-in that was never expanded stays a stand-in."""
    node = old.node
    node.tasks.remove(old)
    stand_in = node.job.each is not None and old.item is None
    return add_task(state, out, node, old.item, old.item_value, node.run.round, now_us, pending_each=stand_in)
