"""What an operator asks of a running engine, as values. Each carries a `request_id`: the same id again is the same
request and is harmless. The api room builds them, the runtime handles them."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.model.workflow import Condition, Json


@dataclass(frozen=True)
class RunWorkflow:
    """Start a run now: of the named workflow, or of the job file at the absolute path `file` (exactly one)."""

    request_id: str
    workflow: str | None = None
    file: str | None = None
    parameters: dict[str, Json] = field(default_factory=dict)
    priority: int | None = None


@dataclass(frozen=True)
class AddCommand:
    """Queue an ad-hoc command as a run of its own. `after` are run ids that must end as the condition says."""

    request_id: str
    argv: tuple[str, ...]
    cwd: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    name: str | None = None
    priority: int = 0
    after: tuple[tuple[int, Condition], ...] = ()


@dataclass(frozen=True)
class CancelRun:
    request_id: str
    run: int
    why: str = ""


@dataclass(frozen=True)
class KillTask:
    """Kill a running task, or cancel it if it has not started. `grace_seconds` None: the job's own."""

    request_id: str
    task: int
    grace_seconds: float | None = None
    why: str = ""


@dataclass(frozen=True)
class RetryRun:
    """Open a new round: the tasks named, or all failed and cancelled ones, with what was skipped because of them."""

    request_id: str
    run: int
    tasks: tuple[int, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class SetQueue:
    """Pause, resume or drain a queue (dependent | independent). None leaves a switch as it is."""

    request_id: str
    queue: str
    paused: bool | None = None
    draining: bool | None = None
    why: str = ""


@dataclass(frozen=True)
class StopEngine:
    """`mode`: drain (finish, then past the deadline kill), now (kill), detach (leave workers to the next engine)."""

    request_id: str
    mode: str = "drain"
    why: str = ""


Request = RunWorkflow | AddCommand | CancelRun | KillTask | RetryRun | SetQueue | StopEngine


@dataclass(frozen=True)
class Reply:
    """`status`: done (accepted and on record) | refused (why says what is wrong) | missing (no such thing).
    `data` names what was made or touched, for example {"run": 12, "round": 1}."""

    status: str
    why: str = ""
    data: dict[str, Json] = field(default_factory=dict)
