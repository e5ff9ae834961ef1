"""Owns forgetting: which finished runs and old events go, a bounded number of rows a transaction.

A run goes from its leaves to its root over as many transactions as its size asks for; one that a crash left half
removed is still a victim the next time. Its occurrence stays, so that what ran once never runs again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, Table, delete, func, select, update

from engine.model.config import Retention
from engine.store import schema as s
from engine.store.codec import from_text
from engine.store.counts import OPEN_STATES
from engine.store.statements import greatest

DAY_US = 86_400_000_000
MOST_ROWS = 10_000  # ids go in one IN list, and a database bounds its length
_SMALL = (s.run_counts, s.edges, s.rounds, s.run_after)  # a run's rows that are few: they go with it

Removed = list[dict[str, Any]]


def victims(connection: Connection, rule: Retention, at_us: int, limit: int) -> list[int]:
    """The oldest finished runs that are too old or too many, and that no open run awaits."""
    final = s.runs.c.state.not_in(OPEN_STATES)
    oldest_kept = _nth_newest(connection, select(s.runs.c.id).where(final).order_by(s.runs.c.id.desc()), rule.max_runs)
    waiting = s.runs.alias("waiting")
    awaited = (
        select(s.run_after.c.needed)
        .join(waiting, waiting.c.id == s.run_after.c.run)
        .where(waiting.c.state.in_(OPEN_STATES), s.run_after.c.needed == s.runs.c.id)
    )
    ended = func.coalesce(s.runs.c.ended_us, s.runs.c.changed_us)
    due = (ended < at_us - int(rule.max_age_days * DAY_US)) | (s.runs.c.id <= oldest_kept)
    statement = select(s.runs.c.id).where(final, due, ~awaited.exists()).order_by(s.runs.c.id).limit(limit)
    return list(connection.scalars(statement))


def _nth_newest(connection: Connection, ids_newest_first: Select[Any], keep: int) -> int:
    """The greatest id that is no longer among the `keep` newest; 0 if there is none."""
    return int(connection.scalar(ids_newest_first.limit(1).offset(keep)) or 0)


def _batch(rule: Retention) -> int:
    return min(max(rule.batch_rows, 1), MOST_ROWS)


def remove_runs(connection: Connection, rule: Retention, at_us: int) -> tuple[Removed, bool]:
    """Removes finished runs up to one batch of rows: the attempts among them, and whether there may be more."""
    rows = _batch(rule)
    removed: Removed = []
    for run in victims(connection, rule, at_us, rows):
        rows -= _remove_run(connection, run, rows, removed)
        if rows <= 0:
            return removed, True
    return removed, False


def _remove_run(connection: Connection, run: int, limit: int, removed: Removed) -> int:
    """Removes up to `limit` rows of the run, itself last; how many it were."""
    rows = limit - _remove_attempts(connection, run, limit, removed)
    if rows > 0:
        rows -= _remove_tasks(connection, run, rows)
    for table in _SMALL:
        if rows > 0:
            rows -= _remove_small(connection, table, run, rows)
    if rows > 0:
        _raise_mark(connection, s.meta.c.high_run, run)
        rows -= connection.execute(delete(s.runs).where(s.runs.c.id == run)).rowcount
    return limit - rows


def _remove_attempts(connection: Connection, run: int, limit: int, removed: Removed) -> int:
    table = s.attempts.c
    statement = (
        select(table.id, table.worker, table.log)
        .join(s.tasks, s.tasks.c.id == table.task)
        .where(s.tasks.c.run == run)
        .limit(limit)
    )
    found = connection.execute(statement).all()
    if found:
        _raise_mark(connection, s.meta.c.high_attempt, max(row.id for row in found))
        connection.execute(delete(s.attempts).where(table.id.in_([row.id for row in found])))
    removed += [{"attempt": row.id, "worker": row.worker, "log": from_text(row.log)} for row in found]
    return len(found)


def _remove_tasks(connection: Connection, run: int, limit: int) -> int:
    ids = list(connection.scalars(select(s.tasks.c.id).where(s.tasks.c.run == run).limit(limit)))
    if ids:
        _raise_mark(connection, s.meta.c.high_task, max(ids))
        connection.execute(delete(s.tasks).where(s.tasks.c.id.in_(ids)))
    return len(ids)


def _remove_small(connection: Connection, table: Table, run: int, limit: int) -> int:
    keys = [column for column in table.primary_key.columns if column.name != "run"]
    found = connection.execute(select(*keys).where(table.c.run == run).limit(limit)).all()
    for row in found:
        matches = [column == value for column, value in zip(keys, row, strict=True)]
        connection.execute(delete(table).where(table.c.run == run, *matches))
    return len(found)


def _raise_mark(connection: Connection, column: Any, value: int) -> None:
    """No id is given twice, not even after the row that had the greatest one is gone."""
    connection.execute(update(s.meta).values({column.name: greatest(column, value)}))


def remove_events(connection: Connection, rule: Retention) -> int:
    """Removes a batch of the events beyond the newest. The newest one stays: it holds the revision."""
    keep = max(rule.max_events, 1)
    last = _nth_newest(connection, select(s.events.c.rev).order_by(s.events.c.rev.desc()), keep)
    some = select(s.events.c.rev).where(s.events.c.rev <= last).order_by(s.events.c.rev).limit(_batch(rule))
    return connection.execute(delete(s.events).where(s.events.c.rev.in_(some.scalar_subquery()))).rowcount


def remove_workers(connection: Connection, rule: Retention, at_us: int) -> None:
    """Workers that left longer ago than any run of theirs may stay."""
    table = s.workers.c
    old = table.changed_us < at_us - int(rule.max_age_days * DAY_US)
    connection.execute(delete(s.workers).where(table.state == "gone", old))
