"""The ways an engine ends: drained, at once, detached; and a second engine that must not begin."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.engine_process import EngineProcess, lines, wait_for

SLOW = """jobs:
  a:
    each: [{items}]
    env: {{I: '{{{{ item }}}}'}}
    shell: 'echo start $I >> {effects}; sleep {seconds}; echo end $I >> {effects}'
"""


def many(effects: Path, count: int, seconds: float) -> str:
    return SLOW.format(items=",".join(map(str, range(count))), effects=effects, seconds=seconds)


@pytest.mark.slow
def test_sigterm_under_load_finishes_what_runs_and_starts_nothing_more(root: Path) -> None:
    """After a drain nothing runs, every task is in a recorded state, and the next engine does the rest."""
    effects = root / "effects"
    (root / "jobs.d" / "load.yaml").write_text(many(effects, 40, 0.3))
    with EngineProcess(root) as engine:
        wait_for(lambda: len(lines(effects)) >= 4, "the load to run")
        assert engine.process is not None
        engine.process.send_signal(signal.SIGTERM)
        assert engine.wait_exit() == 0
        assert engine.survivors() == []
        done = lines(effects)
        assert sum(line.startswith("start") for line in done) == sum(line.startswith("end") for line in done) < 40
        engine.start()
        engine.wait_all(1)
        assert sorted(lines(effects)) == sorted(f"{word} {n}" for n in range(40) for word in ("start", "end"))


@pytest.mark.slow
def test_past_the_deadline_a_drain_kills_and_records_it(root: Path) -> None:
    """A job that outlives the drain's deadline is killed, its whole tree, and recorded as cancelled."""
    (root / "jobs.d" / "long.yaml").write_text("shell: 'trap \"\" TERM; sleep 600 & wait'\n")
    config = '[grace]\ndrain = "300ms"\nkill = "300ms"\n'
    with EngineProcess(root, config) as engine:
        wait_for(lambda: any(r["state"] == "running" for r in engine.runs()), "the job to run")
        engine.post("/v1/stop", {"mode": "drain"})
        assert engine.wait_exit() == 0
        assert engine.survivors() == []
        engine.start()
        assert engine.wait_all(1)[0]["state"] == "cancelled"


@pytest.mark.slow
def test_detach_leaves_the_jobs_to_the_next_engine_which_they_never_notice(root: Path) -> None:
    """For upgrades: attempts go on under the same worker, and their end is recorded by the new engine."""
    effects = root / "effects"
    (root / "jobs.d" / "load.yaml").write_text(many(effects, 4, 1.5))
    with EngineProcess(root) as engine:
        wait_for(lambda: len(lines(effects)) >= 4, "all four to run")
        engine.post("/v1/stop", {"mode": "detach"})
        assert engine.wait_exit() == 0
        assert engine.survivors() != []
        engine.start()
        run = engine.wait_all(1)[0]
        assert run["state"] == "succeeded"
        assert [task["attempts"] for task in engine.tasks(run["id"])] == [1] * 4
    assert sorted(lines(effects)) == sorted(f"{word} {n}" for n in range(4) for word in ("start", "end"))


def test_a_second_engine_leaves_at_once_and_names_the_holder(engine: EngineProcess) -> None:
    """One engine a folder: the second exits with 75 and touches nothing."""
    command = [sys.executable, "-m", "engine.cli.main", "engine", "--root", str(engine.root)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert engine.process is not None
    assert second.returncode == 75
    assert str(engine.process.pid) in second.stderr
    assert engine.get("/v1/status")["state"] == "running"
