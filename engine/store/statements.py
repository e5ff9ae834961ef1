"""Owns the statement of each kind of change. `expect` of a step says that every row given must be hit exactly once:
that is the guard by which the database and the engine find out that they disagree."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, bindparam, case, func, insert, update
from sqlalchemy.dialects import postgresql, sqlite

from engine.store import schema as s

p = bindparam


def upsert(table: Table, dialect: str, **changed: Any) -> Any:
    """Insert or, where the primary key exists, set `changed` (default: every other column given)."""
    make: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    keys = [column.name for column in table.primary_key.columns]
    statement = make(table)
    named = changed or {
        column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys
    }
    return statement.on_conflict_do_update(index_elements=keys, set_=named)


ADD_DEFINITION = insert(s.definitions)
ADD_RUN = insert(s.runs)
ADD_OCCURRENCE = insert(s.occurrences)
ADD_AFTER = insert(s.run_after)
ADD_ROUND = insert(s.rounds)
ADD_EDGE = insert(s.edges)
ADD_TASK = insert(s.tasks)
ADD_ATTEMPT = insert(s.attempts)
ADD_EVENT = insert(s.events)

CHANGE_RUN = (
    update(s.runs)
    .where(s.runs.c.id == p("b_id"), s.runs.c.state == p("b_before"))
    .values(
        state=p("b_state"),
        reason=p("b_reason"),
        round=p("b_round"),
        changed_us=p("b_at"),
        started_us=func.coalesce(p("b_started"), s.runs.c.started_us),
        ended_us=func.coalesce(p("b_ended"), s.runs.c.ended_us),
    )
)

EXPAND_TASK = (
    update(s.tasks)
    .where(s.tasks.c.id == p("b_id"), s.tasks.c.pending_each.is_(True))
    .values(item=p("b_item"), item_value=p("b_value"), pending_each=False)
)

STOP_TASK = update(s.tasks).where(s.tasks.c.id == p("b_id"), s.tasks.c.state == "running").values(stopping=p("b_why"))

# Only one of ready, started, ended is given: the moment the state was entered. The others stay.
CHANGE_TASK = (
    update(s.tasks)
    .where(s.tasks.c.id == p("b_id"), s.tasks.c.state == p("b_before"))
    .values(
        state=p("b_state"),
        reason=p("b_reason"),
        message=p("b_message"),
        attempts=p("b_attempts"),
        not_before_us=p("b_not_before"),
        output=func.coalesce(p("b_output"), s.tasks.c.output),
        changed_us=p("b_at"),
        ready_us=func.coalesce(p("b_ready"), s.tasks.c.ready_us),
        started_us=func.coalesce(p("b_started"), s.tasks.c.started_us),
        ended_us=func.coalesce(p("b_ended"), s.tasks.c.ended_us),
    )
)

START_ATTEMPT = (
    update(s.attempts)
    .where(s.attempts.c.id == p("b_id"))
    .values(started_us=p("b_at"), pid=func.coalesce(p("b_pid"), s.attempts.c.pid))
)

NOTE_PROGRESS = (
    update(s.attempts)
    .where(s.attempts.c.id == p("b_id"))
    .values(progress_done=p("b_done"), progress_total=p("b_total"), progress_us=p("b_at"))
)

END_ATTEMPT = (
    update(s.attempts)
    .where(s.attempts.c.id == p("b_id"), s.attempts.c.outcome.is_(None))
    .values(
        outcome=p("b_outcome"),
        ended_us=p("b_at"),
        started_us=func.coalesce(p("b_started"), s.attempts.c.started_us),
        exit_code=p("b_exit"),
        signal=p("b_signal"),
        message=p("b_message"),
        log=p("b_log"),
        lost_bytes=p("b_lost"),
        usage=p("b_usage"),
    )
)


def end_round(dialect: str) -> Any:
    """Ends a round once; one that was never announced (a run's first) is written now."""
    make: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(s.rounds)
    return statement.on_conflict_do_update(
        index_elements=["run", "round"],
        set_={"state": statement.excluded.state, "ended_us": statement.excluded.ended_us},
        where=s.rounds.c.ended_us.is_(None),
    )


def add_counts(table: Table, dialect: str, *columns: str) -> Any:
    """Adds the given numbers to the kept ones."""
    make: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(table)
    keys = [column.name for column in table.primary_key.columns]
    grown = {name: table.c[name] + statement.excluded[name] for name in columns}
    return statement.on_conflict_do_update(index_elements=keys, set_=grown)


def greatest(column: Any, value: int) -> Any:
    """The greater of both; the two-argument max is spelt differently in every database."""
    return case((column < value, value), else_=column)
