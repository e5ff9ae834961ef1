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


_RETRIABLE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL})


def translate(error: Exception, doing: str) -> StoreError:
    """The typed error for what the driver raised while `doing`."""
    if isinstance(error, StoreError):
        return error
    origin = error.orig if isinstance(error, DBAPIError) else error
    # the low byte is the primary code; the rest tells e.g. a busy snapshot from a busy recovery
    code = getattr(origin, "sqlite_errorcode", 0) & 0xFF
    text = f"{doing}: {origin}"
    return StoreBusyError(text) if code in _RETRIABLE else StoreBrokenError(text)
