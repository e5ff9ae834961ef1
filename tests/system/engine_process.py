"""A real engine process in a folder of its own, driven over its socket; every wait is for a fact, never for time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

FINAL = {"succeeded", "failed", "cancelled", "skipped"}
PATIENCE_SECONDS = 60.0


class EngineProcess:
    """`root` gets a jobs.d/ and a .interlock/. The engine's output goes to a file that workers do not inherit."""

    def __init__(self, root: Path, config: str = "") -> None:
        self.root = root
        self.jobs = root / "jobs.d"
        self.jobs.mkdir(parents=True, exist_ok=True)
        if config:
            (root / "interlock.toml").write_text(config)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> EngineProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.post("/v1/stop", {"mode": "now"})
            self.process.wait(PATIENCE_SECONDS)
        for stray in self.survivors():
            stray.kill()

    def start(self) -> None:
        out = (self.root / "engine.out").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "engine.cli.main", "engine", "--root", str(self.root)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        wait_for(self.is_ready, f"the engine to answer; it said: {(self.root / 'engine.out').read_text()}")

    def is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(
                f"the engine ended with {self.process.returncode}: {(self.root / 'engine.out').read_text()}"
            )
        try:
            return bool(self.get("/v1/status")["pid"] == self.process.pid)
        except httpx.TransportError:
            return False

    def kill_9(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wait_exit(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE_SECONDS)

    def _client(self) -> httpx.Client:
        socket = self.root / ".interlock" / "engine.sock"
        return httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://engine", timeout=30)

    def get(self, path: str, **params: Any) -> Any:
        with self._client() as client:
            answer = client.get(path, params=params)
        answer.raise_for_status()
        return answer.json()

    def text(self, path: str, **params: Any) -> bytes:
        with self._client() as client:
            return client.get(path, params=params).content

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        with self._client() as client:
            answer = client.post(path, json=body or {})
        assert answer.status_code < 300, answer.text
        return answer.json()

    def run(self, workflow: str, **parameters: Any) -> str:
        return str(self.post("/v1/runs", {"workflow": workflow, "parameters": parameters})["data"]["run"])

    def runs(self, **params: Any) -> list[dict[str, Any]]:
        return list(_items(self.get("/v1/runs", **params)))

    def tasks(self, run: str) -> list[dict[str, Any]]:
        return list(_items(self.get(f"/v1/runs/{run}/tasks", limit=1000)))

    def wait_run(self, run: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The run's row once it has ended."""
        wait_for(lambda: self.get(f"/v1/runs/{run}")["state"] in FINAL, f"run {run} to end", seconds)
        return dict(self.get(f"/v1/runs/{run}"))

    def wait_all(self, count: int, seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
        """All runs once there are `count` and each has ended."""

        def over() -> bool:
            runs = self.runs(limit=1000)
            return len(runs) >= count and all(run["state"] in FINAL for run in runs)

        wait_for(over, f"{count} runs to end; there are {len(self.runs(limit=1000))}", seconds)
        return self.runs(limit=1000)

    def survivors(self) -> list[psutil.Process]:
        """Living processes that belong to this folder's state: workers, runners and jobs."""
        mark = str(self.root / ".interlock")
        return [p for p in psutil.process_iter() if p.pid != os.getpid() and _belongs(p, mark)]


def _belongs(process: psutil.Process, mark: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return mark in " ".join(process.cmdline()) or mark in process.environ().get("INTERLOCK_OUTPUT", "")
    except psutil.Error:
        return False


def _items(answer: Any) -> list[Any]:
    return answer if isinstance(answer, list) else list(answer["items"])


def wait_for(fact: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Looks again and again until the fact holds; AssertionError naming it when patience ends."""
    end = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.02)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def as_json(text: str) -> Any:
    return json.loads(text)
