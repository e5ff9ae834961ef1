"""What the store's tests share: a small world of one run with one task and one attempt, change by change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.model import changes as c
from engine.model.lifecycle import Outcome, RunState, TaskState
from engine.model.workflow import Command, Job, Workflow
from engine.store import Store

W, R, X, OK = TaskState.WAITING, TaskState.READY, TaskState.RUNNING, TaskState.SUCCEEDED
WORKFLOW = Workflow("nightly", (Job("scan", Command(("true",))),))
DAY_US = 86_400_000_000


def at(folder: Path) -> Path:
    return folder / "state" / "interlock.db"


def definition(number: int = 1, revision: int = 1) -> c.DefinitionAdded:
    return c.DefinitionAdded(number, WORKFLOW, revision, "jobs.d/nightly.yaml", 5)


def run(number: int = 1, key: str | None = None, state: RunState = RunState.RUNNING, **more: Any) -> c.RunAdded:
    key = key or f"manual:{number}"
    given = {"parameters": {"p": 1}, "trigger": {"kind": "manual"}, "priority": 3, "actor": "uid:me", "at_us": 10}
    return c.RunAdded(number, "nightly", 1, key, state, **(given | more))


def task(number: int = 1, of: int = 1, item: int | None = None, **more: Any) -> c.TaskAdded:
    given: dict[str, Any] = {"job": "scan", "round": 1, "queue": "independent", "state": R, "reason": "released"}
    return c.TaskAdded(task=number, run=of, item=item, priority=3, at_us=11, **(given | more))


def change(number: int = 1, before: TaskState = R, state: TaskState = X, at_us: int = 20, **more: Any) -> c.TaskChanged:
    return c.TaskChanged(number, before, state, "started", at_us, **({"attempts": 1} | more))


def attempt(number: int = 1, of: int = 1, nth: int = 1) -> c.AttemptAdded:
    return c.AttemptAdded(number, of, 1, nth, 1, "w1", 20)


def end(number: int = 1, **more: Any) -> c.AttemptEnded:
    return c.AttemptEnded(number, Outcome.SUCCEEDED, 40, **more)


def run_ended(number: int = 1, at_us: int = 50, state: RunState = RunState.SUCCEEDED) -> c.RunChanged:
    return c.RunChanged(number, RunState.RUNNING, state, "", at_us, 1, ended_us=at_us)


def whole(number: int, at_us: int) -> list[c.Change]:
    """A run from birth to end, with one task and one attempt of the same number."""
    return [
        run(number),
        task(number, number),
        change(number),
        attempt(number, number),
        end(number, log={"file": number}),
        change(number, X, OK),
        c.RoundEnded(number, 1, RunState.SUCCEEDED, at_us),
        run_ended(number, at_us),
        c.EventAdded("run.ended", at_us, run=number),
    ]


def started(folder: Path) -> Store:
    """A store with a running run of one running task and its attempt."""
    store = Store.open(at(folder))
    store.commit([definition(), run(), task(), change(), attempt()])
    return store
