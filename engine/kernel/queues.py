"""The manager of one queue: its members, order, slots, counters, pause and drain switch. What may start is asked of
the blockers; this object only keeps the order and the counts exact."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from engine.model.lifecycle import TaskState
from engine.model.workflow import Pool

if TYPE_CHECKING:
    from engine.kernel.state import Task


class QueueManager:
    """Order: higher priority first, then first come. One heap per pool, so that a head whose pool is full delays
    nobody of another pool."""

    def __init__(self, name: str, slots: int) -> None:
        self.name = name
        self.slots = slots
        self.paused = False
        self.draining = False
        self.members: dict[int, Task] = {}
        self.counts: Counter[TaskState] = Counter()
        self._heaps: defaultdict[Pool, list[tuple[int, int]]] = defaultdict(list)

    @property
    def running(self) -> int:
        return self.counts[TaskState.RUNNING]

    @property
    def pools(self) -> list[Pool]:
        return [pool for pool, heap in self._heaps.items() if heap]

    def enter(self, task: Task) -> None:
        """A task joins in whatever open state it is."""
        self.members[task.id] = task
        self.counts[task.state] += 1
        if task.state is TaskState.READY:
            self._push(task)

    def moved(self, task: Task, before: TaskState) -> None:
        """A member changed state; final ones leave."""
        self.counts[before] -= 1
        if task.state.is_final:
            del self.members[task.id]
            return
        self.counts[task.state] += 1
        if task.state is TaskState.READY:
            self._push(task)

    def reprioritised(self, task: Task) -> None:
        if task.state is TaskState.READY:
            self._push(task)

    def head(self, pool: Pool) -> Task | None:
        """The first ready task of that pool; stale entries are dropped on the way."""
        heap = self._heaps[pool]
        while heap:
            priority, id = heap[0]
            task = self.members.get(id)
            if task and task.state is TaskState.READY and -priority == task.priority:
                return task
            heapq.heappop(heap)
        return None

    def _push(self, task: Task) -> None:
        heapq.heappush(self._heaps[task.node.job.pool], (-task.priority, task.id))
