"""Owns what can go wrong in the store: broken (stop the engine, a human must look) or busy (try again)."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError


class StoreError(Exception):
    """Anything the store refuses. Its text is written for the operator."""


class StoreBrokenError(StoreError):
    """The database is not what the engine believes it to be. Retrying cannot help."""


class StoreBusyError(StoreError):
    """Locked or full. Nothing was kept; the same batch may be committed again."""


# a full disk may show first where the log's index grows, and SQLite does not call that full
_FULL_IN_DISGUISE = frozenset({sqlite3.SQLITE_IOERR_SHMSIZE})
_RETRIABLE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL})


def translate(error: Exception, doing: str) -> StoreError:
    """The typed error for what the driver raised while `doing`."""
    if isinstance(error, StoreError):
        return error
    origin = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(origin, "sqlite_errorcode", 0)
    # the low byte is the primary code; the rest tells e.g. a busy snapshot from a busy recovery
    retriable = code in _FULL_IN_DISGUISE or code & 0xFF in _RETRIABLE
    text = f"{doing}: {origin}"
    return StoreBusyError(text) if retriable else StoreBrokenError(text)
