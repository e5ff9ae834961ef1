"""Owns what the kernel knows: open runs with their nodes and tasks, the two queues, timers and the next free ids.
Only the kernel's own modules change it; everything else sees the changes they emit."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from engine.kernel.queues import QueueManager
from engine.model.config import Slots
from engine.model.lifecycle import RunState, TaskState
from engine.model.workflow import Condition, Job, Json, Pool, Workflow

DEPENDENT, INDEPENDENT = "dependent", "independent"


class Task:
    """One job in one run. `attempt` is the open attempt's id; `stopping` says why it is being killed;
    `losses` counts lost attempts, `spared` those that do not use up the retries (lost, or never started)."""

    __slots__ = (
        "attempt",
        "attempts",
        "created_us",
        "id",
        "item",
        "item_value",
        "losses",
        "node",
        "not_before_us",
        "output",
        "pending_each",
        "priority",
        "queue",
        "reason",
        "round",
        "spared",
        "state",
        "stopping",
    )

    def __init__(self, id: int, node: Node, item: int | None, item_value: Json, round: int, created_us: int) -> None:
        self.id, self.node, self.item, self.item_value, self.round = id, node, item, item_value, round
        self.created_us = created_us
        self.queue = node.queue
        self.priority = node.job.priority + node.run.priority
        self.state, self.reason = TaskState.WAITING, "prerequisite"
        self.attempts = self.losses = self.spared = 0
        self.attempt: int | None = None
        self.not_before_us: int | None = None
        self.output: Json = None
        self.pending_each = False
        self.stopping: str | None = None

    @property
    def run(self) -> Run:
        return self.node.run


class Node:
    """One job of one run: its tasks (the latest round of each item) and how many are in which state.
    `unmet` holds the needed jobs whose condition is not met yet."""

    __slots__ = ("counts", "dependents", "job", "needs", "run", "tasks", "unmet")

    def __init__(self, run: Run, job: Job) -> None:
        self.run, self.job = run, job
        self.needs: list[tuple[Node, Condition]] = []
        self.dependents: list[tuple[Node, Condition]] = []
        self.unmet: set[str] = set()
        self.tasks: list[Task] = []
        self.counts: Counter[TaskState] = Counter()

    @property
    def queue(self) -> str:
        return DEPENDENT if self.job.needs or self.run.after else INDEPENDENT

    def recount(self) -> None:
        self.counts = Counter(task.state for task in self.tasks)

    def output(self) -> Json:
        """The only task's output, or for `each` the list of the items' outputs in item order."""
        if self.job.each is None:
            return self.tasks[0].output
        return [task.output for task in self.tasks if not task.pending_each]


@dataclass(eq=False)
class Run:
    """An open run. `after` are awaited runs with the condition; `awaited` those still unmet."""

    id: int
    workflow: Workflow
    definition: int
    key: str
    parameters: dict[str, Json]
    trigger: dict[str, Json]
    priority: int
    created_us: int
    state: RunState = RunState.QUEUED
    round: int = 1
    started_us: int | None = None
    after: dict[int, Condition] = field(default_factory=dict)
    awaited: set[int] = field(default_factory=set)
    nodes: dict[str, Node] = field(default_factory=dict)
    open_tasks: int = 0

    def tasks(self) -> Iterator[Task]:
        for node in self.nodes.values():
            yield from node.tasks


class State:
    """Everything the kernel decides from."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.queues = {
            DEPENDENT: QueueManager(DEPENDENT, slots.dependent),
            INDEPENDENT: QueueManager(INDEPENDENT, slots.independent),
        }
        self.pool_caps: dict[Pool, int | None] = {
            Pool.COMMAND: slots.command,
            Pool.PROCESS: slots.process,
            Pool.THREAD: slots.thread,
            Pool.ASYNC: slots.asyncio,
        }
        self.pool_running: Counter[Pool] = Counter()
        self.draining = False
        self.runs: dict[int, Run] = {}
        self.tasks: dict[int, Task] = {}
        self.attempts: dict[int, Task] = {}
        self.awaiting: defaultdict[int, list[Run]] = defaultdict(list)
        self.timers: list[tuple[int, int]] = []  # (due, task id)
        self.next_run = self.next_task = self.next_attempt = 1

    @property
    def running(self) -> int:
        return sum(queue.running for queue in self.queues.values())

    @property
    def seats(self) -> int:
        return sum(queue.slots for queue in self.queues.values())

    def next_due_us(self) -> int | None:
        """When the earliest back-off ends, or None."""
        return self.timers[0][0] if self.timers else None

    def set_timer(self, task: Task, due_us: int) -> None:
        heapq.heappush(self.timers, (due_us, task.id))

    def due_tasks(self, now_us: int) -> Iterator[Task]:
        """Takes the timers that are due; those of tasks that have moved on are dropped."""
        while self.timers and self.timers[0][0] <= now_us:
            due_us, id = heapq.heappop(self.timers)
            task = self.tasks.get(id)
            if task and task.state is TaskState.WAITING and task.not_before_us == due_us:
                yield task

    def take_id(self, kind: str) -> int:
        """The next free id of `run`, `task` or `attempt`."""
        value: Any = getattr(self, f"next_{kind}")
        setattr(self, f"next_{kind}", value + 1)
        return int(value)
