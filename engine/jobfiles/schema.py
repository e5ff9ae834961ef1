"""The keys of a job file as pydantic models: what validates a file is what `interlock schema` prints."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Tag, WithJsonSchema

from engine.jobfiles.fields import (
    ABSENT,
    Attempts,
    Callable_,
    Duration,
    EnvName,
    EnvValue,
    ExitCode,
    Factor,
    Filled,
    Fraction,
    JobName,
    ParameterName,
    Priority,
    Text,
    Truth,
    Wait,
    WorkflowName,
    one_of,
    shape,
    split_command,
)

ACTIONS = ("command", "shell", "python")
PYTHON_ONLY = ("pool", "arguments", "interpreter", "pythonpath")
UNSUPPORTED = ("schedule", "locks", "limits", "resources", "alone")
UNSUPPORTED_ON = ("file", "after", "event", "schedule", "webhook")

_POOLS = ("process", "thread", "async")
_CONDITIONS = ("succeeded", "failed", "done")
_LOST = ("retry", "fail", "hold")

Pool_ = Annotated[str, one_of(*_POOLS), WithJsonSchema({"type": "string", "enum": list(_POOLS)})]
Condition_ = Annotated[str, one_of(*_CONDITIONS), WithJsonSchema({"type": "string", "enum": list(_CONDITIONS)})]
OnLost_ = Annotated[str, one_of(*_LOST), WithJsonSchema({"type": "string", "enum": list(_LOST)})]
Manual = Annotated[str, one_of("manual", "{manual: true}"), WithJsonSchema({"const": "manual"})]


class Table(BaseModel):
    """A mapping that knows all its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class RetryTable(Table):
    """When and how often a failed attempt is made again."""

    attempts: Attempts
    """Executions in all, the first included."""
    backoff: Wait = 0.0
    """Wait before the first retry."""
    factor: Factor = 1.0
    """Each further wait is this many times the one before."""
    jitter: Fraction = 0.0
    """Spread each wait by up to this fraction of it."""
    max_backoff: Wait = 3600.0
    """No wait is longer."""
    exit_codes: list[ExitCode] = ABSENT
    """Retry only after these exit codes; left out: after any failure."""


class OnTable(Table):
    """What starts a run, besides the file's own arrival."""

    manual: Truth = False
    """True: runs only when asked."""


_RETRY = "a number of attempts, or a mapping with attempts, backoff, factor, jitter, max_backoff and exit_codes"
_NEEDS = "a list of job names, or a mapping from job name to succeeded, failed or done"

Retry_ = Annotated[
    Annotated[Attempts, Tag("<number>")] | Annotated[RetryTable, Tag("<mapping>")],
    shape(_RETRY),
]
Needs = Annotated[
    Annotated[list[Filled], Tag("<list>")] | Annotated[dict[str, Condition_], Tag("<mapping>")],
    shape(_NEEDS),
]
Each = Annotated[
    Annotated[list[Any], Tag("<list>")] | Annotated[Filled, Tag("<text>")],
    shape("a list, or one template such as {{{{ params.items }}}}"),
]
Arguments = Annotated[
    Annotated[list[Any], Tag("<list>")] | Annotated[dict[str, Any], Tag("<mapping>")],
    shape("a mapping of keyword arguments, or a list of positional ones"),
]
On = Annotated[
    Annotated[Manual, Tag("<text>")] | Annotated[OnTable, Tag("<mapping>")],
    shape("manual, or a mapping with manual"),
]
Argv = Annotated[
    list[Text],
    BeforeValidator(split_command),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {"type": "string", "minLength": 1},
            ]
        }
    ),
]


class DefaultsTable(Table):
    """What holds for each job that does not say otherwise. A job's own value replaces it; `env` is merged by name."""

    timeout: Duration = ABSENT
    """An attempt that runs longer is stopped."""
    stall: Duration = ABSENT
    """An attempt that reports no progress for this long is warned about, then stopped."""
    grace: Wait = ABSENT
    """Between the polite request to stop and the kill."""
    env: dict[EnvName, EnvValue] = Field(default_factory=dict)
    """Environment variables; templates allowed in the values."""
    cwd: Filled = ABSENT
    """Where the job runs, relative to the root; templates allowed."""
    priority: Priority = 0
    """Higher goes first."""
    retry: Retry_ = ABSENT
    """When and how often a failed attempt is made again; a bare number counts attempts."""
    on_lost: OnLost_ = "fail"
    """What follows if the worker vanished and nobody knows whether the work was done."""
    interpreter: Filled = ABSENT
    """The Python that runs a callable, relative to the root; left out: the engine's own."""
    pythonpath: list[Filled] = Field(default_factory=list)
    """Folders where a callable's module is looked for, relative to the root."""
    pool: Pool_ = "process"
    """Where a Python callable executes."""


class JobTable(DefaultsTable):
    """One unit of work: exactly one of command, shell and python says what to do."""

    command: Argv = ABSENT
    """A program and its arguments, templates allowed; one string is split as a shell would."""
    shell: Filled = ABSENT
    """A script for /bin/sh; never templated: values arrive as environment variables."""
    python: Callable_ = ABSENT
    """A callable, as module:function."""
    arguments: Arguments = ABSENT
    """What a Python callable is called with; templates allowed."""
    needs: Needs = ABSENT
    """Jobs that come before, by name; in a mapping, with the condition on each."""
    each: Each = ABSENT
    """One task per item: a list, or one template that yields one."""


class WorkflowTable(JobTable):
    """A job file: a workflow with its jobs, or the keys of a single job at the top."""

    name: WorkflowName = ABSENT
    """The workflow's name; left out: the file's stem."""
    description: Text = ""
    """What it is for, in a sentence."""
    on: On = ABSENT
    """What starts a run; left out: each definition runs once when dropped."""
    parameters: dict[ParameterName, Any] = Field(default_factory=dict)
    """Parameters and their defaults."""
    defaults: DefaultsTable = Field(default_factory=DefaultsTable)
    """What holds for each job that does not say otherwise."""
    jobs: dict[JobName, JobTable] = ABSENT
    """The jobs by name."""


JOB_KEYS = tuple(JobTable.model_fields)
