"""Who is on the other end of the socket: the kernel's word (SO_PEERCRED), never the client's."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import struct

from starlette.requests import Request
from uvicorn.protocols.http.h11_impl import H11Protocol

_UCRED = struct.Struct("3i")
_MARK = "uid="


def may_enter(uid: int) -> bool:
    """Root, or the user the engine runs as. The folder's 0700 says the same; this holds when the folder is opened."""
    return uid in (0, os.getuid())


class PeerProtocol(H11Protocol):
    """uvicorn's HTTP protocol with the peer's uid and pid in the place of an address."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        raw = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        pid, uid, _gid = _UCRED.unpack(raw)
        self.client = (f"{_MARK}{uid}", pid)
        if not may_enter(uid):
            transport.abort()


def actor_of(request: Request) -> str:
    """`uid:NAME` of the peer; the number where the user has no name."""
    uid = int(request.client.host.removeprefix(_MARK)) if request.client is not None else -1
    try:
        return f"uid:{pwd.getpwuid(uid).pw_name}"
    except (KeyError, OverflowError):
        return f"uid:{uid}"
