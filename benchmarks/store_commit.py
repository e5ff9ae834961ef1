"""How many commits and task rows a second the store takes, by batch size: median of five rounds.

Run: .venv/bin/python benchmarks/store_commit.py [FOLDER]   (a folder on the disk to measure, not a tmpfs)"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from engine.model import changes as c
from engine.model.lifecycle import RunState, TaskState
from engine.model.workflow import Command, Job, Workflow
from engine.store import Store

ROWS = 10_000
ROUNDS = 5


def main() -> None:
    base = Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()
    print(f"{'batch':>6} {'commits/s':>10} {'rows/s':>10}")
    with tempfile.TemporaryDirectory(dir=base) as folder:
        store = Store.open(Path(folder) / "state" / "bench.db")
        prepare(store)
        for size in (1, 10, 100, 1000):
            rows = min(ROWS, size * 200)
            seconds = statistics.median(measure(store, rows, size) for _ in range(ROUNDS))
            print(f"{size:>6} {2 * rows / size / seconds:>10.0f} {2 * rows / seconds:>10.0f}")
        store.close()


def prepare(store: Store) -> None:
    workflow = Workflow("bench", (Job("j", Command(("true",))),))
    run = c.RunAdded(1, "bench", 1, "manual:1", RunState.RUNNING, {}, {}, 0, "bench", 1)
    tasks = [c.TaskAdded(n, 1, "j", n, 1, "independent", TaskState.READY, "released", 0, 1) for n in range(1, ROWS + 1)]
    store.commit([c.DefinitionAdded(1, workflow, 1, None, 1), run, *tasks])


def measure(store: Store, rows: int, size: int) -> float:
    """Moves each task to running and back, so that every round finds what the first one found."""
    began = time.perf_counter()
    for before, state in ((TaskState.READY, TaskState.RUNNING), (TaskState.RUNNING, TaskState.READY)):
        for first in range(1, rows + 1, size):
            store.commit([c.TaskChanged(n, before, state, "x", 2, 1) for n in range(first, first + size)])
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
