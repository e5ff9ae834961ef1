"""What a decision changes, as values: the kernel makes them, the store writes them in order in one transaction,
readers get the events among them. Times are integer microseconds since 1970 UTC; ids are integers."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.model.lifecycle import Outcome, RunState, TaskState
from engine.model.workflow import Condition, Json, Workflow


@dataclass(frozen=True)
class DefinitionAdded:
    """A workflow's new revision. (workflow.name, revision) is unique; `path` is the file it came from or None."""

    definition: int
    workflow: Workflow
    revision: int
    path: str | None
    at_us: int


@dataclass(frozen=True)
class WorkflowChanged:
    """The row of a watched workflow: which definition is in force, or what is wrong with its file.
    `state`: active | broken (last good definition stays in force) | removed. `problems`: the loader's texts."""

    name: str
    path: str
    state: str
    definition: int | None
    problems: tuple[str, ...]
    at_us: int


@dataclass(frozen=True)
class RunAdded:
    """A new occurrence. (workflow, key) is unique; `after` are runs that must end first."""

    run: int
    workflow: str
    definition: int
    key: str
    state: RunState
    parameters: dict[str, Json]
    trigger: dict[str, Json]
    priority: int
    actor: str
    at_us: int
    after: tuple[tuple[int, Condition], ...] = ()


@dataclass(frozen=True)
class RunChanged:
    """A guarded write: the run must be in state `before`. started/ended None means leave as it is."""

    run: int
    before: RunState
    state: RunState
    reason: str
    at_us: int
    round: int
    started_us: int | None = None
    ended_us: int | None = None


@dataclass(frozen=True)
class RoundAdded:
    run: int
    round: int
    actor: str
    why: str
    at_us: int


@dataclass(frozen=True)
class RoundEnded:
    run: int
    round: int
    state: RunState
    at_us: int


@dataclass(frozen=True)
class EdgesAdded:
    """The run's prerequisites between jobs: (job, needed job, condition) each."""

    run: int
    edges: tuple[tuple[str, str, Condition], ...]


@dataclass(frozen=True)
class TaskAdded:
    """`item` None: the job's only task, or (when `pending_each`) the stand-in of a dynamic `each` until its items
    are known, when it becomes item 0. `queue` is dependent | independent."""

    task: int
    run: int
    job: str
    item: int | None
    round: int
    queue: str
    state: TaskState
    reason: str
    priority: int
    at_us: int
    item_value: Json = None
    pending_each: bool = False


@dataclass(frozen=True)
class TaskExpanded:
    """The stand-in of a dynamic `each` becomes its first item."""

    task: int
    item: int
    item_value: Json


@dataclass(frozen=True)
class TaskChanged:
    """The one guarded write of a task: applies only if the row is in state `before` with `attempts` executions
    counted up to now; otherwise the database and the engine disagree, which stops the engine."""

    task: int
    before: TaskState
    state: TaskState
    reason: str
    at_us: int
    attempts: int
    message: str = ""
    not_before_us: int | None = None
    output: Json = None  # kept when the state is succeeded


@dataclass(frozen=True)
class TaskStopRequested:
    """A running task is to be killed, on record before the signal is sent: the next engine goes on with it."""

    task: int
    why: str


@dataclass(frozen=True)
class AttemptAdded:
    """Intent, recorded before the start is sent. (task, number) is unique."""

    attempt: int
    task: int
    run: int
    number: int
    epoch: int
    worker: str
    at_us: int


@dataclass(frozen=True)
class AttemptStarted:
    attempt: int
    at_us: int
    pid: int | None


@dataclass(frozen=True)
class AttemptProgress:
    attempt: int
    done: float
    total: float | None
    at_us: int


@dataclass(frozen=True)
class AttemptEnded:
    """How the attempt ended, guarded: it must not have ended before. `log` is the worker's reference to the bytes
    (None: no output); `usage` holds cpu_seconds and max_rss_bytes where known."""

    attempt: int
    outcome: Outcome
    at_us: int
    started_us: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    log: Json = None
    lost_bytes: int = 0
    usage: Json = None


@dataclass(frozen=True)
class WorkerChanged:
    """A worker's row. `state`: starting | connected | unreachable | retiring | gone."""

    worker: str
    state: str
    pid: int | None
    slots: int
    at_us: int
    message: str = ""


@dataclass(frozen=True)
class SwitchChanged:
    """A queue's switches as they stand from now on: `paused` grants no starts; `draining` takes nothing new."""

    queue: str
    paused: bool
    draining: bool
    actor: str
    why: str
    at_us: int


@dataclass(frozen=True)
class EventAdded:
    """A recorded fact. Its revision is given by the store, in commit order. `actor` is who (engine, folder,
    `uid:NAME`), `kind` is noun.verb in the past (run.ended, file.broken, queue.paused), `why` the stated reason."""

    kind: str
    at_us: int
    actor: str = "engine"
    workflow: str | None = None
    run: int | None = None
    task: int | None = None
    attempt: int | None = None
    worker: str | None = None
    why: str = ""
    data: dict[str, Json] = field(default_factory=dict)


Change = (
    DefinitionAdded
    | WorkflowChanged
    | RunAdded
    | RunChanged
    | RoundAdded
    | RoundEnded
    | EdgesAdded
    | TaskAdded
    | TaskExpanded
    | TaskChanged
    | TaskStopRequested
    | AttemptAdded
    | AttemptStarted
    | AttemptProgress
    | AttemptEnded
    | WorkerChanged
    | SwitchChanged
    | EventAdded
)
