"""Waits for an engine that already holds the folder but does not answer yet: it is just starting, or just leaving."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engine.api.client import Client, EngineNotRunningError
from engine.model.errors import EngineBusyError

STARTING = "engine.starting"  # locked by an engine from its first moment
PATIENCE_S = 5.0
GRACE_S = 0.3  # what an engine that the shell has just put in the background needs for its first moment
_POLL_S = 0.05
_LOCKS = Path("/proc/locks")


async def await_engine(client: Client, folder: Path) -> None:
    """Returns when the folder's engine answers. Raises EngineNotRunningError when there is none to wait for."""
    began = asyncio.get_running_loop().time()
    while True:
        try:
            await client.ready()
            return
        except EngineBusyError:
            return
        except EngineNotRunningError:
            waited = asyncio.get_running_loop().time() - began
            if waited > (PATIENCE_S if is_held(folder) else GRACE_S):
                raise
        await asyncio.sleep(_POLL_S)


def is_held(folder: Path) -> bool:
    """Whether an engine holds the folder's lock, or is about to. Looked up, never tried: a lock of ours, however short,
    could keep an engine that starts just now from getting it."""
    holders = {_holder(folder / name) for name in ("engine.lock", STARTING)} - {""}
    try:
        locks = _LOCKS.read_text() if holders else ""
    except OSError:
        return False
    # "1: FLOCK  ADVISORY  WRITE 4242 08:01:1234 0 EOF"
    fields = (line.split() for line in locks.splitlines() if " FLOCK " in line)
    return any(len(field) > 4 and field[3] == "WRITE" and field[4] in holders for field in fields)


def _holder(path: Path) -> str:
    """The process id a lock file names; empty if it names none."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
