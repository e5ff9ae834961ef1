"""Owns liveness: who is dead, who is only out of reach, and what the dead leave behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path

import psutil
import structlog

from engine.model.lifecycle import Outcome, Reason
from engine.model.reports import Ended
from engine.workers import survivors
from engine.workers.folder import Spool, boot_id, error_text, is_locked, read_spool, tidy, worker_folder
from engine.workers.messages import BadMessageError, integer, read_exit
from engine.workers.roster import Entry, Roster, Worker

LOG = structlog.get_logger("workers.undertaker")
TICK_SECONDS = 0.25
PROBES = (0.0, 0.02, 0.1)  # a dying process closes its socket a little before it drops its lock
HELLO_SECONDS = 15.0


def verdict(entry: Entry, spool: Spool, now_us: int) -> Ended:
    """What a dead worker's spool says about one attempt. Never a guess: what cannot be known is lost."""
    record = spool.exits.get((entry.attempt, entry.epoch))
    if record is not None:
        try:
            return read_exit(record)
        except BadMessageError as problem:
            LOG.warning("exit record skipped", attempt=entry.attempt, problem=str(problem))
    elif (entry.unborn and not spool.exists) or not spool.may_have_started(entry.attempt, entry.epoch):
        message = f"worker {entry.worker} died before it started this attempt"
        return Ended(entry.attempt, Outcome.NOT_STARTED, Reason.NOT_STARTED.value, now_us, message=message)
    missing = "" if spool.exists else "; its records are missing"
    message = f"worker {entry.worker} died while it had this attempt{missing}"
    began = _began(entry, spool)
    return Ended(entry.attempt, Outcome.LOST, Reason.LOST.value, now_us, started_us=began, message=message)


def _began(entry: Entry, spool: Spool) -> int | None:
    try:
        return integer(spool.starts.get((entry.attempt, entry.epoch), {}), "at")
    except BadMessageError:
        return None


class Undertaker:
    def __init__(self, roster: Roster, state: Path, instance: str, grace: float) -> None:
        self._roster, self._state, self._instance, self._grace = roster, state, instance, grace
        self._tasks: set[asyncio.Task[None]] = set()
        self._burials: set[asyncio.Task[None]] = set()
        self._closed = False
        self.hello_seconds = HELLO_SECONDS

    def run(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A background task that close() ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()):
            LOG.error("pool task failed", problem=repr(problem), exc_info=problem)

    async def close(self) -> None:
        self._closed = True
        await asyncio.gather(*self._burials, return_exceptions=True)  # short, and best not left half done
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def watch(self) -> None:
        """Every tick: reap children, look after workers without a connection."""
        while True:
            for worker in list(self._roster.workers.values()):
                try:
                    self._look_at(worker)
                except OSError as problem:  # for example no descriptor left: look again at the next tick
                    LOG.warning("worker not examined", worker=worker.id, problem=str(problem))
            await asyncio.sleep(TICK_SECONDS)

    def _look_at(self, worker: Worker) -> None:
        if worker.process:
            worker.process.poll()  # reaps
        if worker.channel or worker.accounting or worker.state == "planned":
            return
        if worker.state == "starting":
            self._look_at_starting(worker)
        elif self._is_dead(worker):
            self.run(self.account(worker))
        elif worker.state == "connected":
            self._out_of_reach(worker)

    def _look_at_starting(self, worker: Worker) -> None:
        late = asyncio.get_running_loop().time() - worker.since > self.hello_seconds
        if self._is_dead(worker):
            self.run(self.account(worker))
        elif late and is_locked(worker_folder(self._state, worker.id)):
            self._out_of_reach(worker)
        elif late and worker.process:
            worker.process.kill()  # it holds nothing and answers nothing; the next tick finds it dead

    def _out_of_reach(self, worker: Worker) -> None:
        self._roster.see(worker, "unreachable")
        self._roster.return_unsent(worker, f"worker {worker.id} is out of reach")

    def _is_dead(self, worker: Worker) -> bool:
        if worker.process:
            return worker.process.poll() is not None
        if asyncio.get_running_loop().time() < worker.since:
            return False
        return not is_locked(worker_folder(self._state, worker.id))

    def disconnected(self, worker: Worker) -> None:
        if not self._closed:
            self.run(self._examine(worker))

    async def _examine(self, worker: Worker) -> None:
        for pause in PROBES:
            await asyncio.sleep(pause)
            if worker.channel or worker.accounting:
                return
            if self._is_dead(worker):
                await self.account(worker)
                return
        if worker.state != "retiring":
            self._out_of_reach(worker)

    async def account(self, worker: Worker) -> None:
        """Settle a dead worker: unsent starts go back, survivors are ended, then the spool speaks."""
        if worker.accounting:
            return
        worker.accounting = True
        try:
            await self._account(worker)
        except (OSError, psutil.Error) as problem:  # a full disk or table: the next tick tries again
            LOG.error("dead worker not settled", worker=worker.id, problem=str(problem))
            worker.accounting = False

    async def _account(self, worker: Worker) -> None:
        folder = worker_folder(self._state, worker.id)
        message = self._epitaph(worker, folder)
        self._roster.return_unsent(worker, message)
        spool = await asyncio.to_thread(read_spool, folder)
        if spool.boot is None or spool.boot.get("boot_id") == boot_id():  # no process survives a reboot
            count = await survivors.end(worker.id, self._instance, self._grace)
            if count:
                LOG.warning("survivors ended", worker=worker.id, processes=count)
        for entry in self._roster.of(worker.id):
            self._roster.finish(verdict(entry, spool, self._roster.clock_us()))
        del self._roster.workers[worker.id]
        self._roster.see(worker, "gone", message)
        self.bury(worker.id)

    def _epitaph(self, worker: Worker, folder: Path) -> str:
        text = error_text(folder)
        if worker.state != "starting":
            return text
        self._roster.failed_spawns += 1
        return f"worker {worker.id} never answered" + (f": {text}" if text else "")

    def bury(self, worker: str) -> None:
        """Remove what a gone worker left, once everything it said is on record."""
        if self._roster.is_settled(worker) and not self._closed:
            task = self.run(self._tidy(worker))
            self._burials.add(task)
            task.add_done_callback(self._burials.discard)

    async def _tidy(self, worker: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # buried twice, or removed by retention at the same time
            await asyncio.to_thread(tidy, worker_folder(self._state, worker))
