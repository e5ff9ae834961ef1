"""Owns what is particular to SQLite: how a writer and readers connect. Elsewhere the SQL is portable."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool, StaticPool

APPLICATION_ID = 0x494C434B  # "ILCK"
BUSY_MS = 5000
READERS = 4
CHECKPOINT_PAGES = 4000  # the writer's alone; about 16 MB of log between checkpoints
LOG_LIMIT_BYTES = 64 * 1024 * 1024

_COMMON = (f"PRAGMA busy_timeout={BUSY_MS}", "PRAGMA foreign_keys=ON")
_WRITER = (
    *_COMMON,
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}",
    f"PRAGMA journal_size_limit={LOG_LIMIT_BYTES}",
)
_READER = (*_COMMON, "PRAGMA query_only=ON", "PRAGMA wal_autocheckpoint=0")


def writer(path: Path) -> Engine:
    """An engine over the one connection that writes; every transaction begins as a writer's."""
    return _engine(path, "rw", _WRITER, "BEGIN IMMEDIATE", poolclass=StaticPool)


def readers(path: Path) -> Engine:
    """A small pool of connections that cannot write. One transaction sees one state of the database."""
    return _engine(path, "ro", _READER, "BEGIN", poolclass=QueuePool, pool_size=READERS, max_overflow=READERS)


def builder(path: Path) -> Engine:
    """For migrations: no log file beside the database, and references checked at the end, not while tables move."""
    return _engine(path, "rw", (f"PRAGMA busy_timeout={BUSY_MS}",), "BEGIN IMMEDIATE", poolclass=StaticPool)


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A plain connection that never creates the file. The driver's own transaction guessing is off."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)


def _engine(path: Path, mode: str, pragmas: tuple[str, ...], begin: str, **options: Any) -> Engine:
    def create() -> sqlite3.Connection:
        connection = connect(path, mode)
        for pragma in pragmas:
            connection.execute(pragma)
        return connection

    engine = create_engine("sqlite+pysqlite://", creator=create, **options)
    event.listen(engine, "begin", lambda connection: _begin(connection, begin))
    return engine


def _begin(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)
