"""What a job file says, as frozen values: a workflow, its jobs and their rules. Loading is jobfiles' business."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

Json = Any  # a value that came from, or can go to, JSON


class Condition(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DONE = "done"


class Pool(StrEnum):
    """Where an attempt executes. COMMAND serves commands and shell scripts, the others Python callables."""

    COMMAND = "command"
    PROCESS = "process"
    THREAD = "thread"
    ASYNC = "async"


class OnLost(StrEnum):
    RETRY = "retry"
    FAIL = "fail"
    HOLD = "hold"


@dataclass(frozen=True)
class Command:
    """A program and its arguments; templates allowed in each argument unless it is `literal` (word for word)."""

    argv: tuple[str, ...]
    literal: bool = False
    type: Literal["command"] = "command"


@dataclass(frozen=True)
class Shell:
    """A script handed to /bin/sh -c, never templated: values arrive as environment variables."""

    script: str
    type: Literal["shell"] = "shell"


@dataclass(frozen=True)
class Call:
    """A Python callable. `arguments` is a mapping (keywords) or a list (positional); templates allowed.
    `interpreter` None means the engine's own Python; paths are relative to the root."""

    module: str
    function: str
    pool: Pool = Pool.PROCESS
    arguments: Json = None
    interpreter: str | None = None
    pythonpath: tuple[str, ...] = ()
    type: Literal["call"] = "call"


Action = Annotated[Command | Shell | Call, Field(discriminator="type")]


@dataclass(frozen=True)
class Need:
    """A prerequisite: a job of the same workflow and the condition on it."""

    job: str
    when: Condition = Condition.SUCCEEDED


@dataclass(frozen=True)
class Retry:
    """`attempts` counts executions, the first included. The nth retry waits backoff x factor^(n-1) seconds, at
    most max_backoff, spread by +-jitter (a fraction). `exit_codes` None means any failure is retried."""

    attempts: int = 1
    backoff_seconds: float = 0.0
    factor: float = 1.0
    jitter: float = 0.0
    max_backoff_seconds: float = 3600.0
    exit_codes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Job:
    """One unit of work. `each` is a list of items, a template string that yields one, or None (one task).
    None for a time means no limit."""

    name: str
    action: Action
    needs: tuple[Need, ...] = ()
    each: Json = None
    env: dict[str, str] = field(default_factory=dict)
    cwd: str | None = None
    priority: int = 0
    retry: Retry = Retry()
    timeout_seconds: float | None = None
    stall_seconds: float | None = None
    grace_seconds: float | None = None
    on_lost: OnLost = OnLost.FAIL

    @property
    def pool(self) -> Pool:
        return self.action.pool if isinstance(self.action, Call) else Pool.COMMAND


@dataclass(frozen=True)
class Workflow:
    """A named set of jobs. `manual` True: runs only when asked; False: each definition runs once when dropped."""

    name: str
    jobs: tuple[Job, ...]
    description: str = ""
    parameters: dict[str, Json] = field(default_factory=dict)
    manual: bool = False

    @cached_property
    def definition_hash(self) -> str:
        """Hex digest of the meaning: comments, order of keys and the file's place do not count."""
        return hashlib.sha256(self.to_json()).hexdigest()[:32]

    def to_json(self) -> bytes:
        """The canonical JSON the store keeps and `from_json` reads."""
        return _ADAPTER.dump_json(self)

    @staticmethod
    def from_json(data: bytes | str) -> Workflow:
        return _ADAPTER.validate_json(data)

    def job(self, name: str) -> Job:
        """The job of that name; KeyError if the workflow has none."""
        return next((job for job in self.jobs if job.name == name), None) or _no_job(self.name, name)


def _no_job(workflow: str, name: str) -> Job:
    raise KeyError(f"workflow {workflow} has no job {name}")


_ADAPTER: TypeAdapter[Workflow] = TypeAdapter(Workflow)
