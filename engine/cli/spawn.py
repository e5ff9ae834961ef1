"""Starts an engine of its own for a command that found none, and waits until it answers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from engine.api.client import Client, EngineNotRunningError
from engine.api.client_errors import ClientError
from engine.cli.options import BUSY, STATE_FOLDER
from engine.cli.starting import await_engine

_PATIENCE_S = 30.0
_POLL_S = 0.05


class EngineStartError(ClientError):
    """The engine was started and did not come to answer; the text holds its last words."""


def launch(root: Path) -> subprocess.Popen[bytes]:
    """`interlock engine --only` in a session of its own, so that neither Ctrl-C nor a closed terminal reaches it."""
    folder = root / STATE_FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    out = os.open(folder / "engine.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    # -P: the folder a user happens to stand in must not put its own `engine` package before ours.
    argv = [sys.executable, "-P", "-m", "engine.cli.main", "engine", "--only", "--root", str(root)]
    try:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    finally:
        os.close(out)


async def ensure_engine(client: Client, root: Path) -> bool:
    """Whether an engine had to be started. Returns when one answers and takes work."""
    try:
        await await_engine(client, root / STATE_FOLDER)
        return False
    except EngineNotRunningError:
        process = launch(root)
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S
    while not await _answers(client):
        code = process.poll()
        late = asyncio.get_running_loop().time() > deadline
        # BUSY: somebody else's engine was quicker; it will answer.
        if late or code not in (None, BUSY):
            raise EngineStartError(f"the engine did not start{_last_words(root)}")
        await asyncio.sleep(_POLL_S)
    return True


async def _answers(client: Client) -> bool:
    try:
        return await client.ready()
    except EngineNotRunningError:
        return False


def _last_words(root: Path) -> str:
    path = root / STATE_FOLDER / "engine.out"
    lines = path.read_text(errors="replace").splitlines()[-5:] if path.exists() else []
    return "; it said:\n" + "\n".join(lines) if lines else f"; see {path}"
