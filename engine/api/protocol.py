"""The bodies that cross the door, as pydantic models: requests are strict, answers name what is certain and let
more through, so that a newer engine's extra field never breaks an older client."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from engine.api.wire import parse_id
from engine.model.workflow import Condition

RunId = Annotated[int, BeforeValidator(lambda v: parse_id("run", v))]
TaskId = Annotated[int, BeforeValidator(lambda v: parse_id("task", v))]
QueueName = Literal["dependent", "independent"]
Priority = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]


class Body(BaseModel):
    """What every request carries. The same request_id again is the same request."""

    model_config = ConfigDict(extra="forbid")
    request_id: str = Field(default_factory=lambda: uuid4().hex, min_length=1, max_length=128)


class RunBody(Body):
    workflow: str | None = None
    file: str | None = None
    parameters: dict[str, JsonValue] = {}
    priority: Priority | None = None

    @model_validator(mode="after")
    def _one_source(self) -> RunBody:
        if (self.workflow is None) == (self.file is None):
            raise ValueError("give exactly one of workflow and file")
        if self.file is not None and not self.file.startswith("/"):
            raise ValueError("file must be an absolute path")
        return self


class AfterRun(BaseModel):
    model_config = ConfigDict(extra="forbid")
    run: RunId
    when: Condition = Condition.SUCCEEDED


class CommandBody(Body):
    argv: list[str] = Field(min_length=1)
    cwd: str | None = None
    env: dict[str, str] = {}
    name: str | None = Field(default=None, min_length=1, max_length=200)
    priority: Priority = 0
    after: list[AfterRun] = []


class WhyBody(Body):
    why: str = Field(default="", max_length=2000)


class RetryBody(WhyBody):
    tasks: list[TaskId] = []


class KillBody(WhyBody):
    grace_seconds: float | None = Field(default=None, ge=0, le=86_400)


class StopBody(WhyBody):
    mode: Literal["drain", "now", "detach"] = "drain"


class View(BaseModel):
    model_config = ConfigDict(extra="allow")


class ReplyView(View):
    status: Literal["done"]
    why: str = ""
    data: dict[str, Any] = {}


class Problem(BaseModel):
    """The body of every answer that is not a success."""

    status: Literal["missing", "refused", "invalid", "busy", "too_large", "failed", "starting"]
    why: str


class Live(BaseModel):
    status: Literal["live", "ready"]


class StatusView(View):
    pid: int
    root: str
    version: str
    state: str
    revision: int
    queues: dict[str, Any]
    workers: list[Any]
    problems: list[Any] = []
    started: str | None = None


class WorkflowView(View):
    name: str


class RunView(View):
    id: str
    state: str


class RunDetail(RunView):
    """A run with its rounds, the edges between its jobs, and how many tasks are in each state."""

    rounds: list[dict[str, Any]]
    edges: list[Any]
    counts: dict[str, int]


class TaskView(View):
    id: str
    state: str


class TaskDetail(TaskView):
    """A task with its attempts, oldest first."""

    history: list[dict[str, Any]]


class EventView(View):
    rev: int
    kind: str


class Workflows(BaseModel):
    items: list[WorkflowView]


class Runs(BaseModel):
    items: list[RunView]
    next: str | None = None


class Tasks(BaseModel):
    items: list[TaskView]
    next: str | None = None


class Events(BaseModel):
    items: list[EventView]
    next: int | None = None
