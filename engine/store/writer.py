"""Owns the one way in: a batch of changes becomes one transaction, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from engine.model import changes as c
from engine.store import rows, statements
from engine.store import schema as s
from engine.store.batches import group
from engine.store.codec import to_text
from engine.store.counts import Counts
from engine.store.errors import StoreBrokenError

Write = Callable[[Connection, list[Any]], None]


class Writer:
    """Writes batches through the writer's connection. Not thread-safe: the Store holds its lock around it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._counts = Counts(engine.dialect.name)
        self._writes = _writes(engine.dialect.name)
        with engine.begin() as connection:
            self._revision = int(connection.scalar(select(func.max(s.events.c.rev))) or 0)

    def commit(self, changes: Sequence[c.Change]) -> tuple[int, list[dict[str, Any]]]:
        """Writes all of it in one transaction; the events come back with their revisions. Errors are the driver's."""
        batch = list(changes)
        revision, events = self._revision, self._number(batch)
        if batch:
            with self._engine.begin() as connection:
                self._write(connection, batch, events)
            self._counts.settle(batch)
            self._revision = revision + len(events)
        return self._revision, events

    def _number(self, batch: list[c.Change]) -> list[dict[str, Any]]:
        events = (rows.event(change) for change in batch if isinstance(change, c.EventAdded))
        return [{"rev": rev, **event} for rev, event in enumerate(events, self._revision + 1)]

    def _write(self, connection: Connection, batch: list[c.Change], events: list[dict[str, Any]]) -> None:
        for kind, members in group(batch):
            if kind is not c.EventAdded:
                self._writes[kind](connection, members)
        if events:
            encoded = [event | {"data": to_text(event["data"])} for event in events]
            connection.execute(statements.ADD_EVENT, encoded)
        self._counts.record(connection, batch)


def _writes(dialect: str) -> dict[type, Write]:
    """How each kind is written."""
    return {
        c.DefinitionAdded: _add(statements.ADD_DEFINITION, rows.definition),
        c.WorkflowChanged: _upsert(statements.upsert(s.workflows, dialect), rows.workflow, "name"),
        c.RunAdded: _add_runs,
        c.RunChanged: _exact(statements.CHANGE_RUN, rows.run_change),
        c.RoundAdded: _add(statements.ADD_ROUND, rows.round_added),
        c.RoundEnded: _exact(statements.end_round(dialect), rows.round_ended),
        c.EdgesAdded: _add_edges,
        c.TaskAdded: _add(statements.ADD_TASK, rows.task),
        c.TaskExpanded: _exact(statements.EXPAND_TASK, rows.task_expansion),
        c.TaskChanged: _exact(statements.CHANGE_TASK, rows.task_change),
        c.TaskStopRequested: _exact(statements.STOP_TASK, rows.task_stop),
        c.AttemptAdded: _add(statements.ADD_ATTEMPT, rows.attempt),
        c.AttemptStarted: _exact(statements.START_ATTEMPT, rows.attempt_start),
        c.AttemptProgress: _exact(statements.NOTE_PROGRESS, rows.attempt_progress),
        c.AttemptEnded: _exact(statements.END_ATTEMPT, rows.attempt_end),
        c.WorkerChanged: _upsert(statements.upsert(s.workers, dialect), rows.worker, "worker"),
        c.SwitchChanged: _upsert(statements.upsert(s.switches, dialect), rows.switch, "queue"),
    }


def _add(statement: Any, row: Callable[[Any], rows.Row]) -> Write:
    def write(connection: Connection, members: list[Any]) -> None:
        connection.execute(statement, [row(member) for member in members])

    return write


def _upsert(statement: Any, row: Callable[[Any], rows.Row], key: str) -> Write:
    """Only the last word on each key is written: what came before it in the same batch was never seen by anyone."""

    def write(connection: Connection, members: list[Any]) -> None:
        latest = {getattr(member, key): row(member) for member in members}
        connection.execute(statement, list(latest.values()))

    return write


def _exact(statement: Any, row: Callable[[Any], rows.Row]) -> Write:
    """A guarded write: each row given must hit exactly one row of the database."""

    def write(connection: Connection, members: list[Any]) -> None:
        hit = connection.execute(statement, [row(member) for member in members]).rowcount
        if hit != len(members):
            raise _disagreement(members, hit)

    return write


def _disagreement(members: list[Any], hit: int) -> StoreBrokenError:
    shown = "; ".join(str(member) for member in members[:3])
    more = f" and {len(members) - 3} more" if len(members) > 3 else ""
    return StoreBrokenError(
        f"the database disagrees with the engine: {hit} of {len(members)} guarded writes applied, nothing was kept. "
        f"Start the engine again; it rebuilds its state from the database. The writes: {shown}{more}"
    )


def _add_runs(connection: Connection, members: list[c.RunAdded]) -> None:
    connection.execute(statements.ADD_RUN, [rows.run(member) for member in members])
    connection.execute(statements.ADD_OCCURRENCE, [rows.occurrence(member) for member in members])
    if awaited := rows.awaited(members):
        connection.execute(statements.ADD_AFTER, awaited)


def _add_edges(connection: Connection, members: list[c.EdgesAdded]) -> None:
    if edges := rows.edges(members):
        connection.execute(statements.ADD_EDGE, edges)
