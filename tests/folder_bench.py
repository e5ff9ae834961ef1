"""A watched folder for tests: a tiny loader, a queue of events, and helpers that wait instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.jobfiles.folder import Batch, FileBroken, FileLoaded, FileRemoved, FolderAlarm, FolderWatcher
from engine.jobfiles.folder_events import Event
from engine.model.workflow import Command, Job, Workflow


@dataclass(frozen=True)
class Loaded:
    workflow: Workflow | None
    problems: tuple[str, ...] = ()


def text(name: str, value: str = "1", comment: str = "") -> str:
    """A job file in the test's own language; without its last line it is half-written."""
    return f"name {name}\nvalue {value}\n{comment}\nend\n"


def load(data: bytes, path: str) -> Loaded:
    """Understands what `text` writes."""
    content = data.decode()
    if "boom" in content:
        raise RuntimeError("boom")
    if "silent" in content:
        return Loaded(None)
    if not content.endswith("end\n"):
        return Loaded(None, (f"{path} is half-written: {content!r}",))
    words = dict(line.split(" ", 1) for line in content.splitlines() if line.count(" ") == 1)
    return Loaded(Workflow(words["name"], (Job("only", Command((words["value"],))),)))


@dataclass
class Bench:
    root: Path
    watcher: FolderWatcher
    queue: asyncio.Queue[Event]
    seen: list[Event] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.root / "jobs.d"

    async def next(self, seconds: float = 5.0) -> Event:
        event = await asyncio.wait_for(self.queue.get(), seconds)
        self.seen.append(event)
        return event

    async def loaded(self, path: str, seconds: float = 5.0) -> Workflow:
        event = await self.next(seconds)
        assert isinstance(event, FileLoaded), event
        assert event.path == f"jobs.d/{path}"
        return event.workflow

    async def broken(self, path: str) -> str:
        event = await self.next()
        assert isinstance(event, FileBroken), event
        assert event.path == f"jobs.d/{path}"
        return "\n".join(event.problems)

    async def removed(self, path: str) -> None:
        assert await self.next() == FileRemoved(f"jobs.d/{path}")

    async def alarm(self) -> str:
        event = await self.next()
        assert isinstance(event, FolderAlarm), event
        return event.message

    async def quiet(self) -> None:
        """Nothing more happens: all is settled and nothing was told."""
        await asyncio.wait_for(self.watcher.settled(), 10)
        assert self.queue.empty(), self.queue.get_nowait()

    async def write(self, name: str, content: str) -> Workflow:
        (self.folder / name).write_text(content)
        return await self.loaded(name)


@asynccontextmanager
async def bench(root: Path, known: dict[str, str] | None = None, **options: Any) -> AsyncIterator[Bench]:
    """A watcher on root/jobs.d, running."""
    queue: asyncio.Queue[Event] = asyncio.Queue()

    def deliver(batch: Batch) -> None:
        for event in batch:
            queue.put_nowait(event)

    watcher = FolderWatcher([Path("jobs.d")], root, options.pop("load", load), deliver, **options)
    try:
        await asyncio.wait_for(watcher.start(known), 5)
        yield Bench(root, watcher, queue)
    finally:
        await asyncio.wait_for(watcher.stop(), 5)


async def until(condition: Any, seconds: float = 5.0) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        await asyncio.sleep(0.01)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)
