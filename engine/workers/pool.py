"""Owns the engine's side of the worker protocol: who executes an attempt, and one Ended report for each."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from engine.model.config import Config
from engine.model.reports import Report
from engine.model.workflow import Json
from engine.workers import channel, launch
from engine.workers.conversation import Conversation
from engine.workers.folder import Spool, WorkerNameError, check_name, is_locked, read_spool, worker_folder, worker_names
from engine.workers.roster import Entry, Roster, Worker
from engine.workers.undertaker import Undertaker, verdict

PAUSE_SECONDS = 0.02
LISTEN_SECONDS = 1.0
LEAVE_SECONDS = 5.0
BOOT_SECONDS = 1.0  # a host that has been spawned but not yet taken its lock gets this long
SURVIVOR_GRACE_SECONDS = 2.0
PATIENT_SPAWNS = 3
BACKOFF_SECONDS = (0.5, 10.0)

LOG = structlog.get_logger("workers.pool")


@dataclass(frozen=True)
class OpenAttempt:
    """An attempt on record without an end, as a new engine finds it. `worker_seen`: the worker is on record as having
    connected; one that never did cannot have started anything."""

    attempt: int
    worker: str
    epoch: int
    name: str
    worker_seen: bool = True


class Pool:
    def __init__(
        self,
        state: Path,
        config: Config,
        epoch: int,
        instance: str,
        report: Callable[[Report], None],
        clock_us: Callable[[], int],
        *,
        host: Path = launch.HOST,
    ) -> None:
        self._state, self._config, self._instance, self._host = state.absolute(), config, instance, host
        self._roster = Roster(epoch, report, clock_us)
        grace = min(config.grace.kill_seconds, SURVIVOR_GRACE_SECONDS)
        self._undertaker = Undertaker(self._roster, self._state, instance, grace)
        self._gate = asyncio.Event()
        self._conversation = Conversation(self._roster, self._gate, self._undertaker.disconnected)
        self._server: asyncio.Server | None = None
        self._planned = 0

    async def open(self) -> None:
        """Listen. Workers may connect from here on, but are answered only when adopt() knows what is on record."""
        (self._state / "workers").mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._listen()
        self._undertaker.run(self._keep_listening(self._state.stat().st_ino))

    async def _listen(self) -> None:
        listener = channel.bind(self._state)
        # newer Pythons would look the socket up again by a path that is valid only while it is bound
        options: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._server = await asyncio.start_unix_server(self._conversation.accept, sock=listener, **options)

    async def _keep_listening(self, folder: int) -> None:
        """Listens anew when somebody removed the socket: without it no new worker could ever report. Connections stay.
        In a folder that is not the one we began in the socket is another engine's."""
        while True:
            await asyncio.sleep(LISTEN_SECONDS)
            try:
                if self._state.stat().st_ino != folder or (self._state / "workers.sock").exists():
                    continue
                old = self._server
                await self._listen()
            except (OSError, channel.SocketPathError) as problem:
                LOG.warning("cannot listen for workers", problem=str(problem))
                continue
            LOG.warning("workers.sock was removed; listening again")
            if old:
                old.close()

    async def adopt(self, open_attempts: Mapping[int, OpenAttempt]) -> None:
        """Take over what earlier engines left. Returns when all living workers have reported and the dead are settled,
        or after the adoption time; what is still unclear then goes on in the background."""
        for attempt in open_attempts.values():
            self._recall(
                Entry(attempt.attempt, attempt.worker, attempt.epoch, sent=True, unborn=not attempt.worker_seen)
            )
        needed = {entry.worker for entry in self._roster.open.values()}
        found = await asyncio.to_thread(_survey, self._state, needed)
        pending = [self._register(name, locked, spool) for name, (locked, spool) in found.items()]
        self._gate.set()
        self._undertaker.run(self._undertaker.watch())
        await self._until(lambda: not self._unclear(pending), self._config.grace.adopt_seconds)
        for worker in self._unclear(pending):
            if not worker.accounting:
                self._roster.see(worker, "unreachable")

    def _recall(self, entry: Entry) -> None:
        self._roster.open[entry.attempt] = entry
        try:
            check_name(entry.worker)
        except WorkerNameError:  # a damaged row: it harms only itself
            self._roster.finish(verdict(entry, Spool(), self._roster.clock_us()))

    def _register(self, name: str, locked: bool, spool: Spool) -> Worker:
        boot = spool.boot or {}
        worker = Worker(name, _whole(boot.get("slots")) or 0, "unreachable", _whole(boot.get("pid")), spawned=True)
        worker.reserved = {entry.attempt for entry in self._roster.of(name)}
        if not spool.boot and worker_folder(self._state, name).is_dir():
            worker.since = asyncio.get_running_loop().time() + BOOT_SECONDS
        elif not locked:
            self._undertaker.run(self._undertaker.account(worker))
        self._roster.workers[name] = worker
        return worker

    def _unclear(self, workers: Iterable[Worker]) -> list[Worker]:
        return [worker for worker in workers if worker.channel is None and worker.id in self._roster.workers]

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while not done() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - spans files and processes
            await asyncio.sleep(PAUSE_SECONDS)

    def assign(self, attempt: int) -> str:
        """Reserve a slot: on the fullest worker that has one, so that few workers are used, or on one to be spawned."""
        able = [worker for worker in self._roster.workers.values() if worker.takes_work]
        worker = max(able, key=lambda item: len(item.reserved), default=None) or self._plan()
        worker.reserved.add(attempt)
        return worker.id

    def _plan(self) -> Worker:
        self._planned += 1
        worker = Worker(f"w-{self._roster.epoch}-{self._planned}", self._config.worker_slots)
        self._roster.workers[worker.id] = worker
        return worker

    def release(self, attempt: int) -> None:
        """Give back a slot that was reserved and not used."""
        if attempt not in self._roster.open:
            for worker in self._roster.workers.values():
                worker.reserved.discard(attempt)

    def start(self, attempt: int, worker: str, spec: dict[str, Json]) -> None:
        """The attempt is on record: send it, spawning its worker if that is still a plan."""
        entry = Entry(attempt, worker, self._roster.epoch, spec)
        self._roster.open[attempt] = entry
        found = self._roster.workers.get(worker)
        if found is None or found.accounting or found.state not in ("planned", "starting", "connected"):
            self._later(self._roster.not_started, attempt, f"worker {worker} was gone before the start")
            return
        found.reserved.add(attempt)
        if found.channel:
            self._roster.send_start(entry, found.channel)
        elif found.state == "planned" and not found.spawned:
            found.spawned = True
            self._undertaker.run(self._spawn(found))

    def _later(self, call: Callable[..., None], *arguments: object) -> None:
        """A caller of start or kill is not interrupted by the report its call causes."""
        asyncio.get_running_loop().call_soon(lambda: call(*arguments))

    async def _spawn(self, worker: Worker) -> None:
        await asyncio.sleep(self._backoff())
        folder = worker_folder(self._state, worker.id)
        argv = launch.command(self._host, self._state, worker.id, self._config, self._instance)
        try:
            worker.process = await asyncio.to_thread(launch.spawn, argv, folder)
        except OSError as problem:
            self._failed(worker, f"worker {worker.id} cannot be spawned: {problem}")
            return
        worker.since = asyncio.get_running_loop().time()
        if worker.state == "planned":  # a hello may be quicker than the thread's answer
            worker.pid = worker.process.pid
            self._roster.see(worker, "starting")

    def _backoff(self) -> float:
        extra = self._roster.failed_spawns - PATIENT_SPAWNS
        first, longest = BACKOFF_SECONDS
        return 0.0 if extra < 0 else float(min(longest, first * 2 ** min(extra, 10)))

    def _failed(self, worker: Worker, message: str) -> None:
        self._roster.failed_spawns += 1
        self._roster.return_unsent(worker, message)
        self._roster.workers.pop(worker.id, None)
        self._roster.see(worker, "gone", message)

    def kill(self, attempt: int, grace_seconds: float, why: str) -> None:
        """Ask for an end. An attempt that was not sent yet is taken back; an unreachable worker hears it later."""
        entry = self._roster.open.get(attempt)
        if entry is None:
            return
        if not entry.sent:
            entry.sent, entry.spec = True, None  # so that nothing sends it meanwhile
            self._later(self._roster.not_started, attempt, f"{why} before it was started")
            return
        entry.kill = {"t": "kill", "a": attempt, "grace": grace_seconds, "why": why}
        worker = self._roster.workers.get(entry.worker)
        if worker and worker.channel:
            worker.channel.send(entry.kill)

    def acknowledge(self, attempts: Iterable[int]) -> None:
        """These ends are on record: workers may forget them, and gone workers' folders can go."""
        for worker in self._roster.acknowledge(attempts):
            self._undertaker.bury(worker)

    async def close(self, detach: bool) -> None:
        """Detach leaves workers to the next engine; otherwise idle ones are sent home first."""
        if not detach:
            self._retire()
            await self._until(lambda: not self._leaving(), LEAVE_SECONDS)
        for worker in list(self._roster.workers.values()):  # the next engine could only call these lost
            self._roster.return_unsent(worker, "the engine stopped before this attempt was started")
        if self._server:
            self._server.close()
        await self._undertaker.close()
        await self._conversation.close()
        await asyncio.sleep(0)  # transports write and close in the loop's next turn

    def _retire(self) -> None:
        self._roster.closing = True
        for worker in list(self._roster.workers.values()):
            if worker.channel:
                worker.channel.send({"t": "retire"})
                self._roster.see(worker, "retiring")
            elif worker.state == "planned" and not worker.spawned:
                del self._roster.workers[worker.id]

    def _leaving(self) -> list[Worker]:
        workers = self._roster.workers.values()
        busy = set(self._roster.ended.values())
        return [item for item in workers if item.state != "unreachable" and not item.reserved and item.id not in busy]

    def workers(self) -> list[dict[str, Json]]:
        return [worker.status() for worker in self._roster.workers.values()]

    @property
    def is_idle(self) -> bool:
        """Nothing is reserved, open, or ended and not yet acknowledged."""
        reserved = any(worker.reserved for worker in self._roster.workers.values())
        return not (reserved or self._roster.open or self._roster.ended)


def _survey(state: Path, needed: Iterable[str]) -> dict[str, tuple[bool, Spool]]:
    """Every worker with a spool, and those that attempts on record name even if nothing of them is left."""
    names = {name for name in worker_names(state) if (state / "workers" / name / "spool").exists()} | set(needed)
    return {name: (is_locked(folder), read_spool(folder)) for name in names for folder in [worker_folder(state, name)]}


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) else None
