"""Fixtures of the integration tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Worker


class Room:
    """A state folder with engines and workers that end with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / ".interlock"
        self.state.mkdir()
        self.engines: list[FakeEngine] = []
        self.workers: list[Worker] = []

    def engine(self, epoch: int = 1) -> FakeEngine:
        self.engines.append(FakeEngine(self.state, epoch))
        return self.engines[-1]

    def worker(self, slots: int = 4, **config: object) -> Worker:
        self.workers.append(Worker(self.state, slots, f"w-1-{len(self.workers) + 1}", **config))
        return self.workers[-1]

    def pair(self, slots: int = 4, **config: object) -> tuple[FakeEngine, Worker]:
        """A worker that has been welcomed."""
        engine, worker = self.engine(), self.worker(slots, **config)
        engine.welcome()
        return engine, worker

    def code(self, text: str, module: str = "jobs") -> None:
        (self.folder / f"{module}.py").write_text(text)

    def close(self) -> None:
        for engine in self.engines:
            with contextlib.suppress(OSError):
                engine.close()
        for worker in self.workers:
            worker.stop()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    room.close()
