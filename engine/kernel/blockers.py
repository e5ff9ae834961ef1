"""Every condition that can hold a task back, one small predicate each: dispatch asks them before a start, an
explanation lists them. Locks, limits and resources will join the tuples."""

from __future__ import annotations

from dataclasses import dataclass

from engine.kernel.queues import QueueManager
from engine.kernel.state import State, Task
from engine.model.lifecycle import TaskState
from engine.model.workflow import Pool


@dataclass(frozen=True)
class Blocker:
    """`name` is the kind, `text` says who or what holds the task and what would free it."""

    name: str
    text: str


def engine_draining(state: State, queue: QueueManager, pool: Pool) -> Blocker | None:
    return Blocker("engine_draining", "the engine is draining; the next engine starts it") if state.draining else None


def queue_paused(state: State, queue: QueueManager, pool: Pool) -> Blocker | None:
    return Blocker("queue_paused", f"the {queue.name} queue is paused; resume it") if queue.paused else None


def queue_draining(state: State, queue: QueueManager, pool: Pool) -> Blocker | None:
    return Blocker("queue_draining", f"the {queue.name} queue is draining; resume it") if queue.draining else None


def seats_taken(state: State, queue: QueueManager, pool: Pool) -> Blocker | None:
    if state.running < state.seats:
        return None
    return Blocker("slots", f"all {state.seats} seats are taken; a running task must end")


def quota_used(state: State, queue: QueueManager, pool: Pool) -> Blocker | None:
    if queue.running < queue.slots or state.slots.lending:
        return None
    return Blocker("slots", f"the {queue.name} queue uses its {queue.slots} slots and lending is off")


def pool_full(state: State, queue: QueueManager, pool: Pool) -> Blocker | None:
    cap = state.pool_caps[pool]
    if cap is None or state.pool_running[pool] < cap:
        return None
    return Blocker("pool", f"the {pool} pool runs its {cap} already")


GATES = (engine_draining, queue_paused, queue_draining, seats_taken, quota_used, pool_full)


def is_open(state: State, queue: QueueManager, pool: Pool) -> bool:
    """Whether nothing keeps this queue from starting a task of this pool now."""
    return not any(gate(state, queue, pool) for gate in GATES)


def blockers(state: State, task: Task, now_us: int) -> list[Blocker]:
    """Everything that keeps an open task from running now, in words; a running task has none."""
    if task.state is TaskState.RUNNING or task.state.is_final:
        return []
    found = [*_of_the_task(task, now_us)]
    queue, pool = state.queues[task.queue], task.node.job.pool
    found += [blocker for gate in GATES if (blocker := gate(state, queue, pool))]
    return found


def _of_the_task(task: Task, now_us: int) -> list[Blocker]:
    found = [Blocker("prerequisite", f"needs {name}") for name in sorted(task.node.unmet)]
    if not task.node.needs:
        found += [Blocker("after", f"waits for run r{run}") for run in sorted(task.run.awaited)]
    if task.not_before_us is not None and task.not_before_us > now_us:
        found.append(Blocker("backoff", f"waits {(task.not_before_us - now_us) / 1e6:.1f} s before the next attempt"))
    if task.reason == "held_after_loss":
        found.append(Blocker("hold", "an attempt was lost and on_lost is hold; retry the task or kill it"))
    return found
