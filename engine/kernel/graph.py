"""Edges: when a job's prerequisites are met or can no longer be met, what that releases, expands or skips, and when
a run is over. Works through a list, never by recursion, so a chain may be as long as it likes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from engine.kernel.decisions import Decisions
from engine.kernel.moves import move
from engine.kernel.state import Node, Run, State, Task
from engine.model.changes import EventAdded, RoundEnded, RunChanged, TaskAdded, TaskExpanded
from engine.model.lifecycle import Move, Reason, RunState, TaskState
from engine.model.templates import TemplateError, fill, paths_in
from engine.model.workflow import Condition

_CAUSES = (
    (TaskState.FAILED, Reason.UPSTREAM_FAILED),
    (TaskState.CANCELLED, Reason.UPSTREAM_CANCELLED),
    (TaskState.SKIPPED, Reason.UPSTREAM_SKIPPED),
)
_RUN_CAUSES = {
    RunState.CANCELLED: Reason.UPSTREAM_CANCELLED,
    RunState.SKIPPED: Reason.UPSTREAM_SKIPPED,
    RunState.SUCCEEDED: Reason.UPSTREAM_SUCCEEDED,
}


def is_met(node: Node, when: Condition) -> bool:
    """Whether the condition on this prerequisite holds now."""
    total, counts = len(node.tasks), node.counts
    if when is Condition.SUCCEEDED:
        return counts[TaskState.SUCCEEDED] == total
    over = _final(node) == total
    return over if when is Condition.DONE else over and counts[TaskState.FAILED] > 0


def is_impossible(node: Node, when: Condition) -> bool:
    """Whether the condition can no longer come true."""
    if when is Condition.SUCCEEDED:
        return _final(node) > node.counts[TaskState.SUCCEEDED]
    return when is Condition.FAILED and _final(node) == len(node.tasks) and not node.counts[TaskState.FAILED]


def settle(state: State, out: Decisions, nodes: Iterable[Node], now_us: int) -> None:
    """Follows the consequences of tasks that ended in `nodes` to their end, then ends runs that are over."""
    pending: deque[Node] = deque(dict.fromkeys(nodes))
    touched: dict[int, Run] = {}
    while pending or touched:
        if not pending:
            pending.extend(end_if_over(state, out, touched.pop(next(iter(touched))), now_us))
            continue
        node = pending.popleft()
        touched[node.run.id] = node.run
        for dependent, when in node.dependents:
            if _judge(state, out, dependent, node, when, now_us):
                pending.append(dependent)


def _judge(state: State, out: Decisions, node: Node, needed: Node, when: Condition, now_us: int) -> bool:
    """Applies one edge; True if the dependent's tasks ended because of it."""
    if needed.job.name not in node.unmet:
        return False
    if is_impossible(needed, when):
        return skip(state, out, node, cause(needed), f"{needed.job.name} can no longer be {when}", now_us)
    if not is_met(needed, when):
        return False
    node.unmet.discard(needed.job.name)
    return release(state, out, node, now_us)


def release(state: State, out: Decisions, node: Node, now_us: int) -> bool:
    """Expands and readies what can be; True if a task ended here (no items, or a bad list)."""
    if _expand_if_known(state, out, node, now_us):
        return True
    if node.unmet or (not node.needs and node.run.awaited):
        return False
    ended = False
    for task in node.tasks:
        if task.state is not TaskState.WAITING:
            ended = ended or task.state.is_final
        elif task.pending_each:
            move(state, out, task, Move.SUCCEED, Reason.NO_ITEMS, now_us, "each has no items")
            ended = True
        elif task.reason == Reason.PREREQUISITE:
            move(state, out, task, Move.RELEASE, Reason.RELEASED, now_us)
    return ended


def _expand_if_known(state: State, out: Decisions, node: Node, now_us: int) -> bool:
    """Expands a waiting stand-in whose source is met; True if that ended it (what it names is no list)."""
    stand_in = node.tasks[0]
    if not stand_in.pending_each or stand_in.state is not TaskState.WAITING or _each_sources(node) & node.unmet:
        return False
    return expand(state, out, node, now_us)


def skip(state: State, out: Decisions, node: Node, reason: Reason, message: str, now_us: int) -> bool:
    """Skips every task of the node that has not started; True if there was one."""
    node.unmet.clear()
    waiting = [task for task in node.tasks if task.state in (TaskState.WAITING, TaskState.READY)]
    for task in waiting:
        move(state, out, task, Move.SKIP, reason, now_us, message)
    return bool(waiting)


def expand(state: State, out: Decisions, node: Node, now_us: int) -> bool:
    """Turns a dynamic `each` into its items: the stand-in becomes the first, the others are new tasks. True if the
    stand-in failed instead."""
    stand_in = node.tasks[0]
    try:
        items = fill(node.job.each, context_of(node))
    except TemplateError as error:
        move(state, out, stand_in, Move.FAIL, Reason.EACH_INVALID, now_us, f"each: {error}")
        return True
    if not isinstance(items, list):
        text = f"each: {node.job.each} is {type(items).__name__}, not a list"
        move(state, out, stand_in, Move.FAIL, Reason.EACH_INVALID, now_us, text)
        return True
    if not items:
        return False
    stand_in.item, stand_in.item_value, stand_in.pending_each = 0, items[0], False
    out.changes.append(TaskExpanded(stand_in.id, 0, items[0]))
    for number, value in enumerate(items[1:], 1):
        add_task(state, out, node, number, value, stand_in.round, now_us)
    return False


def add_task(
    state: State,
    out: Decisions,
    node: Node,
    item: int | None,
    value: object,
    round: int,
    now_us: int,
    pending_each: bool = False,
) -> Task:
    """A new waiting task of the node, on record and in its queue."""
    task = Task(state.take_id("task"), node, item, value, round, now_us)
    task.pending_each = pending_each
    node.tasks.append(task)
    node.counts[task.state] += 1
    node.run.open_tasks += 1
    state.tasks[task.id] = task
    state.queues[task.queue].enter(task)
    out.changes.append(
        TaskAdded(
            task=task.id,
            run=node.run.id,
            job=node.job.name,
            item=item,
            round=round,
            queue=task.queue,
            state=task.state,
            reason=task.reason,
            priority=task.priority,
            at_us=now_us,
            item_value=value,
            pending_each=pending_each,
        )
    )
    return task


def context_of(node: Node, task: Task | None = None) -> dict[str, object]:
    """What templates may name: params, run, trigger, needs' outputs and, for a task of an `each`, its item."""
    run = node.run
    context: dict[str, object] = {
        "params": run.parameters,
        "trigger": run.trigger,
        "run": {"id": f"r{run.id}", "workflow": run.workflow.name, "key": run.key, "round": run.round},
        "needs": {needed.job.name: {"output": needed.output()} for needed, _ in node.needs},
    }
    if task is not None and node.job.each is not None:
        context["item"] = task.item_value
    return context


def end_if_over(state: State, out: Decisions, run: Run, now_us: int) -> list[Node]:
    """Records the end of the run's round once nothing of it is open, and wakes the runs that wait for it. Returns
    their nodes that ended because of it, for the caller to settle."""
    if run.open_tasks or run.state.is_final:
        return []
    before, run.state = run.state, _verdict(run)
    out.changes += [
        RoundEnded(run.id, run.round, run.state, now_us),
        RunChanged(run.id, before, run.state, "", now_us, run.round, ended_us=now_us),
        EventAdded(
            f"run.{run.state}",
            now_us,
            workflow=run.workflow.name,
            run=run.id,
            data={"round": run.round, "key": run.key},
        ),
    ]
    out.ended_runs.append(run)
    state.runs.pop(run.id, None)
    waiting = state.awaiting.pop(run.id, [])
    return [node for each in waiting for node in answer_awaited(state, out, each, run.id, run.state, now_us)]


def answer_awaited(state: State, out: Decisions, run: Run, awaited: int, ended: RunState, now_us: int) -> list[Node]:
    """An awaited run has ended: its condition is met, or everything of the waiting run is skipped. Returns the nodes
    that ended, for the caller to settle."""
    if awaited not in run.awaited:
        return []
    run.awaited.discard(awaited)
    roots = [node for node in run.nodes.values() if not node.needs]
    if run_meets(ended, run.after[awaited]):
        return [node for node in roots if release(state, out, node, now_us)]
    reason = _RUN_CAUSES.get(ended, Reason.UPSTREAM_FAILED)
    return [node for node in roots if skip(state, out, node, reason, f"run r{awaited} ended {ended}", now_us)]


def run_meets(ended: RunState, when: Condition) -> bool:
    if when is Condition.DONE:
        return True
    return ended is (RunState.SUCCEEDED if when is Condition.SUCCEEDED else RunState.FAILED)


def _verdict(run: Run) -> RunState:
    states = {task_state for node in run.nodes.values() for task_state, n in node.counts.items() if n}
    for task_state, verdict in ((TaskState.FAILED, RunState.FAILED), (TaskState.CANCELLED, RunState.CANCELLED)):
        if task_state in states:
            return verdict
    return RunState.SUCCEEDED if TaskState.SUCCEEDED in states else RunState.SKIPPED


def _each_sources(node: Node) -> set[str]:
    return {path[1] for path in paths_in(node.job.each) if path[0] == "needs" and len(path) > 1}


def _final(node: Node) -> int:
    counts = node.counts
    return len(node.tasks) - counts[TaskState.WAITING] - counts[TaskState.READY] - counts[TaskState.RUNNING]


def cause(node: Node) -> Reason:
    """Why what needed this node is skipped."""
    return next((reason for task_state, reason in _CAUSES if node.counts[task_state]), Reason.UPSTREAM_SUCCEEDED)
