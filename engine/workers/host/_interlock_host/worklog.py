"""The worker's own log: structured JSON lines, for operators and for tests; never a job's output."""

from __future__ import annotations

import json
import os
from pathlib import Path

from .config import now_us


class WorkLog:
    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def __call__(self, event: str, **fields: object) -> None:
        line = json.dumps({"at": now_us(), "event": event, **fields}, default=str) + "\n"
        try:
            os.write(self._fd, line.encode())
        except OSError:
            return  # a full disk must not stop the work that this log only describes
