"""Group commit: while one batch commits on the writer's thread, the next gathers; a commit begins whenever the
writer is idle. A busy or full database stops decisions until the same batch has been written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import structlog

from engine.model.changes import Change
from engine.store import Store, StoreBusyError

RETRY_SECONDS = 0.25

log = structlog.get_logger("recorder")


@dataclass
class Batch:
    """Changes and what to do once they are on record, in order."""

    changes: list[Change] = field(default_factory=list)
    effects: list[Callable[[], None]] = field(default_factory=list)


class Recorder:
    """`on_events` gets each commit's events after its effects were performed; `on_broken` ends the engine."""

    def __init__(
        self,
        store: Store,
        on_events: Callable[[list[dict[str, Any]]], None],
        on_broken: Callable[[BaseException], None],
    ) -> None:
        self._store, self._on_events, self._on_broken = store, on_events, on_broken
        self._gathering = Batch()
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self.stalled = ""  # why nothing can be written now; empty when all is well
        self.revision = store.read.revision()

    def record(self, changes: list[Change], effects: list[Callable[[], None]]) -> None:
        """Adds to the batch that gathers; returns at once."""
        self._gathering.changes += changes
        self._gathering.effects += effects
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write_all(), name="recorder")

    async def flush(self) -> None:
        """Waits until everything given so far is written and acted on."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def on_thread(self, work: Callable[[], Any]) -> Any:
        """Runs other store work on the writer's thread, between commits."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        self._thread.shutdown()

    async def _write_all(self) -> None:
        try:
            while self._gathering.changes or self._gathering.effects:
                batch, self._gathering = self._gathering, Batch()
                events = await self._write(batch) if batch.changes else []
                for effect in batch.effects:
                    effect()
                self._on_events(events)
        except Exception as error:
            log.exception("the store cannot be written any more")
            self._on_broken(error)
        finally:
            self._task = None

    async def _write(self, batch: Batch) -> list[dict[str, Any]]:
        while True:
            try:
                events: list[dict[str, Any]]
                self.revision, events = await self.on_thread(lambda: self._store.commit(batch.changes))
            except StoreBusyError as error:
                if not self.stalled:
                    log.error("the database cannot take a write; decisions wait", why=str(error))
                self.stalled = str(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if self.stalled:
                    log.info("the database takes writes again")
                self.stalled = ""
                return events
