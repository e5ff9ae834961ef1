"""Owns one question: does anybody have this open file open for writing? Linux answers by refusing a read lease."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from functools import lru_cache
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_REMOTE = ("nfs", "cifs", "smb", "9p", "ceph", "fuse", "afs", "lustre", "glusterfs")  # a refusal there proves nothing


def has_writer(descriptor: int) -> bool | None:
    """True while the file is open for writing somewhere, False if it is not, None where the system cannot tell.

    The lease is given back at once; should a writer come in that instant, it waits for microseconds only.
    """
    if _is_remote(os.fstat(descriptor).st_dev):
        return None
    try:
        # A broken lease signals its holder, and the default, SIGIO, would end the process. SIGURG is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    except AttributeError:  # not Linux
        return None
    return False


@lru_cache(maxsize=256)
def _is_remote(device: int) -> bool:
    """Whether the device is a file system whose refusal of a lease says nothing about writers."""
    return _file_system(f"{os.major(device)}:{os.minor(device)}").startswith(_REMOTE)


def _file_system(number: str) -> str:
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        before, _, after = line.partition(" - ")
        if before.split()[2:3] == [number] and after:
            return after.split()[0]
    return ""
