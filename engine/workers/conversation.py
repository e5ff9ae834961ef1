"""Owns what is said on a worker's connection: hello and its settlement, then starts, progress and exits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from engine.model.lifecycle import Outcome, Reason
from engine.model.reports import Ended, Started
from engine.workers.channel import Channel, Message
from engine.workers.folder import WorkerNameError, check_name
from engine.workers.messages import (
    PROTOCOL,
    BadMessageError,
    Hello,
    Running,
    integer,
    read_exit,
    read_hello,
    read_progress,
    read_running,
)
from engine.workers.roster import Entry, Roster, Worker

LOG = structlog.get_logger("workers.conversation")


class Conversation:
    def __init__(self, roster: Roster, gate: asyncio.Event, ended: Callable[[Worker], None]) -> None:
        """`gate` opens when the attempts on record are known: before that no hello can be judged."""
        self._roster, self._gate, self._ended = roster, gate, ended
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(Channel(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()):
            LOG.error("connection failed", problem=repr(problem), exc_info=problem)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, channel: Channel) -> None:
        worker: Worker | None = None
        try:
            async for message in channel.messages():
                if worker is None:
                    worker = await self._greet(channel, message)
                    if worker is None:
                        return
                elif worker.channel is not channel:
                    return  # it has connected anew; that hello said everything this connection could
                else:
                    self._hear(worker, message)
        finally:
            channel.close()
            if worker and worker.channel is channel:
                worker.channel = None
                self._ended(worker)

    async def _greet(self, channel: Channel, message: Message) -> Worker | None:
        try:
            hello = read_hello(message)
            check_name(hello.worker)
        except (BadMessageError, WorkerNameError) as problem:
            LOG.warning("connection refused", problem=str(problem))
            return None
        if hello.epoch > self._roster.epoch:
            LOG.error("worker has served a newer engine", worker=hello.worker, epoch=hello.epoch)
            return None
        await self._gate.wait()
        return self._welcome(channel, hello)

    def _welcome(self, channel: Channel, hello: Hello) -> Worker | None:
        known = self._roster.workers.get(hello.worker)
        if known and known.accounting:
            return None  # its death is being settled; it will try again in a moment
        worker = known or self._roster.workers.setdefault(hello.worker, Worker(hello.worker, hello.slots))
        old, worker.channel = worker.channel, channel
        if old:
            old.close()
        worker.pid, worker.slots, worker.protocol, worker.spawned = hello.pid, hello.slots, hello.protocol, True
        self._roster.failed_spawns = 0
        channel.send({"t": "welcome", "epoch": self._roster.epoch})
        retiring = worker.protocol != PROTOCOL or self._roster.closing
        self._roster.see(worker, "retiring" if retiring else "connected")
        self._settle(worker, channel, hello)
        if retiring:
            channel.send({"t": "retire"})
        return worker

    def _settle(self, worker: Worker, channel: Channel, hello: Hello) -> None:
        """Compare what the worker says with what is on record."""
        for message in hello.finished:
            self._hear(worker, message)
        for running in hello.running:
            self._adopt(worker, channel, running)
        listed = {(running.attempt, running.epoch) for running in hello.running}
        for entry in self._roster.of(worker.id):
            if not entry.sent:
                self._begin(worker, channel, entry)
            elif (entry.attempt, entry.epoch) not in listed:
                self._roster.not_started(entry.attempt, f"worker {worker.id} knows nothing of this attempt")

    def _begin(self, worker: Worker, channel: Channel, entry: Entry) -> None:
        if worker.protocol != PROTOCOL:
            self._roster.not_started(entry.attempt, f"worker {worker.id} speaks protocol {worker.protocol}")
        else:
            self._roster.send_start(entry, channel)

    def _adopt(self, worker: Worker, channel: Channel, running: Running) -> None:
        entry = self._roster.matching(worker, running.attempt, running.epoch)
        if entry is None:  # what is not on record must not go on
            LOG.error("unknown attempt killed", worker=worker.id, attempt=running.attempt)
            channel.send({"t": "kill", "a": running.attempt, "grace": 0, "why": "killed"})
            return
        worker.reserved.add(entry.attempt)
        self._roster.report(Started(entry.attempt, running.at_us, running.pid))
        if entry.kill:  # the old connection may have ended before it was read
            channel.send(entry.kill)

    def _hear(self, worker: Worker, message: Message) -> None:
        handlers: dict[object, Callable[[Worker, Message], None]] = {
            "started": self._on_started,
            "progress": self._on_progress,
            "exit": self._on_exit,
            "refused": self._on_refused,
        }
        kind = message.get("t")
        try:
            if not isinstance(kind, str) or kind not in handlers:
                raise BadMessageError(f"unknown message {kind!r}")
            handlers[kind](worker, message)
        except BadMessageError as problem:
            LOG.warning("message skipped", worker=worker.id, problem=str(problem))

    def _on_started(self, worker: Worker, message: Message) -> None:
        running = read_running(message)
        if self._roster.matching(worker, running.attempt, running.epoch):
            self._roster.report(Started(running.attempt, running.at_us, running.pid))

    def _on_progress(self, worker: Worker, message: Message) -> None:
        progress = read_progress(message)
        entry = self._roster.open.get(progress.attempt)
        if entry and entry.worker == worker.id:
            self._roster.report(progress)

    def _on_exit(self, worker: Worker, message: Message) -> None:
        attempt, epoch = integer(message, "a"), integer(message, "e")
        if self._roster.matching(worker, attempt, epoch):
            self._roster.finish(self._ended_from(worker, message))
        elif self._roster.ended.get(attempt) != worker.id and worker.channel:
            worker.channel.send({"t": "ack", "a": [attempt]})  # on record already, or none of ours

    def _ended_from(self, worker: Worker, message: Message) -> Ended:
        try:
            return read_exit(message)
        except BadMessageError as problem:  # it did end; how, nobody can know
            text = f"worker {worker.id} sent an unreadable exit: {problem}"
            return Ended(message["a"], Outcome.LOST, Reason.LOST.value, self._roster.clock_us(), message=text)

    def _on_refused(self, worker: Worker, message: Message) -> None:
        entry = self._roster.matching(worker, integer(message, "a"), integer(message, "e"))
        if entry and entry.sent:
            self._roster.not_started(entry.attempt, f"worker {worker.id} refused it: {message.get('why')}")
