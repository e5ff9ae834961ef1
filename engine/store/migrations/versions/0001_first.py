"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "definitions",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("workflow", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_us", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("workflow", "revision", name="uq_definitions_revision"),
    )
    op.create_table(
        "events",
        sa.Column("rev", BIG, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at_us", BIG, nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("workflow", sa.String(), nullable=True),
        sa.Column("run", BIG, nullable=True),
        sa.Column("task", BIG, nullable=True),
        sa.Column("attempt", BIG, nullable=True),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("why", sa.Text(), server_default="", nullable=False),
        sa.Column("data", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("rev"),
    )
    op.create_index("ix_events_kind", "events", ["kind", "rev"], unique=False)
    op.create_index("ix_events_run", "events", ["run", "rev"], unique=False)
    op.create_table(
        "meta",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("instance", sa.String(), nullable=False),
        sa.Column("epoch", BIG, server_default="0", nullable=False),
        sa.Column("clean", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("high_run", BIG, server_default="0", nullable=False),
        sa.Column("high_task", BIG, server_default="0", nullable=False),
        sa.Column("high_attempt", BIG, server_default="0", nullable=False),
        sa.CheckConstraint("id = 1", name="one_row"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "occurrences",
        sa.Column("workflow", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("run", BIG, nullable=False),
        sa.PrimaryKeyConstraint("workflow", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "queue_counts",
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("open", BIG, server_default="0", nullable=False),
        sa.Column("total", BIG, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("queue", "state"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "switches",
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("paused", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("draining", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("why", sa.Text(), server_default="", nullable=False),
        sa.Column("at_us", BIG, nullable=False),
        sa.PrimaryKeyConstraint("queue"),
    )
    op.create_table(
        "workers",
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("changed_us", BIG, nullable=False),
        sa.PrimaryKeyConstraint("worker"),
    )
    op.create_table(
        "runs",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("workflow", sa.String(), nullable=False),
        sa.Column("definition", BIG, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("parameters", sa.Text(), nullable=True),
        sa.Column("trigger", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("round", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_us", BIG, nullable=False),
        sa.Column("changed_us", BIG, nullable=False),
        sa.Column("started_us", BIG, nullable=True),
        sa.Column("ended_us", BIG, nullable=True),
        sa.ForeignKeyConstraint(
            ["definition"],
            ["definitions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("workflow", "key", name="uq_runs_key"),
    )
    op.create_index("ix_runs_state", "runs", ["state", "id"], unique=False)
    op.create_index("ix_runs_workflow", "runs", ["workflow", "id"], unique=False)
    op.create_table(
        "workflows",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("definition", BIG, nullable=True),
        sa.Column("problems", sa.Text(), nullable=True),
        sa.Column("changed_us", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["definition"],
            ["definitions.id"],
        ),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "edges",
        sa.Column("run", BIG, nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("needed", sa.String(), nullable=False),
        sa.Column("condition", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run"],
            ["runs.id"],
        ),
        sa.PrimaryKeyConstraint("run", "job", "needed", "condition"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rounds",
        sa.Column("run", BIG, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("why", sa.Text(), server_default="", nullable=False),
        sa.Column("created_us", BIG, nullable=True),
        sa.Column("state", sa.String(), nullable=True),
        sa.Column("ended_us", BIG, nullable=True),
        sa.ForeignKeyConstraint(
            ["run"],
            ["runs.id"],
        ),
        sa.PrimaryKeyConstraint("run", "round"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_after",
        sa.Column("run", BIG, nullable=False),
        sa.Column("needed", BIG, nullable=False),
        sa.Column("condition", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run"],
            ["runs.id"],
        ),
        sa.PrimaryKeyConstraint("run", "needed", "condition"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_after_needed", "run_after", ["needed"], unique=False)
    op.create_table(
        "run_counts",
        sa.Column("run", BIG, nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("n", BIG, server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["run"],
            ["runs.id"],
        ),
        sa.PrimaryKeyConstraint("run", "queue", "state"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tasks",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("run", BIG, nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=True),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("attempts", BIG, server_default="0", nullable=False),
        sa.Column("item_value", sa.Text(), nullable=True),
        sa.Column("pending_each", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("stand_in", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("stopping", sa.Text(), nullable=True),
        sa.Column("not_before_us", BIG, nullable=True),
        sa.Column("created_us", BIG, nullable=False),
        sa.Column("changed_us", BIG, nullable=False),
        sa.Column("ready_us", BIG, nullable=True),
        sa.Column("started_us", BIG, nullable=True),
        sa.Column("ended_us", BIG, nullable=True),
        sa.ForeignKeyConstraint(
            ["run"],
            ["runs.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    coalesced = sa.text("coalesce(item, -1)")
    op.create_index("uq_tasks_item", "tasks", ["run", "job", "round", coalesced], unique=True)
    op.create_index("ix_tasks_run", "tasks", ["run", "id"], unique=False)
    op.create_index("ix_tasks_state", "tasks", ["state", "id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("task", BIG, nullable=False),
        sa.Column("run", BIG, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("created_us", BIG, nullable=False),
        sa.Column("started_us", BIG, nullable=True),
        sa.Column("ended_us", BIG, nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("exit_code", BIG, nullable=True),
        sa.Column("signal", sa.Integer(), nullable=True),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("log", sa.Text(), nullable=True),
        sa.Column("lost_bytes", BIG, server_default="0", nullable=False),
        sa.Column("usage", sa.Text(), nullable=True),
        sa.Column("progress_done", sa.Float(), nullable=True),
        sa.Column("progress_total", sa.Float(), nullable=True),
        sa.Column("progress_us", BIG, nullable=True),
        sa.ForeignKeyConstraint(
            ["task"],
            ["tasks.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("task", "number", name="uq_attempts_number"),
    )
