"""The only SQL: one writer with group commit, queries by name, recovery and retention."""

from engine.store.errors import StoreBrokenError, StoreBusyError, StoreError
from engine.store.store import Store

__all__ = ["Store", "StoreBrokenError", "StoreBusyError", "StoreError"]
