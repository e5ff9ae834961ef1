"""What the store hands back when the engine rebuilds its state: the open runs whole."""

from __future__ import annotations

from dataclasses import dataclass

from engine.model.lifecycle import RunState, TaskState
from engine.model.workflow import Condition, Json, Workflow


@dataclass(frozen=True)
class StoredAttempt:
    """An attempt that has not ended on record."""

    attempt: int
    task: int
    number: int
    epoch: int
    worker: str
    started_us: int | None


@dataclass(frozen=True)
class StoredTask:
    """The latest round's row of each (job, item) of the run; `open_attempt` only while running. `losses` counts its
    attempts that ended lost, `spared` those that ended lost or not_started."""

    task: int
    job: str
    item: int | None
    round: int
    state: TaskState
    reason: str
    priority: int
    attempts: int
    created_us: int
    not_before_us: int | None
    item_value: Json
    pending_each: bool
    output: Json
    open_attempt: StoredAttempt | None = None
    losses: int = 0
    spared: int = 0
    stopping: str | None = None  # why it is to be killed


@dataclass(frozen=True)
class StoredRun:
    run: int
    workflow: Workflow
    definition: int
    key: str
    state: RunState
    parameters: dict[str, Json]
    trigger: dict[str, Json]
    priority: int
    round: int
    created_us: int
    started_us: int | None
    after: tuple[tuple[int, Condition, RunState], ...]  # how the awaited round is or ended
    tasks: tuple[StoredTask, ...]


@dataclass(frozen=True)
class StoredWorkflow:
    """A row of the watched workflows with its definition in force (None: never had a good one)."""

    name: str
    path: str
    state: str
    definition: int | None
    workflow: Workflow | None
    revision: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Recovered:
    """Everything a starting engine needs. The `next_` ids are free to use and grow by one from there."""

    epoch: int
    instance: str
    next_run: int
    next_task: int
    next_attempt: int
    next_definition: int
    runs: tuple[StoredRun, ...]
    workflows: tuple[StoredWorkflow, ...]
