"""Owns the kept numbers: tasks by run, queue and state, and by queue over the open runs and over all time.

A run counts as open as it stands at the end of its batch, and as it stood at the start when it leaves. A task may
change only within an open run, so a run that the batch does not mention is taken as open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, case, delete, func, insert, select

from engine.model import changes as c
from engine.model.lifecycle import RunState
from engine.store import schema as s
from engine.store.statements import add_counts

CHUNK = 500  # ids in one IN list
OPEN_STATES = tuple(state.value for state in RunState if not state.is_final)

Place = tuple[int, str]  # the run and the queue of a task


def chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    ordered = sorted(ids)
    return (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))


class Counts:
    """Knows where each open task belongs, so that a change of state finds its counters without reading the task."""

    def __init__(self, dialect: str) -> None:
        self._places: dict[int, Place] = {}
        self._add_run = add_counts(s.run_counts, dialect, "n")
        self._add_queue = add_counts(s.queue_counts, dialect, "open", "total")

    def record(self, connection: Connection, changes: list[c.Change]) -> None:
        """Brings the counters along with the batch; called within its transaction."""
        deltas = self._deltas(connection, changes)
        first, last = _run_states(changes)
        closing = {run for run, state in last.items() if first[run] and state.is_final}
        reopened = {run for run, state in last.items() if first[run] is False and not state.is_final}
        opened: Counter[tuple[str, str]] = Counter()
        opened.subtract(_sums(connection, closing))
        self._write_runs(connection, deltas)
        opened.update(_sums(connection, reopened))
        total: Counter[tuple[str, str]] = Counter()
        for (run, queue, state), n in deltas.items():
            total[queue, state] += n
            if run not in reopened and not (run in last and last[run].is_final):
                opened[queue, state] += n
        self._write_queues(connection, opened, total)

    def settle(self, changes: list[c.Change]) -> None:
        """The batch is committed: remember its new tasks, forget the finished ones."""
        for change in changes:
            if isinstance(change, c.TaskAdded):
                self._places[change.task] = (change.run, change.queue)
            if isinstance(change, c.TaskAdded | c.TaskChanged) and change.state.is_final:
                self._places.pop(change.task, None)

    def _deltas(self, connection: Connection, changes: list[c.Change]) -> dict[tuple[int, str, str], int]:
        added = {x.task: (x.run, x.queue) for x in changes if isinstance(x, c.TaskAdded)}
        changed = [x for x in changes if isinstance(x, c.TaskChanged)]
        self._learn(connection, {x.task for x in changed} - self._places.keys() - added.keys())
        deltas: Counter[tuple[int, str, str]] = Counter()
        for x in changes:
            if isinstance(x, c.TaskAdded):
                deltas[x.run, x.queue, x.state.value] += 1
            elif isinstance(x, c.TaskChanged):
                run, queue = added.get(x.task) or self._places[x.task]
                deltas[run, queue, x.before.value] -= 1
                deltas[run, queue, x.state.value] += 1
        return {key: n for key, n in deltas.items() if n}

    def _learn(self, connection: Connection, unknown: set[int]) -> None:
        for part in chunks(unknown):
            columns = select(s.tasks.c.id, s.tasks.c.run, s.tasks.c.queue)
            for task, run, queue in connection.execute(columns.where(s.tasks.c.id.in_(part))):
                self._places[task] = (run, queue)

    def _write_runs(self, connection: Connection, deltas: dict[tuple[int, str, str], int]) -> None:
        rows = [{"run": run, "queue": queue, "state": state, "n": n} for (run, queue, state), n in deltas.items()]
        if rows:
            connection.execute(self._add_run, rows)

    def _write_queues(
        self, connection: Connection, opened: Counter[tuple[str, str]], total: Counter[tuple[str, str]]
    ) -> None:
        rows = [
            {"queue": key[0], "state": key[1], "open": opened[key], "total": total[key]}
            for key in opened.keys() | total.keys()
            if opened[key] or total[key]
        ]
        if rows:
            connection.execute(self._add_queue, rows)


def _run_states(changes: list[c.Change]) -> tuple[dict[int, bool | None], dict[int, RunState]]:
    """Of each run mentioned: was it open before the batch (None: it did not exist), and its state after."""
    first: dict[int, bool | None] = {}
    last: dict[int, RunState] = {}
    for x in changes:
        if isinstance(x, c.RunAdded):
            first[x.run], last[x.run] = None, x.state
        elif isinstance(x, c.RunChanged):
            first.setdefault(x.run, not x.before.is_final)
            last[x.run] = x.state
    return first, last


def _sums(connection: Connection, runs: set[int]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    table = s.run_counts.c
    for part in chunks(runs):
        statement = select(table.queue, table.state, func.sum(table.n)).group_by(table.queue, table.state)
        for queue, state, n in connection.execute(statement.where(table.run.in_(part))):
            found[queue, state] += int(n)
    return found


def rebuild(connection: Connection) -> None:
    """Counts the open runs' tasks anew from the runs' own counters. Totals are history and stay."""
    kept = {(row.queue, row.state): row.total for row in connection.execute(select(s.queue_counts))}
    opened = case((s.runs.c.state.in_(OPEN_STATES), s.run_counts.c.n), else_=0)
    statement = select(s.run_counts.c.queue, s.run_counts.c.state, func.sum(opened))
    statement = statement.join(s.runs, s.runs.c.id == s.run_counts.c.run)
    statement = statement.group_by(s.run_counts.c.queue, s.run_counts.c.state)
    found = {(queue, state): int(n) for queue, state, n in connection.execute(statement)}
    rows: list[dict[str, Any]] = [
        {"queue": key[0], "state": key[1], "open": found.get(key, 0), "total": kept.get(key, 0)}
        for key in sorted(found.keys() | kept.keys())
    ]
    connection.execute(delete(s.queue_counts))
    if rows:
        connection.execute(insert(s.queue_counts), rows)
