"""What workers report to the loop, as values."""

from __future__ import annotations

from dataclasses import dataclass

from engine.model.lifecycle import Outcome
from engine.model.workflow import Json


@dataclass(frozen=True)
class Started:
    attempt: int
    at_us: int
    pid: int | None


@dataclass(frozen=True)
class Progressed:
    attempt: int
    done: float
    total: float | None


@dataclass(frozen=True)
class Ended:
    """An attempt is over and its process tree is gone. `reason` is a lifecycle.Reason value."""

    attempt: int
    outcome: Outcome
    reason: str
    at_us: int
    started_us: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    output: Json = None
    log: Json = None
    lost_bytes: int = 0
    usage: Json = None


@dataclass(frozen=True)
class WorkerSeen:
    """A worker's state changed: starting | connected | unreachable | retiring | gone."""

    worker: str
    state: str
    pid: int | None
    slots: int
    message: str = ""


Report = Started | Progressed | Ended | WorkerSeen
