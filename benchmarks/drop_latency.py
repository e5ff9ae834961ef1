"""How long from the writer's last write to the task's own first act: N files dropped one by one beside a real engine.

Run: .venv/bin/python benchmarks/drop_latency.py [N]. Prints milliseconds (median, p99, worst) and the commit.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.system.engine_process import EngineProcess, wait_for


def measure(count: int) -> list[float]:
    """Milliseconds from the end of each write until the job has written its own time."""
    found = []
    with tempfile.TemporaryDirectory() as folder, EngineProcess(Path(folder)) as engine:
        for number in range(count + 1):
            stamp = engine.root / f"stamp-{number}"
            (engine.jobs / f"job-{number}.yaml").write_text(
                f"shell: 'date +%s%N > {stamp}.part; mv {stamp}.part {stamp}'\n"
            )
            written = time.time_ns()
            wait_for(stamp.exists, f"job {number} to run")
            found.append((int(stamp.read_text()) - written) / 1e6)
    return found[1:]  # the first one also starts a worker


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    found = sorted(measure(count))
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True).strip()
    median, p99 = statistics.median(found), found[int(len(found) * 0.99)]
    print(f"drop to first act, {count} files, commit {commit}")
    print(f"median {median:.0f} ms, p99 {p99:.0f} ms, worst {found[-1]:.0f} ms")


if __name__ == "__main__":
    main()
