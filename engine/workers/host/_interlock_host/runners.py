"""The runner children by environment: started when needed, used again while the source is the same, then closed."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from . import command, tree
from .attempt import Attempt, Result
from .worklog import WorkLog

SCRIPT = Path(__file__).with_name("runner.py")
MARK = "INTERLOCK_"
LEAVE = 2.0  # seconds a runner has to leave when its socket is closed


class RunnerGone(Exception):  # noqa: N818
    """The runner ended before it could be given the call."""


def base_env(env: dict[str, str]) -> dict[str, str]:
    """Without what differs from attempt to attempt: otherwise no runner could ever be used twice."""
    return {key: value for key, value in env.items() if not key.startswith(MARK)}


def key_of(spec: dict[str, Any]) -> str:
    call = spec["call"]
    parts = [spec["pool"], call["interpreter"], spec["cwd"], call.get("pythonpath") or [], base_env(spec["env"])]
    return json.dumps(parts, sort_keys=True)


class Runner:
    """The host's side of one runner process."""

    def __init__(self, spec: dict[str, Any], marks: dict[str, str], out: int, err: int) -> None:
        self.key, self.stamp = key_of(spec), spec["call"].get("stamp")
        self.shared = spec["pool"] != "process"
        self.attempts: dict[int, Attempt] = {}
        self.retired = False
        self.used = time.monotonic()
        self._lock = threading.Lock()
        self.gone = False
        self._socket, theirs = socket.socketpair()
        try:
            settings = {"pool": spec["pool"], "fd": theirs.fileno(), "module": spec["call"]["module"]}
            settings["pythonpath"] = spec["call"].get("pythonpath") or []
            argv = [spec["call"]["interpreter"], str(SCRIPT), json.dumps(settings)]
            env = {**base_env(spec["env"]), **marks}
            self.pid = command.spawn(argv, spec["cwd"], env, out, err, [theirs.fileno()]).pid
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._pidfd = os.pidfd_open(self.pid)
        threading.Thread(target=self._read, name=f"runner-{self.pid}", daemon=True).start()

    def call(self, attempt: Attempt, payload: dict[str, object], fds: list[int]) -> None:
        """The call itself travels as a memory file, so that a runner which does not read can never block us."""
        memory = os.memfd_create("interlock-call", os.MFD_CLOEXEC)
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(json.dumps(payload).encode())
            line = json.dumps({"op": "call", "a": attempt.number}).encode() + b"\n"
            with self._lock:
                if self.gone:
                    raise RunnerGone
                socket.send_fds(self._socket, [line], [*fds, memory], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                attempt.runner = self
        except OSError as error:
            raise RunnerGone from error
        finally:
            os.close(memory)

    def cancel(self, attempt: Attempt, force: bool) -> None:
        line = json.dumps({"op": "raise" if force else "cancel", "a": attempt.number}).encode() + b"\n"
        with self._lock, contextlib.suppress(OSError):  # a runner that does not read is killed by the ladder
            self._socket.send(line, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def close(self) -> None:
        """End of file is the runner's sign to leave; what does not leave is killed."""
        self.retired = True
        with self._lock, contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        self.retired = True
        tree.force(tree.Identity(self.pid, ()))

    def condemn(self, attempt: Attempt) -> None:
        """Its grace is over. No new call comes here; the process dies once only such calls are left in it."""
        self.retired = True
        attempt.stuck = True
        if all(other.stuck or other.result is not None for other in list(self.attempts.values())):
            self.kill()

    def _read(self) -> None:
        """Answers until the process ends. Its pidfd decides, because a forked child may hold the socket open."""
        buffer = b""
        selector = selectors.DefaultSelector()
        selector.register(self._socket, selectors.EVENT_READ)
        selector.register(self._pidfd, selectors.EVENT_READ)
        ended = False
        while not ended:
            ended = any(key.fd == self._pidfd for key, _ in selector.select())
            buffer, open_ = self._take(buffer)
            if not open_ and not ended:
                self._await_end(selector)
                ended = True
        selector.close()
        self._ended()

    def _await_end(self, selector: selectors.BaseSelector) -> None:
        """The socket is closed from either side: the process has a moment to leave by itself."""
        selector.unregister(self._socket)
        while not selector.select(LEAVE):
            self.kill()

    def _take(self, buffer: bytes) -> tuple[bytes, bool]:
        while True:
            try:
                data = self._socket.recv(1024 * 1024, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return buffer, True
            except OSError:
                return buffer, False
            if not data:
                return buffer, False
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                self._answer(line)

    def _answer(self, line: bytes) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            message = json.loads(line)
            attempt = self.attempts[message["a"]]
            if message["op"] == "progress":
                attempt.report(message["done"], message["total"])
                return
            fields = {k: v for k, v in message.items() if k in Result.__dataclass_fields__}
            attempt.finish(Result(**fields))

    def _ended(self) -> None:
        tree.sweep(tree.Identity(self.pid, (), spare_root=True), 0.5)  # before the number may be given away
        status, usage = tree.wait_for(self.pid)
        with self._lock:
            self.gone = self.retired = True
            self._socket.close()
            os.close(self._pidfd)
        for attempt in [a for a in list(self.attempts.values()) if a.runner is self]:
            attempt.finish(self._death(status, usage))

    def _death(self, status: int, usage: dict[str, float]) -> Result:
        result = command.ended(status, usage)
        result.outcome, result.dirty = "failed", True
        result.reason = "signal" if status < 0 else "exit_code"
        what = f"signal {-status}" if status < 0 else f"exit code {status}"
        others = len(self.attempts) - 1
        shared = f", and {others} other attempts with it" if self.shared and others else ""
        result.message = f"the process that ran the callable ended by {what} before the call was over{shared}"
        return result


class Runners:
    """All runners of this worker. A process runner has one call at a time, a shared one as many as the slots allow."""

    def __init__(self, marks: dict[str, str], limit: int, worklog: WorkLog) -> None:
        self._marks, self._limit, self._worklog = marks, limit, worklog
        self._lock = threading.Lock()
        self._starting: dict[str, threading.Lock] = {}
        self._all: list[Runner] = []

    def take(self, attempt: Attempt, out: int, err: int) -> Runner:
        spec = attempt.spec
        key, stamp = key_of(spec), spec["call"].get("stamp")
        with self._lock:
            runner = self._fitting(key, stamp)
            if runner is not None:
                runner.attempts[attempt.number] = attempt
                return runner
            gate = self._starting.setdefault(key, threading.Lock())
        if spec["pool"] == "process":
            return self._start(attempt, out, err)
        with gate:  # eight calls at once must not start eight shared runners
            with self._lock:
                runner = self._fitting(key, stamp)
                if runner is not None:
                    runner.attempts[attempt.number] = attempt
                    return runner
            return self._start(attempt, sys.stderr.fileno(), sys.stderr.fileno())

    def give_back(self, runner: Runner, attempt: Attempt) -> None:
        with self._lock:
            runner.attempts.pop(attempt.number, None)
            runner.used = time.monotonic()
            if attempt.result is None or attempt.result.dirty:
                runner.retired = True
            self._prune()

    def close(self) -> None:
        with self._lock:
            for runner in self._all:
                runner.close()

    def _start(self, attempt: Attempt, out: int, err: int) -> Runner:
        runner = Runner(attempt.spec, self._marks, out, err)
        runner.attempts[attempt.number] = attempt
        self._worklog("runner", pid=runner.pid, pool=attempt.spec["pool"], stamp=runner.stamp)
        with self._lock:
            self._all.append(runner)
            self._prune()
        return runner

    def _fitting(self, key: str, stamp: object) -> Runner | None:
        for runner in self._all:
            if runner.key == key and runner.stamp != stamp:
                runner.retired = True  # the source has changed: no new call may meet the old one
        self._prune()
        fits = [r for r in self._all if r.key == key and not r.retired and (r.shared or not r.attempts)]
        return max(fits, key=lambda r: r.used, default=None)

    def _prune(self) -> None:
        idle = sorted((r for r in self._all if not r.attempts and not r.retired), key=lambda r: r.used)
        for runner in idle[: max(0, len(idle) - self._limit)]:
            runner.retired = True
        for runner in [r for r in self._all if r.retired and not r.attempts]:
            runner.close()
            self._all.remove(runner)
