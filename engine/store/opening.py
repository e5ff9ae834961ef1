"""Owns the order of opening: refuse what must not be touched, back up, migrate, check after a crash, mark as in use."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import DBAPIError

from engine.store import files, sqlite
from engine.store import schema as s
from engine.store.errors import StoreBusyError, StoreError, translate
from engine.store.migrate import SCHEMA_VERSION, revision_of, upgrade


def open_writer(path: Path) -> Engine:
    """The writer's engine over a checked database of the newest schema, marked as not cleanly closed."""
    try:
        files.prepare_folder(path.parent)
        if not path.exists():
            files.create(path)
        version = _version(path)
        files.check_version(path, version)
        if version < SCHEMA_VERSION:
            _migrate(path)
        return _open_checked(path)
    except StoreError:
        raise
    except Exception as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> StoreError:
    found = translate(error, f"opening {path}")
    if isinstance(found, StoreBusyError) or not isinstance(error, DBAPIError | sqlite3.DatabaseError):
        return found
    return files.damaged(path, str(error.orig if isinstance(error, DBAPIError) else error))


def _open_checked(path: Path) -> Engine:
    engine = sqlite.writer(path)
    try:
        with engine.begin() as connection:
            _check_revision(path, connection)
            if not connection.scalar(select(s.meta.c.clean)):
                quick_check(path, connection)
            connection.execute(update(s.meta).values(clean=False))
    except BaseException:
        engine.dispose()
        raise
    return engine


def _version(path: Path) -> int:
    """The schema version on record. The header lags behind a log that a crash has left, so then SQLite is asked,
    by a connection that cannot write: a newer database stays as it is, its log included."""
    version = files.check_header(path)
    if not files.log_of(path):
        return version
    with contextlib.closing(sqlite.connect(path, "ro")) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(path: Path) -> None:
    """Upgrades an older database in one transaction, after a backup."""
    engine = sqlite.builder(path)
    try:
        with engine.begin() as connection:
            files.back_up(path)
            upgrade(connection)
    finally:
        engine.dispose()


def _check_revision(path: Path, connection: Connection) -> None:
    found = revision_of(connection)
    if found != f"{SCHEMA_VERSION:04}":
        raise files.damaged(path, f"its schema is marked {found!r}, not {SCHEMA_VERSION:04}")


def quick_check(path: Path, connection: Connection) -> None:
    """What a crash may have left: every page is read once."""
    findings = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA quick_check(3)")]
    if findings != ["ok"]:
        raise files.damaged(path, "; ".join(findings))
