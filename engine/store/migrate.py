"""Owns the schema's versions: runs Alembic from within, one transaction for everything between here and there."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, insert, select

from engine.store import schema as s
from engine.store.errors import StoreBrokenError
from engine.store.sqlite import APPLICATION_ID

# The number of the newest migration; each NNNN_*.py has its number as its revision. SQLite keeps it as user_version.
SCHEMA_VERSION = 1
FOLDER = Path(__file__).parent / "migrations"


def upgrade(connection: Connection) -> None:
    """Brings the database to the newest schema, within the transaction that `connection` is in."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite":
        _mark_sqlite(connection)
    if connection.scalar(select(s.meta.c.id)) is None:
        connection.execute(insert(s.meta), {"id": 1, "instance": uuid4().hex, "clean": True})


def revision_of(connection: Connection) -> str | None:
    """The Alembic revision on record."""
    return MigrationContext.configure(connection).get_current_revision()


def _mark_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
    # references are not enforced while tables are rebuilt, so they are checked before anything is kept
    if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
        raise StoreBrokenError(f"the migration would leave {len(broken)} dangling references; nothing was changed")
