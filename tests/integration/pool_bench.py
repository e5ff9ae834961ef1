"""A bench for pools: runs one on a fresh state folder and waits on its reports."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from engine.model.config import Config, Grace
from engine.model.reports import Ended, Report, Started, WorkerSeen
from engine.workers.pool import OpenAttempt, Pool

FAKE = Path(__file__).parent / "fake_worker.py"
T = TypeVar("T")


def config(**grace: float) -> Config:
    seconds = {"kill_seconds": 0.2, "orphan_seconds": 3.0, "adopt_seconds": 3.0} | grace
    return Config(grace=Grace(**seconds), worker_slots=2)


class Bench:
    def __init__(self, state: Path, pool: Pool, reports: list[Report]) -> None:
        self.state, self.pool, self.reports = state, pool, reports

    async def until(self, condition: Callable[[], T | None], seconds: float = 10.0) -> T:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"never came; reports: {self.reports}"
            await asyncio.sleep(0.01)
        return found

    def of(self, kind: type[T], **fields: Any) -> list[T]:
        return [item for item in self.reports if isinstance(item, kind) and vars(item).items() >= fields.items()]

    async def ended(self, attempt: int) -> Ended:
        return (await self.until(lambda: self.of(Ended, attempt=attempt)))[0]

    async def started(self, attempt: int) -> Started:
        return (await self.until(lambda: self.of(Started, attempt=attempt)))[0]

    async def seen(self, state: str) -> WorkerSeen:
        return (await self.until(lambda: self.of(WorkerSeen, state=state)))[0]

    def start(self, attempt: int, do: str, **spec: Any) -> str:
        worker = self.pool.assign(attempt)
        env = {"PATH": os.environ["PATH"], "INTERLOCK_WORKER": worker, "INTERLOCK_INSTANCE": instance(self.state)}
        self.pool.start(attempt, worker, {"do": do, "env": env, **spec})
        return worker

    def heard(self, kind: str) -> list[dict[str, Any]]:
        """What the fake workers were told."""
        path = self.state / "heard"
        messages = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [message for message in messages if message["t"] == kind]

    def pids(self) -> list[int]:
        return [worker["pid"] for worker in self.pool.workers() if worker["pid"]]


@contextlib.asynccontextmanager
async def bench(
    state: Path,
    *,
    epoch: int = 1,
    mode: str = "normal",
    host: Path = FAKE,
    settings: Config | None = None,
    adopt: dict[int, OpenAttempt] | None = None,
    keep: bool = False,
) -> AsyncIterator[Bench]:
    """A pool on `state`. With `keep` it detaches at the end and its workers go on; otherwise they are killed."""
    _prepare(state, mode)
    reports: list[Report] = []
    pool = Pool(state, settings or config(), epoch, instance(state), reports.append, lambda: 7, host=host)
    await pool.open()
    found = Bench(state, pool, reports)
    try:
        await pool.adopt(adopt or {})
        yield found
    finally:
        pids = found.pids()
        await pool.close(detach=True)
        for pid in [] if keep else pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def instance(state: Path) -> str:
    """One per state folder: tests run side by side and must not end each other's survivors."""
    return hashlib.blake2b(bytes(state), digest_size=8).hexdigest()


def _prepare(state: Path, mode: str) -> None:
    state.mkdir(parents=True, exist_ok=True)
    (state / "mode").write_text(mode)


def given(*attempts: int, worker: str = "w-1-1", epoch: int = 1) -> dict[int, OpenAttempt]:
    return {attempt: OpenAttempt(attempt, worker, epoch, f"t{attempt}.1") for attempt in attempts}
