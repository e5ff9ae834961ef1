"""The folder's news on its way into the loop: what the store knows is looked up first, then definitions come into
force and dropped ones run, once each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.jobfiles.folder_events import Event, FileBroken, FileLoaded, FileRemoved, FolderAlarm
from engine.kernel.decisions import Decisions
from engine.kernel.runs import Submission, submit
from engine.model.changes import EventAdded
from engine.model.workflow import Workflow

if TYPE_CHECKING:
    from engine.runtime.loop import Runtime


class Files:
    """`runs_drops` False: dropped files define workflows but do not run."""

    def __init__(self, runtime: Runtime, runs_drops: bool) -> None:
        self._runtime, self._runs_drops = runtime, runs_drops
        self._batches: asyncio.Queue[tuple[Event, ...]] = asyncio.Queue()

    def receive(self, batch: tuple[Event, ...]) -> None:
        """From the watcher, on the loop; returns at once."""
        self._batches.put_nowait(batch)

    async def read(self) -> None:
        """For as long as the engine runs."""
        while True:
            batch = await self._batches.get()
            loaded = [event.workflow for event in batch if isinstance(event, FileLoaded)]
            for workflow in loaded:
                await self._runtime.learn(workflow.name)
            ran = await asyncio.to_thread(self._that_ran, loaded)
            self._hand_over(batch, ran)
            self._batches.task_done()

    async def wait(self) -> None:
        """Until what the folder has told so far is decided on and on record."""
        await self._batches.join()
        await self._runtime.wait_decided()

    def _hand_over(self, batch: tuple[Event, ...], ran: set[str]) -> None:
        self._runtime.receive(lambda out, now_us: self._decide(batch, ran, out, now_us))

    def _that_ran(self, workflows: list[Workflow]) -> set[str]:
        """The drop keys among these that are on record already."""
        return {_key(w) for w in workflows if self._runtime.read.run_by_key(w.name, _key(w)) is not None}

    def _decide(self, batch: tuple[Event, ...], ran: set[str], out: Decisions, now_us: int) -> None:
        catalog = self._runtime.catalog
        for event in batch:
            match event:
                case FileLoaded():
                    self._load(event, ran, out, now_us)
                case FileBroken():
                    out.changes += catalog.broken(event.path, event.problems, now_us)
                case FileRemoved():
                    out.changes += catalog.removed(event.path, now_us)
                case FolderAlarm():
                    self._runtime.alarms.append(event.message)
                    out.changes.append(EventAdded("folder.alarm", now_us, "folder", why=event.message))

    def _load(self, event: FileLoaded, ran: set[str], out: Decisions, now_us: int) -> None:
        runtime, workflow, key = self._runtime, event.workflow, _key(event.workflow)
        out.changes += runtime.catalog.loaded(event.path, workflow, now_us)
        done = key in ran or (workflow.name, key) in runtime.fresh_keys
        if workflow.manual or done or not self._runs_drops or runtime.stop.mode:
            return
        definition, added = runtime.catalog.define(workflow, event.path, now_us)
        out.changes += added
        trigger = {"type": "drop", "path": event.path}
        run = submit(runtime.state, out, Submission(workflow, definition, key, "folder", {}, trigger), now_us)
        runtime.remember_key(workflow.name, key, run.id)


def _key(workflow: Workflow) -> str:
    return f"drop:{workflow.definition_hash}"
