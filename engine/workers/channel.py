"""Owns the socket to workers and one connection's lines: whole messages in, gathered messages out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from engine.model.workflow import Json

LOG = structlog.get_logger("workers.channel")
MAX_LINE_BYTES = 256 * 1024 * 1024  # a hello may carry the outputs of many attempts
Message = dict[str, Json]


class SocketPathError(RuntimeError):
    """Something that is not a socket stands where ours belongs."""


def bind(state: Path) -> socket.socket:
    """A listening socket at state/workers.sock, 0600. Bound through the folder's descriptor: sun_path holds 107 bytes,
    state folders may lie deeper."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.chmod(0o700)
    _remove_stale(state / "workers.sock")
    folder = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(f"/proc/self/fd/{folder}/workers.sock")
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
        os.close(folder)
    return listener


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketPathError(f"{path} is not a socket; move it away")
    path.unlink()  # the engine's lock on the state folder is held, so nobody listens there


class Channel:
    """One connection. What is sent in one turn of the loop leaves as one line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._outgoing: list[Message] = []

    def send(self, message: Message) -> None:
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(message)

    def _flush(self) -> None:
        messages, self._outgoing = self._outgoing, []
        if not messages or self._writer.is_closing():
            return
        line = json.dumps(messages[0] if len(messages) == 1 else messages, separators=(",", ":"))
        self._writer.write(line.encode() + b"\n")

    async def messages(self) -> AsyncIterator[Message]:
        """Messages until the peer closes. What is not one is skipped; a half line at the end is dropped."""
        async for line in self._lines():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                LOG.warning("line skipped", text=repr(line[:200]))
                continue
            for message in value if isinstance(value, list) else [value]:
                if isinstance(message, dict):
                    yield message
                else:
                    LOG.warning("message skipped", text=repr(message)[:200])

    async def _lines(self) -> AsyncIterator[bytes]:
        rest: list[bytes] = []
        size = 0
        while data := await self._read():
            *whole, last = data.split(b"\n")
            for line in whole:
                yield b"".join(rest) + line
                rest, size = [], 0
            rest.append(last)
            size += len(last)
            if size > MAX_LINE_BYTES:
                LOG.error("connection dropped: line too long", bytes=size)
                return

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(256 * 1024)
        except OSError:
            return b""

    def close(self) -> None:
        """Flush and close; what was sent still reaches the worker, which reads to the end."""
        self._flush()
        with contextlib.suppress(RuntimeError):  # the loop is closing as well
            self._writer.close()
