"""What a worker is told at its start, and what it knows about itself."""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

Json = object


@dataclass(frozen=True)
class Config:
    state: Path
    worker: str
    slots: int
    instance: str
    grace: float = 10.0
    orphan: float = 60.0
    log_cap: int = 16 * 1024 * 1024
    own_file: int = 64 * 1024
    segment: int = 8 * 1024 * 1024
    output_limit: int = 1024 * 1024

    @property
    def folder(self) -> Path:
        return self.state / "workers" / self.worker


def parse(argv: list[str]) -> Config:
    parser = argparse.ArgumentParser(prog="interlock-worker")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--worker", required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--config", type=json.loads, required=True)
    given = parser.parse_args(argv)
    known = {key: value for key, value in given.config.items() if key in Config.__dataclass_fields__}
    return Config(state=given.state.absolute(), worker=given.worker, slots=given.slots, **known)


def now_us() -> int:
    return time.time_ns() // 1000


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int | None = None) -> int:
    """When the process began, in clock ticks since boot: with the pid and the boot id this names it for good."""
    text = Path(f"/proc/{pid or os.getpid()}/stat").read_text(errors="replace")
    return int(text.rpartition(")")[2].split()[19])
