"""The engine's socket file: bound here and nowhere else, for its owner only, removed only while it is ours."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

NAME = "engine.sock"


class SocketInUseError(RuntimeError):
    """Another process answers on this folder's socket."""


class Listener:
    """A bound, listening Unix socket and the inode it made."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / NAME
        # A socket address holds 107 bytes; through the folder's descriptor a path of any length fits.
        folder_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            self.socket, self._inode = _bind(folder_fd, self.path)
        finally:
            os.close(folder_fd)

    def close(self) -> None:
        self.socket.close()
        with contextlib.suppress(FileNotFoundError):
            if _identity(self.path) == self._inode:
                self.path.unlink()


def _bind(folder_fd: int, path: Path) -> tuple[socket.socket, tuple[int, int]]:
    short = f"/proc/self/fd/{folder_fd}/{NAME}"
    _remove_stale(short, path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # so that there is no instant at which another user could connect
    try:
        made.bind(short)
        made.listen(256)
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    made.setblocking(False)
    return made, _identity(path)


def _remove_stale(short: str, path: Path) -> None:
    if not os.path.lexists(path):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(short)
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise SocketInUseError(f"another engine answers on {path}")


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
