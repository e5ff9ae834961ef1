"""Every limit and setting, with its name, unit and default. `interlock.toml` overrides them; jobfiles reads it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Slots:
    """Quotas over one pool of seats: how many attempts each queue may run; lending lets one use the other's idle
    ones. The pool figures cap attempts by where they execute."""

    dependent: int = 4
    independent: int = 4
    lending: bool = True
    command: int | None = None  # None means no cap beyond the queues' slots
    process: int | None = None
    thread: int | None = None
    asyncio: int | None = None


@dataclass(frozen=True)
class Retention:
    """Finished runs older than max_age or beyond the newest max_runs (of the store) are removed with their logs."""

    max_age_days: float = 30.0
    max_runs: int = 100_000
    max_events: int = 1_000_000
    batch_rows: int = 1_000


@dataclass(frozen=True)
class Logs:
    cap_bytes: int = 64 * 1024 * 1024  # per attempt: first half and last half are kept
    own_file_bytes: int = 64 * 1024  # an attempt's output beyond this moves to a file of its own
    segment_bytes: int = 8 * 1024 * 1024


@dataclass(frozen=True)
class Grace:
    """Seconds between the polite request and the end."""

    kill_seconds: float = 10.0  # a job: TERM to KILL
    drain_seconds: float = 60.0  # SIGTERM to the engine: running work may take this long before it is killed
    orphan_seconds: float = 60.0  # a worker with neither engine nor work leaves after this
    adopt_seconds: float = 5.0  # a new engine waits this long for living workers to report


@dataclass(frozen=True)
class Config:
    """`folders` are watched job folders, relative to the root; `database` None means .interlock/interlock.db."""

    folders: tuple[str, ...] = ("jobs.d",)
    slots: Slots = field(default_factory=Slots)
    retention: Retention = field(default_factory=Retention)
    logs: Logs = field(default_factory=Logs)
    grace: Grace = field(default_factory=Grace)
    worker_slots: int = 8  # attempts one worker host executes side by side
    output_limit_bytes: int = 1024 * 1024
    database: str | None = None
