"""The worker's main thread: its folder, its signals, when it leaves."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

from . import PROTOCOL, config, tree
from .command import ProgressSeat
from .config import Config
from .desk import Desk
from .link import Link
from .spool import Spool
from .worklog import WorkLog

PR_SET_CHILD_SUBREAPER = 36
TICK = 1.0
FAREWELL = 2.0  # how long a worker that was told to end waits for the engine to acknowledge


class Host:
    def __init__(self, settings: Config) -> None:
        seat = ProgressSeat()  # first, while the low descriptor numbers are free
        self._config = settings
        settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state = settings.state.stat()
        identity: dict[str, object] = {
            "worker": settings.worker,
            "pid": os.getpid(),
            "boot_id": config.boot_id(),
            "start_ticks": config.start_ticks(),
            "protocol": PROTOCOL,
            "slots": settings.slots,
        }
        spool = Spool(settings.folder / "spool", identity)
        self._log = WorkLog(settings.folder / "worker.log")
        self._desk = Desk(settings, identity, spool, self._log, seat)
        self._link = Link(settings.state, self._desk, self._log)
        self._desk.send = self._link.send
        self._ending: float | None = None
        self._idle_since = time.monotonic()
        self._checked = 0.0

    def run(self) -> int:
        self._take_signals()
        self._log("boot", pid=os.getpid(), slots=self._config.slots)
        while not (why := self._reason_to_leave()):
            self._link.step(TICK if self._ending is None else 0.1)
            self._look_around()
        self._log("leave", why=why)
        self._desk.close()
        self._link.close()
        return 0

    def _take_signals(self) -> None:
        """Handlers rather than SIG_IGN: exec turns a handler back into the default, so jobs get a clean table."""
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(self._wakeup(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: self._log("signal ignored", signal=number))
        signal.signal(signal.SIGTERM, lambda *_: self._end("the worker was told to end"))

    def _wakeup(self) -> int:
        """Signals arrive in the main thread, which sleeps in the link's selector; an eventfd takes 8 bytes, not 1."""
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._link.also_wake_on(read)
        return write

    def _end(self, why: str) -> None:
        if self._ending is None:
            self._ending = time.monotonic()
            self._log("ending", why=why)
            # Not in the signal handler itself: it may have interrupted the holder of a lock.
            threading.Thread(target=self._desk.kill_all, args=(why,), name="ending").start()

    def _look_around(self) -> None:
        now = time.monotonic()
        if self._desk.running:
            self._idle_since = now
        if now < self._checked + TICK:
            return
        self._checked = now
        tree.reap_adopted()
        if self._vanished():
            self._end("the state folder is gone")

    def _vanished(self) -> bool:
        try:
            found = self._config.state.stat()
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != (self._state.st_dev, self._state.st_ino)

    def _reason_to_leave(self) -> str:
        desk, now = self._desk, time.monotonic()
        if desk.running:
            return ""
        if self._ending is not None:
            told = not desk.finished or not self._link.connected
            return "told to end" if desk.retired and (told or now > self._idle_since + FAREWELL) else ""
        if desk.retired and not desk.finished:
            return "retired" if self._link.quiet else ""
        lonely_since = max(self._idle_since, self._link.lost_at)
        if not self._link.connected and now > lonely_since + self._config.orphan:
            return "neither engine nor work"
        return ""


def main(argv: list[str]) -> int:
    settings = config.parse(argv)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.stderr.write("interlock worker: cannot become a subreaper\n")
    return Host(settings).run()
