"""One running attempt as the threads share it: its specification, its wish to be killed, its progress."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .config import now_us

PROGRESS_INTERVAL = 0.2


@dataclass(frozen=True)
class KillOrder:
    """Why this attempt is to end: killed, timed_out or stalled. The first order given stands."""

    why: str
    grace: float
    message: str
    at: float


@dataclass
class Result:
    """How the main process, or the callable, ended."""

    outcome: str
    reason: str
    code: int | None = None
    signal: int | None = None
    message: str = ""
    output: Any = None
    usage: dict[str, float] = field(default_factory=dict)
    dirty: bool = False  # the runner is not fit for another call


class Attempt:
    def __init__(
        self, number: int, epoch: int, spec: dict[str, Any], send: Callable[[dict[str, object]], None]
    ) -> None:
        self.number, self.epoch, self.spec = number, epoch, spec
        self.pid: int | None = None
        self.started_us = now_us()
        self.began = time.monotonic()
        self.last_report = self.began
        self.order: KillOrder | None = None
        self.result: Result | None = None
        self.wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.runner: object = None  # that has the call: only its death is this attempt's end
        self.stuck = False  # a callable that outlived its grace
        self._send = send
        self._lock = threading.Lock()
        self._progress: tuple[float, float | None] | None = None
        self._progress_sent = 0.0
        self._closed = False

    def kill(self, why: str, grace: float, message: str) -> None:
        with self._lock:
            if self.order is None:
                self.order = KillOrder(why, grace, message, time.monotonic())
        self.wake()

    def finish(self, result: Result) -> None:
        """Called by a runner's reader; the first result stands."""
        with self._lock:
            if self.result is None:
                self.result = result
        self.wake()

    def wake(self) -> None:
        with self._lock:
            if not self._closed:
                os.eventfd_write(self.wake_fd, 1)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self.wake_fd)

    def report(self, done: object, total: object) -> None:
        """A progress report. Nonsense counts as nothing: it neither moves the display nor holds off a stall."""
        if not _is_number(done) or not (total is None or _is_number(total)):
            return
        with self._lock:
            self.last_report = time.monotonic()
            self._progress = (done, total)  # type: ignore[assignment]
        self.wake()

    def send_progress(self, final: bool = False) -> float | None:
        """Send what is new, at most five times a second; gives the time at which to come again."""
        now = time.monotonic()
        with self._lock:
            if self._progress is None:
                return None
            if not final and now < self._progress_sent + PROGRESS_INTERVAL:
                return self._progress_sent + PROGRESS_INTERVAL
            (done, total), self._progress = self._progress, None
            self._progress_sent = now
        self._send({"t": "progress", "a": self.number, "done": done, "total": total})
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
