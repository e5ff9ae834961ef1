"""Owns the end of processes a dead worker left behind, found by the marks in their environment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

import psutil

PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0


def find(worker: str, instance: str) -> list[psutil.Process]:
    """Living processes that carry the marks of this worker in this state folder. Scans /proc: call it in a thread."""
    return [process for process in psutil.process_iter() if _is_marked(process, worker, instance)]


def _is_marked(process: psutil.Process, worker: str, instance: str) -> bool:
    if process.pid == os.getpid():
        return False  # an engine that is itself a job must not end itself
    try:
        marks = process.environ()
    except (psutil.Error, OSError):  # gone meanwhile, a zombie, or somebody else's
        return False
    return marks.get("INTERLOCK_WORKER") == worker and marks.get("INTERLOCK_INSTANCE") == instance


async def end(worker: str, instance: str, grace: float) -> int:
    """TERM, then KILL after `grace`; returns how many there were, and only when all are gone. It searches again each
    time, because a survivor may still fork."""
    seen: set[int] = set()
    kill_at = time.monotonic() + grace
    pause = PAUSE_SECONDS
    while found := await asyncio.to_thread(find, worker, instance):
        deadly = time.monotonic() >= kill_at
        for process in found:
            _signal(process, first=process.pid not in seen, deadly=deadly)
            seen.add(process.pid)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS if deadly else 0.25)
    return len(seen)


def _signal(process: psutil.Process, *, first: bool, deadly: bool) -> None:
    with contextlib.suppress(psutil.Error):  # psutil checks the start time, so a reused pid is not hit
        if deadly:
            process.send_signal(signal.SIGKILL)
        elif first:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
