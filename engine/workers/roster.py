"""Owns who works here and what they do: workers, open attempts, and each attempt's single Ended report."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from engine.model.lifecycle import Outcome, Reason
from engine.model.reports import Ended, Report, WorkerSeen
from engine.model.workflow import Json
from engine.workers.channel import Channel
from engine.workers.messages import PROTOCOL


@dataclass
class Worker:
    """state: planned (in memory only) | starting | connected | unreachable | retiring | gone."""

    id: str
    slots: int
    state: str = "planned"
    pid: int | None = None
    protocol: int = PROTOCOL
    process: subprocess.Popen[bytes] | None = None  # only for those this engine spawned
    channel: Channel | None = None
    spawned: bool = False
    since: float = 0.0  # loop time: of the spawn, or before which an adopted one is not judged
    accounting: bool = False  # found dead, its attempts are being settled
    reserved: set[int] = field(default_factory=set)

    @property
    def takes_work(self) -> bool:
        able = self.state in ("planned", "starting") or (self.state == "connected" and self.channel is not None)
        return able and not self.accounting and self.protocol == PROTOCOL and len(self.reserved) < self.slots

    def status(self) -> dict[str, Json]:
        return {
            "id": self.id,
            "state": self.state,
            "pid": self.pid,
            "slots": self.slots,
            "busy": len(self.reserved),
            "connected": self.channel is not None,
        }


@dataclass
class Entry:
    """An attempt on record whose end has not been reported. `spec` is held until it is sent; `unborn`: its worker
    never was on record as connected, so it cannot have been sent a start."""

    attempt: int
    worker: str
    epoch: int
    spec: dict[str, Json] | None = None
    sent: bool = False
    kill: dict[str, Json] | None = None
    unborn: bool = False


class Roster:
    """Shared by the pool's parts; everything in it happens on the loop."""

    def __init__(self, epoch: int, report: Callable[[Report], None], clock_us: Callable[[], int]) -> None:
        self.epoch, self.report, self.clock_us = epoch, report, clock_us
        self.workers: dict[str, Worker] = {}
        self.open: dict[int, Entry] = {}
        self.ended: dict[int, str] = {}  # reported, not yet on record: attempt -> worker
        self.failed_spawns = 0  # in a row
        self.closing = False

    def see(self, worker: Worker, state: str, message: str = "") -> None:
        worker.state = state
        self.report(WorkerSeen(worker.id, state, worker.pid, worker.slots, message))

    def of(self, worker: str) -> list[Entry]:
        return [entry for entry in self.open.values() if entry.worker == worker]

    def matching(self, worker: Worker, attempt: int, epoch: int) -> Entry | None:
        """The fence: a message counts only from the worker and epoch to which the attempt was given."""
        entry = self.open.get(attempt)
        return entry if entry and entry.worker == worker.id and entry.epoch == epoch else None

    def finish(self, ended: Ended) -> None:
        """Report an end, once; the slot is free from here on."""
        entry = self.open.pop(ended.attempt, None)
        if entry is None:
            return
        self.ended[ended.attempt] = entry.worker
        self.free(ended.attempt, entry.worker)
        self.report(ended)

    def free(self, attempt: int, worker: str) -> None:
        if found := self.workers.get(worker):
            found.reserved.discard(attempt)

    def not_started(self, attempt: int, message: str) -> None:
        at = self.clock_us()
        self.finish(Ended(attempt, Outcome.NOT_STARTED, Reason.NOT_STARTED.value, at, message=message))

    def return_unsent(self, worker: Worker, message: str) -> None:
        """Starts that never left this process have certainly not run: give them back."""
        for entry in self.of(worker.id):
            if not entry.sent:
                self.not_started(entry.attempt, message)

    def send_start(self, entry: Entry, channel: Channel) -> None:
        channel.send({"t": "start", "a": entry.attempt, "e": entry.epoch, "spec": entry.spec})
        entry.sent, entry.spec = True, None

    def acknowledge(self, attempts: Iterable[int]) -> set[str]:
        """Tell workers that these ends are on record; returns the workers concerned."""
        groups: dict[str, list[int]] = {}
        for attempt in attempts:
            if worker := self.ended.pop(attempt, None):
                groups.setdefault(worker, []).append(attempt)
        for name, group in groups.items():
            found = self.workers.get(name)
            if found and found.channel:  # else its next hello lists them, unknown by then, and they are acknowledged
                found.channel.send({"t": "ack", "a": group})
        return set(groups)

    def is_settled(self, worker: str) -> bool:
        """Whether nobody needs this worker's records any more."""
        return worker not in self.workers and worker not in self.ended.values() and not self.of(worker)
