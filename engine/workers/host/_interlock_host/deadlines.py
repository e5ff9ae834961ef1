"""Timeout and stall of one attempt, and the kill ladder: TERM, grace, KILL. Driven by the pump's ticks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from .attempt import Attempt
from .logs import OutputLog
from .worklog import WorkLog

KILL_EVERY = 0.05


@dataclass(frozen=True)
class Steps:
    """How to end what runs: ask at once, press at half the grace, force when it is over (again and again)."""

    ask: Callable[[], object]
    press: Callable[[], object]
    force: Callable[[], object]


class Deadlines:
    def __init__(self, attempt: Attempt, log: OutputLog, worklog: WorkLog) -> None:
        self._attempt, self._log, self._worklog = attempt, log, worklog
        self._timeout: float | None = attempt.spec.get("timeout")
        self._stall: float | None = attempt.spec.get("stall")
        self._grace = float(attempt.spec.get("grace") or 0)

    def tick(self) -> float:
        """Give the orders that are due; the time of the next one."""
        if self._attempt.order is not None:
            return math.inf
        now, due = time.monotonic(), math.inf
        if self._timeout is not None:
            due = self._attempt.began + self._timeout
            if now >= due:
                self._attempt.kill("timed_out", self._grace, f"ran longer than its timeout of {self._timeout:g} s")
                return math.inf
        if self._stall is not None:
            stalled_at = self._attempt.last_report + self._stall
            if now >= stalled_at:
                self._stalled(self._stall)
                return math.inf
            due = min(due, stalled_at)
        return due

    def _stalled(self, stall: float) -> None:
        message = f"reported no progress for {stall:g} s"
        self._worklog("stalled", attempt=self._attempt.number, name=self._attempt.spec.get("name"), stall=stall)
        self._log.write(2, f"interlock: {message}; it is being killed\n".encode())
        self._attempt.kill("stalled", self._grace, message)


class Ladder:
    """Carries out the attempt's kill order, step by step, while the pump goes on reading."""

    def __init__(self, attempt: Attempt, steps: Steps) -> None:
        self._attempt, self._steps = attempt, steps
        self._done = 0

    def tick(self) -> float:
        order = self._attempt.order
        if order is None:
            return math.inf
        times = [order.at, order.at + order.grace / 2, order.at + order.grace]
        now = time.monotonic()
        for number, step in enumerate([self._steps.ask, self._steps.press]):
            if self._done == number and now >= times[number]:
                self._done += 1
                step()
        if now < times[2]:
            return times[self._done] if self._done < 2 else times[2]
        self._steps.force()
        return now + KILL_EVERY
