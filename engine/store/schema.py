"""Owns the tables as SQLAlchemy knows them. The migrations build them; a test holds both equal.
Times are microseconds since 1970 UTC, JSON is text (encoded in codec.py), states are their words."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
)

metadata = MetaData()

# SQLite makes only a column declared INTEGER its row id; other databases need the 64 bits said.
Big = BigInteger().with_variant(Integer(), "sqlite")


def _id() -> Column[int]:
    return Column("id", Big, primary_key=True, autoincrement=False)


def _time(name: str, nullable: bool = True) -> Column[int]:
    return Column(name, Big, nullable=nullable)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _count(name: str) -> Column[int]:
    return Column(name, Big, nullable=False, server_default="0")


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())


# One row. high_* are the greatest ids ever removed by retention, so that no id is given twice.
meta = Table(
    "meta",
    metadata,
    _id(),
    Column("instance", String, nullable=False),
    _count("epoch"),
    _flag("clean"),
    _count("high_run"),
    _count("high_task"),
    _count("high_attempt"),
    CheckConstraint("id = 1", name="one_row"),
)

definitions = Table(
    "definitions",
    metadata,
    _id(),
    Column("workflow", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("hash", String, nullable=False),
    Column("path", Text),
    Column("body", Text, nullable=False),
    _time("created_us", nullable=False),
    UniqueConstraint("workflow", "revision", name="uq_definitions_revision"),
)

workflows = Table(
    "workflows",
    metadata,
    Column("name", String, primary_key=True),
    Column("path", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("definition", Big, ForeignKey("definitions.id")),
    Column("problems", Text),
    _time("changed_us", nullable=False),
)

runs = Table(
    "runs",
    metadata,
    _id(),
    Column("workflow", String, nullable=False),
    Column("definition", Big, ForeignKey("definitions.id"), nullable=False),
    Column("key", String, nullable=False),
    Column("state", String, nullable=False),
    _text("reason"),
    Column("parameters", Text),
    Column("trigger", Text),
    Column("priority", Integer, nullable=False),
    Column("actor", String, nullable=False),
    Column("round", Integer, nullable=False, server_default="1"),
    _time("created_us", nullable=False),
    _time("changed_us", nullable=False),
    _time("started_us"),
    _time("ended_us"),
    UniqueConstraint("workflow", "key", name="uq_runs_key"),
    Index("ix_runs_state", "state", "id"),
)
Index("ix_runs_workflow", runs.c.workflow, runs.c.id)

# Outlives the run: retention forgets what happened, never that it happened.
occurrences = Table(
    "occurrences",
    metadata,
    Column("workflow", String),
    Column("key", String),
    Column("run", Big, nullable=False),
    PrimaryKeyConstraint("workflow", "key"),
    sqlite_with_rowid=False,
)

run_after = Table(
    "run_after",
    metadata,
    Column("run", Big, ForeignKey("runs.id")),
    Column("needed", Big),
    Column("condition", String, nullable=False),
    PrimaryKeyConstraint("run", "needed", "condition"),
    Index("ix_run_after_needed", "needed"),
    sqlite_with_rowid=False,
)

rounds = Table(
    "rounds",
    metadata,
    Column("run", Big, ForeignKey("runs.id")),
    Column("round", Integer),
    _text("actor"),
    _text("why"),
    _time("created_us"),
    Column("state", String),
    _time("ended_us"),
    PrimaryKeyConstraint("run", "round"),
    sqlite_with_rowid=False,
)

edges = Table(
    "edges",
    metadata,
    Column("run", Big, ForeignKey("runs.id")),
    Column("job", String),
    Column("needed", String),
    Column("condition", String),
    PrimaryKeyConstraint("run", "job", "needed", "condition"),
    sqlite_with_rowid=False,
)

# stand_in stays set after the expansion: it marks where a dynamic each began afresh (see recovery.py).
tasks = Table(
    "tasks",
    metadata,
    _id(),
    Column("run", Big, ForeignKey("runs.id"), nullable=False),
    Column("job", String, nullable=False),
    Column("item", Integer),
    Column("round", Integer, nullable=False),
    Column("queue", String, nullable=False),
    Column("state", String, nullable=False),
    _text("reason"),
    _text("message"),
    Column("priority", Integer, nullable=False),
    _count("attempts"),
    Column("item_value", Text),
    _flag("pending_each"),
    _flag("stand_in"),
    Column("output", Text),
    Column("stopping", Text),
    _time("not_before_us"),
    _time("created_us", nullable=False),
    _time("changed_us", nullable=False),
    _time("ready_us"),
    _time("started_us"),
    _time("ended_us"),
    Index("ix_tasks_run", "run", "id"),
    Index("ix_tasks_state", "state", "id"),
)
# An expression, because NULLs are never equal in a unique index and a job without items has item NULL.
Index("uq_tasks_item", tasks.c.run, tasks.c.job, tasks.c.round, func.coalesce(tasks.c.item, -1), unique=True)

attempts = Table(
    "attempts",
    metadata,
    _id(),
    Column("task", Big, ForeignKey("tasks.id"), nullable=False),
    Column("run", Big, nullable=False),
    Column("number", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("worker", String, nullable=False),
    Column("pid", Integer),
    _time("created_us", nullable=False),
    _time("started_us"),
    _time("ended_us"),
    Column("outcome", String),
    Column("exit_code", Big),
    Column("signal", Integer),
    _text("message"),
    Column("log", Text),
    _count("lost_bytes"),
    Column("usage", Text),
    Column("progress_done", Float),
    Column("progress_total", Float),
    _time("progress_us"),
    UniqueConstraint("task", "number", name="uq_attempts_number"),
)

workers = Table(
    "workers",
    metadata,
    Column("worker", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("pid", Integer),
    Column("slots", Integer, nullable=False),
    _text("message"),
    _time("changed_us", nullable=False),
)

switches = Table(
    "switches",
    metadata,
    Column("queue", String, primary_key=True),
    _flag("paused"),
    _flag("draining"),
    _text("actor"),
    _text("why"),
    _time("at_us", nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("rev", Big, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    _time("at_us", nullable=False),
    Column("actor", String, nullable=False),
    Column("workflow", String),
    Column("run", Big),
    Column("task", Big),
    Column("attempt", Big),
    Column("worker", String),
    _text("why"),
    Column("data", Text),
    Index("ix_events_run", "run", "rev"),
    Index("ix_events_kind", "kind", "rev"),
)

# Kept by the writer with every task written, so that counting never scans tasks.
run_counts = Table(
    "run_counts",
    metadata,
    Column("run", Big, ForeignKey("runs.id")),
    Column("queue", String),
    Column("state", String),
    _count("n"),
    PrimaryKeyConstraint("run", "queue", "state"),
    sqlite_with_rowid=False,
)

# `open`: tasks of open runs; `total`: tasks ever, whether or not retention has removed them since.
queue_counts = Table(
    "queue_counts",
    metadata,
    Column("queue", String),
    Column("state", String),
    _count("open"),
    _count("total"),
    PrimaryKeyConstraint("queue", "state"),
    sqlite_with_rowid=False,
)
