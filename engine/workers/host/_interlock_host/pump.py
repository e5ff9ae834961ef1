"""Moves an attempt's bytes: standard output, standard error and progress, and sees its main process end."""

from __future__ import annotations

import json
import os
import selectors
import time
from collections.abc import Callable

from .attempt import Attempt
from .logs import OutputLog

READ_SIZE = 256 * 1024
DRAIN = 2.0  # what may still be in the pipes once the main process has ended; a grandchild may hold them for ever
LINE_LIMIT = 64 * 1024


class Pump:
    def __init__(self, attempt: Attempt, log: OutputLog, ticks: list[Callable[[], float]]) -> None:
        self._attempt, self._log, self._ticks = attempt, log, ticks
        self._selector = selectors.DefaultSelector()
        self._line = b""
        self._pipes: set[int] = set()
        self._main: int | None = None
        self._over_at: float | None = None
        self._selector.register(attempt.wake_fd, selectors.EVENT_READ, self._woken)

    def add_output(self, fd: int, stream: int) -> None:
        self._add(fd, lambda chunk: self._log.write(stream, chunk))

    def add_progress(self, fd: int) -> None:
        self._add(fd, self._progress)

    def add_main(self, pidfd: int) -> None:
        self._main = pidfd
        self._selector.register(pidfd, selectors.EVENT_READ, self._main_ended)

    def _add(self, fd: int, consume: Callable[[bytes], None]) -> None:
        os.set_blocking(fd, False)
        self._pipes.add(fd)
        self._selector.register(fd, selectors.EVENT_READ, lambda: self._read(fd, consume))

    def run(self) -> None:
        """Until the main process (or the callable) has ended and the pipes are dry, or DRAIN is over."""
        while not self._done():
            for key, _ in self._selector.select(self._wait_time()):
                key.data()
        self._attempt.send_progress(final=True)

    def close(self) -> None:
        for fd in list(self._pipes):
            self._drop(fd)
        self._selector.close()

    def _done(self) -> bool:
        if self._over_at is None and self._main is None and self._attempt.result is not None:
            self._over_at = time.monotonic()
        if self._over_at is None:
            return False
        return not self._pipes or time.monotonic() >= self._over_at + DRAIN

    def _wait_time(self) -> float | None:
        due = [again for again in [self._attempt.send_progress()] if again is not None]
        if self._over_at is None:
            due += [tick() for tick in self._ticks]
        else:
            due.append(self._over_at + DRAIN)
        nearest = min(due, default=float("inf"))
        return None if nearest == float("inf") else max(0.0, nearest - time.monotonic())

    def _main_ended(self) -> None:
        self._over_at = time.monotonic()
        if self._main is not None:
            self._selector.unregister(self._main)

    def _woken(self) -> None:
        os.eventfd_read(self._attempt.wake_fd)

    def _read(self, fd: int, consume: Callable[[bytes], None]) -> None:
        try:
            chunk = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return
        if chunk:
            consume(chunk)
        else:
            self._drop(fd)

    def _drop(self, fd: int) -> None:
        self._pipes.discard(fd)
        self._selector.unregister(fd)
        os.close(fd)

    def _progress(self, chunk: bytes) -> None:
        *lines, self._line = (self._line + chunk).split(b"\n")
        if len(self._line) > LINE_LIMIT:
            self._line = b""
        for line in lines[-50:]:  # a flood of reports: only the newest say anything
            try:
                report = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(report, dict):
                self._attempt.report(report.get("done"), report.get("total"))
