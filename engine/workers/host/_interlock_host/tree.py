"""Processes of an attempt: which they are, and how they end.

Every descendant of a job stays a descendant of the worker, because the worker is a subreaper; so an attempt without
leftovers costs one look at our own children, and only a kill or a leftover reads all of /proc.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

POLL = 0.02
spawning = threading.RLock()  # held over fork + registration, and over each reaping
own: set[int] = set()  # children that somebody in this program waits for


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    session: int
    ticks: int
    zombie: bool


@dataclass(frozen=True)
class Identity:
    """What makes a process one of an attempt's: its root's session, descent from the root, or its environment."""

    root: int | None
    marks: tuple[bytes, ...]  # NAME=value, all of them
    spare_root: bool = False  # a runner that is to be used again
    sole: bool = False  # nothing else runs here, so an unknown adopted process is this attempt's


def read(pid: int) -> Process | None:
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)  # plain calls: this runs for every process
        try:
            fields = os.read(fd, 4096).rpartition(b")")[2].split()
        finally:
            os.close(fd)
    except OSError:
        return None
    if len(fields) < 20:
        return None
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]), fields[0] in (b"Z", b"X"))


def all_processes() -> dict[int, Process]:
    found = (read(int(name)) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    return {process.pid: process for process in found if process is not None}


def own_children() -> set[int]:
    """Direct children of this program, adopted ones included."""
    me = str(os.getpid())
    if not Path(f"/proc/self/task/{me}/children").exists():  # an option of the kernel that not every one has
        return {process.pid for process in all_processes().values() if process.parent == int(me)}
    pids: set[int] = set()
    for task in os.listdir("/proc/self/task"):  # noqa: PTH208
        with contextlib.suppress(OSError), Path(f"/proc/self/task/{task}/children").open() as file:
            pids.update(map(int, file.read().split()))
    return pids


def reap_adopted() -> set[int]:
    """Bury orphans that came to us. Gives the adopted ones that live. Never takes a status somebody waits for."""
    alive = set()
    with spawning:
        for pid in own_children() - own:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    alive.add(pid)
    return alive


def wait_for(pid: int) -> tuple[int, dict[str, float]]:
    """Status (negative: signal) and usage of a child of ours."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with spawning:  # from here on the number may be given to another process
        _, status, usage = os.wait4(pid, 0)
        own.discard(pid)
    cpu = round(usage.ru_utime + usage.ru_stime, 6)
    return os.waitstatus_to_exitcode(status), {"cpu_seconds": cpu, "max_rss_bytes": usage.ru_maxrss * 1024}


def members(identity: Identity) -> list[Process]:
    """The attempt's living processes."""
    adopted = reap_adopted()
    if identity.root is None and not adopted:
        return []
    everything = all_processes()
    children: dict[int, list[Process]] = {}
    for process in everything.values():
        children.setdefault(process.parent, []).append(process)
    ours = _descendants(os.getpid(), children)
    seeds = [p for p in ours if _belongs(p, identity, p.pid in adopted)]
    chosen = {p.pid: p for seed in seeds for p in [seed, *_descendants(seed.pid, children)]}
    if identity.spare_root and identity.root is not None:
        chosen.pop(identity.root, None)
    return [p for p in chosen.values() if not p.zombie]


def _descendants(pid: int, children: dict[int, list[Process]]) -> list[Process]:
    found: list[Process] = []
    ahead = list(children.get(pid, ()))
    while ahead:
        process = ahead.pop()
        found.append(process)
        ahead.extend(children.get(process.pid, ()))
    return found


def _belongs(process: Process, identity: Identity, adopted: bool) -> bool:
    if identity.root is not None and identity.root in (process.pid, process.session):
        return True
    try:
        environ = Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:
        return False
    entries = environ.split(b"\0")
    if identity.marks and all(mark in entries for mark in identity.marks):
        return True
    return identity.sole and adopted and process.pid not in own and b"INTERLOCK_ATTEMPT=" not in environ


def send_signal(process: Process, number: int) -> None:
    """Signal this very process: the descriptor pins it, the start time proves it is the one we saw."""
    with contextlib.suppress(OSError):
        fd = os.pidfd_open(process.pid)
        try:
            seen = read(process.pid)
            if seen is not None and seen.ticks == process.ticks:
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)


def ask(identity: Identity) -> list[Process]:
    """TERM, and CONT for those that are stopped, to the whole tree."""
    asked = members(identity)
    for process in asked:
        send_signal(process, signal.SIGTERM)
        send_signal(process, signal.SIGCONT)
    return asked


def force(identity: Identity) -> list[Process]:
    found = members(identity)
    for process in found:
        send_signal(process, signal.SIGKILL)
    return found


def sweep(identity: Identity, grace: float) -> list[Process]:
    """End every process of the attempt. Gives those that even KILL has not ended (uninterruptible): normally none."""
    if not ask(identity):
        return []
    give_up = time.monotonic() + grace
    while time.monotonic() < give_up:
        if not members(identity):
            return []
        time.sleep(POLL)
    give_up = time.monotonic() + 30
    while (left := force(identity)) and time.monotonic() < give_up:
        time.sleep(POLL)
    return left
