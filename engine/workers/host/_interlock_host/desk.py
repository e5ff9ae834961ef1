"""What this worker has taken, runs and has finished: the answers to the engine's messages."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import PROTOCOL
from .attempt import Attempt
from .command import ProgressSeat
from .config import Config, now_us
from .execute import Executor
from .spool import Spool
from .worklog import WorkLog

Message = dict[str, Any]
REMEMBERED = 100_000  # numbers of attempts, so that a start which comes twice runs once


class Desk:
    def __init__(self, config: Config, identity: Message, spool: Spool, worklog: WorkLog, seat: ProgressSeat) -> None:
        self._config, self._identity, self._spool, self._worklog = config, identity, spool, worklog
        self.send: Callable[[Message], None] = lambda message: None
        self.lock = threading.RLock()  # running and finished change together, and a hello sees both
        self.running: dict[int, Attempt] = {}
        self.finished: dict[int, Message] = {}
        self._known: collections.OrderedDict[int, None] = collections.OrderedDict()
        self.epoch = 0
        self.welcomed = False
        self.retired = False
        self.executor = Executor(config, worklog, seat, lambda: len(self.running) == 1)
        self._slots = ThreadPoolExecutor(config.slots, thread_name_prefix="slot")

    def hello(self) -> Message:
        running = [{"a": a.number, "e": a.epoch, "at": a.started_us, "pid": a.pid} for a in self.running.values()]
        finished = list(self.finished.values())
        return {"t": "hello", **self._identity, "epoch": self.epoch, "running": running, "finished": finished}

    def handle(self, message: Message) -> bool:
        """False: this is no engine we may serve, the connection is to be closed."""
        kind = message.get("t")
        if kind == "welcome":
            return self._welcome(int(message["epoch"]))
        if kind == "start":
            self._start(int(message["a"]), int(message["e"]), message["spec"])
        elif kind == "kill":
            self._kill(int(message["a"]), float(message.get("grace", self._config.grace)), message.get("why"))
        elif kind == "ack":
            self._acknowledged(message["a"])
        elif kind == "retire":
            self.retired = True
        else:
            self._worklog("unknown message", message=str(message)[:200])
        return True

    def kill_all(self, why: str) -> None:
        self.retired = True
        with self.lock:
            for attempt in self.running.values():
                attempt.kill("killed", self._config.grace, why)

    def _welcome(self, epoch: int) -> bool:
        if epoch < self.epoch:
            self._worklog("stale engine", epoch=epoch, known=self.epoch)
            return False
        self.epoch, self.welcomed = epoch, True
        self._worklog("welcome", epoch=epoch, protocol=PROTOCOL)
        return True

    def _start(self, number: int, epoch: int, spec: Message) -> None:
        why = self._refusal(number, epoch)
        if not why:
            attempt = Attempt(number, epoch, spec, self._say)
            try:
                # On record before anything can have happened.
                self._spool.append({"t": "start", "a": number, "e": epoch, "at": attempt.started_us})
            except OSError as error:
                attempt.close()
                why = f"the start cannot be recorded: {error.strerror}"
        if why:
            self._worklog("refused", attempt=number, why=why)
            self._say({"t": "refused", "a": number, "e": epoch, "why": why})
            return
        with self.lock:
            self.running[number] = attempt
            self._known[number] = None
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._slots.submit(self._run, attempt)

    def _refusal(self, number: int, epoch: int) -> str:
        if not self.welcomed or epoch != self.epoch:
            return f"epoch {epoch} is not the current epoch {self.epoch}"
        if number in self._known:
            return "this attempt is already known"
        if self.retired:
            return "this worker is retiring"
        return "all slots are taken" if len(self.running) >= self._config.slots else ""

    def _say(self, message: Message) -> None:
        self.send(message)

    def _started(self, attempt: Attempt) -> None:
        self._say(
            {"t": "started", "a": attempt.number, "e": attempt.epoch, "at": attempt.started_us, "pid": attempt.pid}
        )

    def _run(self, attempt: Attempt) -> None:
        attempt.started_us = now_us()
        exit_message = self.executor.run(attempt, self._started)
        try:
            self._spool.append(exit_message)
        except OSError as error:  # the engine still hears it from us; only our own death now would lose it
            self._worklog("exit not spooled", attempt=attempt.number, error=str(error))
        with self.lock:
            self.running.pop(attempt.number)
            self.finished[attempt.number] = exit_message
            self._say(exit_message)
        attempt.close()

    def _kill(self, number: int, grace: float, why: object) -> None:
        attempt = self.running.get(number)
        if attempt is not None:
            order = str(why) if why in ("timed_out", "stalled") else "killed"
            attempt.kill(order, grace, "" if why in (None, "killed") else str(why))

    def _acknowledged(self, numbers: list[int]) -> None:
        with self.lock:
            for number in numbers:
                self.finished.pop(number, None)
            if not self.running and not self.finished:
                self._spool.compact()

    def close(self) -> None:
        self.executor.runners.close()
        self._slots.shutdown(wait=False)
