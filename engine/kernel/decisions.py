"""What one turn decides, gathered in order: changes to record, then effects to perform after the commit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.model.changes import Change
from engine.model.workflow import Json, Pool

if TYPE_CHECKING:
    from engine.kernel.state import Run


@dataclass(frozen=True)
class Start:
    """An attempt to send to its worker once it is on record; the templates are filled."""

    attempt: int
    task: int
    run: int
    job: str
    number: int
    worker: str
    pool: Pool
    argv: tuple[str, ...]
    call: Json  # module, function, arguments, interpreter, pythonpath; None for commands
    cwd: str | None
    env: dict[str, str]
    context: dict[str, Json]
    timeout_seconds: float | None
    stall_seconds: float | None
    grace_seconds: float | None


@dataclass(frozen=True)
class Kill:
    attempt: int
    grace_seconds: float | None
    why: str


@dataclass
class Decisions:
    """`finished` are attempts whose end is among the changes: their seats are free and workers may forget them."""

    changes: list[Change] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    ended_runs: list[Run] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.changes or self.starts or self.kills or self.finished)
