"""Starts a command in its own session with nothing of ours, and says what is wrong when it cannot be started."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import tree
from .attempt import Result


@dataclass
class Pipes:
    """Read ends by name, and the write ends that the job gets. Every descriptor has one owner: this, or nobody."""

    reads: dict[str, int] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def open(cls, *names: str) -> Pipes:
        pipes = cls()
        try:
            for name in names:
                pipes.reads[name], pipes.writes[name] = os.pipe2(os.O_CLOEXEC)
        except OSError:
            pipes.close_writes()
            for fd in pipes.reads.values():
                os.close(fd)
            raise
        return pipes

    def close_writes(self) -> None:
        while self.writes:
            os.close(self.writes.popitem()[1])


def spawn(
    argv: list[str],
    cwd: str,
    env: dict[str, str],
    stdout: int,
    stderr: int,
    keep: list[int],
) -> subprocess.Popen[bytes]:
    """Registered as a child of our own before anybody may look for adopted ones."""
    with tree.spawning:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=keep,
            cwd=cwd,
            env=env,
            start_new_session=True,
            restore_signals=True,
        )
        tree.own.add(process.pid)
    # Statuses are collected by tree.wait_for; without this Popen's destructor would try for them as well.
    process.returncode = 0
    return process


class ProgressSeat:
    """One low descriptor number, taken at the worker's start, that each job's progress pipe sits on while it starts.

    Because dash, the usual /bin/sh, can write only to descriptors of one digit.
    """

    def __init__(self) -> None:
        self.number = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def holding(self, fd: int) -> Iterator[None]:
        """Under tree.spawning, so that no two jobs sit here at once."""
        os.dup2(fd, self.number, inheritable=False)
        try:
            yield
        finally:
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(null, self.number, inheritable=False)
            os.close(null)


def start(spec: dict[str, Any], env: dict[str, str], pipes: Pipes, seat: ProgressSeat) -> int:
    if not spec["argv"]:
        raise ValueError("the command is empty")
    env = {**env, "INTERLOCK_PROGRESS": str(seat.number)}
    with tree.spawning, seat.holding(pipes.writes["progress"]):
        return spawn(spec["argv"], spec["cwd"], env, pipes.writes["out"], pipes.writes["err"], [seat.number]).pid


def exec_failure(error: Exception, argv: list[str], cwd: str) -> Result:
    program = argv[0] if argv else ""
    if not isinstance(error, OSError) or error.errno is None:
        return Result("failed", "exec", message=f"cannot start {program!r}: {error}")
    name = errno.errorcode.get(error.errno, str(error.errno))
    what = f"the working directory {cwd!r}" if _is_cwd(error, cwd) else repr(program)
    advice = _advice(error.errno, program, cwd, _is_cwd(error, cwd))
    return Result("failed", "exec", message=f"cannot start {what}: {name} ({os.strerror(error.errno)}); {advice}")


def _is_cwd(error: OSError, cwd: str) -> bool:
    return (error.filename == cwd and not Path(cwd).is_dir()) or (error.filename == cwd and not os.access(cwd, os.X_OK))


def _advice(number: int, program: str, cwd: str, bad_cwd: bool) -> str:
    if bad_cwd:
        return "check that `cwd` names a directory that this user may enter"
    found = Path(cwd, program).exists() if "/" in program else False
    known = {
        errno.ENOENT: "check the interpreter named in its first line (#!)"
        if found
        else "check the spelling, `cwd` and PATH",
        errno.EACCES: "check that the file is executable (chmod +x) and its folders may be entered",
        errno.ENOEXEC: "check that it is a program for this machine, or begins with #! and an interpreter",
        errno.E2BIG: "arguments and environment are too large: pass data through a file",
        errno.EAGAIN: "this user's limit of processes is reached (ulimit -u)",
        errno.EMFILE: "the worker's limit of open files is reached (ulimit -n)",
        errno.ENOMEM: "the machine is out of memory",
    }
    return known.get(number, "check the program and its surroundings")


def ended(status: int, usage: dict[str, float]) -> Result:
    if status == 0:
        return Result("succeeded", "succeeded", code=0, usage=usage)
    if status > 0:
        return Result("failed", "exit_code", code=status, usage=usage, message=f"ended with exit code {status}")
    return Result("failed", "signal", signal=-status, usage=usage, message=f"ended by signal {-status}")


def close_all(fds: list[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
