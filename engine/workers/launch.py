"""Owns how a worker host is started: its command, its environment, its own session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from engine.model.config import Config
from engine.workers.spec import base_environment

HOST = Path(__file__).parent / "host"


def command(host: Path, state: Path, worker: str, config: Config, instance: str) -> list[str]:
    settings = {
        "grace": config.grace.kill_seconds,
        "orphan": config.grace.orphan_seconds,
        "log_cap": config.logs.cap_bytes,
        "own_file": config.logs.own_file_bytes,
        "segment": config.logs.segment_bytes,
        "output_limit": config.output_limit_bytes,
        "instance": instance,
    }
    head = [sys.executable, "-I", str(host), "--state", str(state), "--worker", worker]
    return [*head, "--slots", str(config.worker_slots), "--config", json.dumps(settings)]


def environment() -> dict[str, str]:
    """A worker sees the stated base only; coverage's own variables pass, so that its lines are measured in tests."""
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS_")}
    return base_environment() | coverage


def spawn(argv: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a host. Blocks for the exec, so the pool calls it in a thread."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=handle,
            cwd="/",
            env=environment(),
            start_new_session=True,
        )
    finally:
        os.close(handle)
