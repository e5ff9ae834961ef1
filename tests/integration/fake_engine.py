"""A small engine for tests of the worker host: a real socket that speaks the protocol, and waiting for messages."""

from __future__ import annotations

import json
import os
import queue
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOST = Path(__file__).parents[2] / "engine" / "workers" / "host"
PATIENCE = 15.0
RECORD = struct.Struct("<QBxxxIQQ")
Message = dict[str, Any]
DEFAULTS = {
    "grace": 0.5,
    "orphan": 30.0,
    "log_cap": 1024 * 1024,
    "own_file": 64 * 1024,
    "segment": 1024 * 1024,
    "output_limit": 64 * 1024,
    "instance": "cafe",
}


class FakeEngine:
    """Listens in a state folder. A worker is started with `start_worker`; close() is an engine's death."""

    def __init__(self, state: Path, epoch: int = 1) -> None:
        self.state, self.epoch = state, epoch
        self.inbox: queue.Queue[Message] = queue.Queue()
        self.seen: list[Message] = []
        self._listener = socket.socket(socket.AF_UNIX)
        path = state / "workers.sock"
        path.unlink(missing_ok=True)
        folder = os.open(state, os.O_PATH)
        self._listener.bind(f"/proc/self/fd/{folder}/workers.sock")
        os.close(folder)
        self._listener.listen()
        self.connection: socket.socket | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            self.connection, _ = self._listener.accept()
            for line in self.connection.makefile("rb"):
                self.inbox.put(json.loads(line))
        except OSError:
            pass
        self.inbox.put({"t": "closed"})

    def send(self, *messages: Message) -> None:
        assert self.connection is not None
        self.connection.sendall(json.dumps(list(messages)).encode() + b"\n")

    def wait(self, kind: str, attempt: int | None = None, patience: float = PATIENCE) -> Message:
        """The next message of that kind (for that attempt), also among those already seen."""

        def fits(message: Message) -> bool:
            return message["t"] == kind and attempt in (None, message.get("a"))

        for message in self.seen:
            if fits(message):
                self.seen.remove(message)
                return message
        until = time.monotonic() + patience
        while True:
            try:
                message = self.inbox.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {kind} for {attempt}; seen {self.seen}") from None
            if fits(message):
                return message
            self.seen.append(message)

    def welcome(self) -> Message:
        hello = self.wait("hello")
        self.send({"t": "welcome", "epoch": self.epoch})
        return hello

    def start(self, attempt: int, **spec: Any) -> None:
        self.send({"t": "start", "a": attempt, "e": self.epoch, "spec": make_spec(self.state, attempt, **spec)})

    def run(self, attempt: int, **spec: Any) -> Message:
        self.start(attempt, **spec)
        return self.wait("exit", attempt)

    def close(self) -> None:
        self._listener.close()
        if self.connection is not None:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()


def make_spec(state: Path, attempt: int, **changes: Any) -> Message:
    spec: Message = {
        "attempt": attempt,
        "name": f"t{attempt}.1",
        "pool": "command",
        "argv": None,
        "call": None,
        "cwd": str(state.parent),
        "env": {"PATH": os.environ["PATH"], "HOME": "/tmp", "LANG": "C.UTF-8"},
        "context": {"item": None, "params": {}, "needs": {}, "run": "r1", "task": "t", "attempt": 1, "scheduled": None},
        "timeout": None,
        "stall": None,
        "grace": 0.5,
        "output_path": str(state / f"out-{attempt}"),
    }
    if "shell" in changes:
        changes["argv"] = ["/bin/sh", "-c", changes.pop("shell")]
    return {**spec, **changes}


def call(function: str, module: str = "jobs", stamp: str = "1", **changes: Any) -> Message:
    base = {"module": module, "function": function, "arguments": {}, "interpreter": sys.executable}
    return {**base, "pythonpath": [], "stamp": stamp, **changes}


class Worker:
    """A real host process."""

    def __init__(self, state: Path, slots: int = 4, worker: str = "w-1-1", **config: Any) -> None:
        self.folder = state / "workers" / worker
        argv = [sys.executable, "-I", str(HOST), "--state", str(state), "--worker", worker, "--slots", str(slots)]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (open for the worker's life)
        environ = {k: v for k, v in os.environ.items() if k.startswith("COVERAGE_") or k in ("PATH", "HOME")}
        self.process = subprocess.Popen(
            [*argv, "--config", json.dumps({**DEFAULTS, **config})],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
            env=environ,
        )

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode()

    def spool(self) -> list[Message]:
        return [json.loads(line) for line in (self.folder / "spool").read_text().splitlines()]

    def events(self) -> list[Message]:
        return [json.loads(line) for line in (self.folder / "worker.log").read_text().splitlines()]

    def log(self, attempt: int, stream: int | None = None) -> bytes:
        """What the files hold of an attempt's output, in order."""
        own = sorted(self.folder.glob(f"a-{attempt}-*.idx"), key=lambda path: int(path.stem.split("-")[2]))
        parts = []
        for index in [*sorted(self.folder.glob("seg-*.idx")), *own]:
            data = index.with_suffix(".log").read_bytes()
            for number, which, length, offset, _ in RECORD.iter_unpack(index.read_bytes()):
                if number == attempt and stream in (None, which):
                    parts.append(data[offset : offset + length])
        return b"".join(parts)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def until(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Wait for a fact in the outside world that no message announces."""
    end = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return value


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
