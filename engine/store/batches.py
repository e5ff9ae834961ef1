"""Owns the order of a batch: which changes may be written together by one executemany.

A change may join an earlier group of its type unless a group in between touches a row it touches or refers to.
So the interleaved changes of a hundred starts become three statements, and every row still sees its own order."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from engine.model import changes as c

Key = tuple[str, Hashable]
Group = tuple[type, list[Any]]


def group(changes: Iterable[c.Change]) -> list[Group]:
    """The changes in an equivalent order with few groups."""
    groups: list[Group] = []
    newest: dict[type, int] = {}
    touched: dict[Key, int] = {}
    for change in changes:
        kind = type(change)
        keys = _KEYS[kind](change)
        floor = max((touched.get(key, -1) for key in keys), default=-1)
        place = newest.get(kind, -1)
        if place < max(floor, 0):
            place = newest[kind] = len(groups)
            groups.append((kind, []))
        groups[place][1].append(change)
        for key in keys:
            touched[key] = place
    return groups


def _task_added(change: c.TaskAdded) -> tuple[Key, ...]:
    return ("run", change.run), ("task", change.task)


def _attempt_added(change: c.AttemptAdded) -> tuple[Key, ...]:
    return ("task", change.task), ("attempt", change.attempt)


def _run_added(change: c.RunAdded) -> tuple[Key, ...]:
    return ("definition", change.definition), ("run", change.run)


def _workflow_changed(change: c.WorkflowChanged) -> tuple[Key, ...]:
    return ("definition", change.definition), ("workflow", change.name)


def _one(kind: str, name: str) -> Callable[[Any], tuple[Key, ...]]:
    return lambda change: ((kind, getattr(change, name)),)


_KEYS: dict[type, Callable[[Any], tuple[Key, ...]]] = {
    c.DefinitionAdded: _one("definition", "definition"),
    c.WorkflowChanged: _workflow_changed,
    c.RunAdded: _run_added,
    c.RunChanged: _one("run", "run"),
    c.RoundAdded: _one("run", "run"),
    c.RoundEnded: _one("run", "run"),
    c.EdgesAdded: _one("run", "run"),
    c.TaskAdded: _task_added,
    c.TaskExpanded: _one("task", "task"),
    c.TaskChanged: _one("task", "task"),
    c.TaskStopRequested: _one("task", "task"),
    c.AttemptAdded: _attempt_added,
    c.AttemptStarted: _one("attempt", "attempt"),
    c.AttemptProgress: _one("attempt", "attempt"),
    c.AttemptEnded: _one("attempt", "attempt"),
    c.WorkerChanged: _one("worker", "worker"),
    c.SwitchChanged: _one("queue", "queue"),
    c.EventAdded: lambda change: (),
}
