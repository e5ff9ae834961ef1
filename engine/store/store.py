"""Owns the open database: one writer, a few readers, and the lock that makes the writer one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, update

from engine.model.changes import Change
from engine.model.config import Retention
from engine.model.stored import Recovered, StoredRun
from engine.store import recovery, retention, sqlite
from engine.store import schema as s
from engine.store.errors import StoreBrokenError, translate
from engine.store.opening import open_writer
from engine.store.queries import Queries
from engine.store.writer import Writer

T = TypeVar("T")


class Store:
    """Blocking; every method may be called from any thread. Writes wait for each other, reads for nobody."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._closed = self._broken = False
        self._engine = open_writer(path)
        self._writer = Writer(self._engine)
        self._readers = sqlite.readers(path)
        self.read = Queries(self._readers)

    @staticmethod
    def open(path: Path) -> Store:
        """Opens the database at `path`, made if there is none. StoreBrokenError says what to do about another."""
        return Store(path)

    def recover(self, at_us: int) -> Recovered:
        """Begins a new epoch, on record, and returns everything that is open. `at_us` is when, for the log only."""
        return self._write(recovery.recover, f"recovering at {at_us}")

    def load_run(self, run: int) -> StoredRun | None:
        """One run with its tasks in force, whatever its state; None if it is unknown or removed."""
        try:
            with self._readers.connect() as connection:
                found = recovery.load_runs(connection, s.runs.c.id == run)
        except Exception as error:
            raise translate(error, f"reading run {run}") from error
        return found[0] if found else None

    def commit(self, changes: Sequence[Change]) -> tuple[int, list[dict[str, Any]]]:
        """All changes in order in one transaction: the last revision, and the events among them as readers get them.
        StoreBusyError: nothing was kept, the same batch may come again. StoreBrokenError: stop."""
        return self._guarded(lambda: self._writer.commit(changes), f"writing {len(changes)} changes")

    def prune(self, rule: Retention, at_us: int) -> list[dict[str, Any]]:
        """Forgets finished runs and old events; commits may come in between. Returns the removed attempts (attempt,
        worker, log), whose logs are the caller's to remove."""
        removed: list[dict[str, Any]] = []
        more = True
        while more:
            batch, more = self._write(lambda c: retention.remove_runs(c, rule, at_us), "removing old runs")
            removed += batch
        while self._write(lambda c: retention.remove_events(c, rule), "removing old events"):
            pass
        self._write(lambda c: retention.remove_workers(c, rule, at_us), "removing old workers")
        return removed

    def close(self) -> None:
        """Marks the end as clean and folds the log into the database. Harmless when repeated; after a
        broken write nothing is marked."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._readers.dispose()
            try:
                if not self._broken:
                    self._finish()
            except Exception as error:
                raise translate(error, f"closing {self.path}") from error
            finally:
                self._engine.dispose()

    def _finish(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(s.meta).values(clean=True))
        raw = self._engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            raw.close()

    def _write(self, act: Callable[[Connection], T], doing: str) -> T:
        def within() -> T:
            with self._engine.begin() as connection:
                return act(connection)

        return self._guarded(within, doing)

    def _guarded(self, act: Callable[[], T], doing: str) -> T:
        """One writer at a time. After a broken write the end is not marked clean, so the next start looks closely."""
        with self._lock:
            if self._closed:
                raise StoreBrokenError(f"{doing}: {self.path} is closed")
            try:
                return act()
            except Exception as error:
                found = translate(error, doing)
                self._broken = self._broken or isinstance(found, StoreBrokenError)
                raise found from error
