"""Somebody removes what the engine keeps in its state folder while it runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import pytest

from tests.system.engine_process import EngineProcess, lines, wait_for


@pytest.mark.slow
def test_a_removed_workers_socket_comes_back_so_that_new_workers_can_report(engine: EngineProcess) -> None:
    """Without it the next worker would never connect, and its tasks would stay `running` for ever."""
    socket = engine.root / ".interlock" / "workers.sock"
    (engine.jobs / "job.yaml").write_text("on: manual\ncommand: [echo, a]\n")
    wait_for(lambda: bool(engine.get("/v1/workflows")["items"]), "the workflow to be known")
    socket.unlink()
    run = engine.run("job")
    assert engine.wait_run(run)["state"] == "succeeded"
    assert socket.is_socket()


@pytest.mark.slow
def test_an_engine_whose_state_folder_was_removed_ends_with_its_jobs(tmp_path: Path) -> None:
    """Its lock is gone with the folder: going on, it would run the same files beside the next engine."""
    effects = tmp_path / "effects"
    with EngineProcess(tmp_path) as engine:
        (engine.jobs / "long.yaml").write_text(f"shell: 'echo $$ >> {effects}; exec sleep 600'\n")
        wait_for(lambda: lines(effects) != [], "the job to run")
        shutil.rmtree(tmp_path / ".interlock")
        assert engine.wait_exit() == 1
        job = int(lines(effects)[0])
        wait_for(lambda: not psutil.pid_exists(job), "the job to be gone")
        (engine.jobs / "long.yaml").write_text("command: [echo, a]\n")
        engine.start()
        assert engine.wait_all(1)[0]["state"] == "succeeded"


def test_a_removed_api_socket_comes_back(engine: EngineProcess) -> None:
    """An engine nobody can reach would hold the folder for ever."""
    socket = engine.root / ".interlock" / "engine.sock"
    socket.unlink()
    wait_for(socket.exists, "the socket to be there again")
    wait_for(engine.is_ready, "the engine to answer on it")


@pytest.mark.slow
def test_a_hanging_worker_cannot_keep_an_engine_that_was_told_to_go(root: Path) -> None:
    """The engine leaves; the next one adopts the attempt, whose kill is on record, and ends it."""
    (root / "jobs.d" / "long.yaml").write_text("command: [sleep, '600']\n")
    with EngineProcess(root, '[grace]\nkill = "200ms"\n') as engine:
        wait_for(lambda: any(r["state"] == "running" for r in engine.runs()), "the job to run")
        wait_for(lambda: any(w.get("pid") for w in engine.get("/v1/status")["workers"]), "its worker to be known")
        worker = psutil.Process(next(w["pid"] for w in engine.get("/v1/status")["workers"] if w.get("pid")))
        worker.suspend()
        engine.post("/v1/stop", {"mode": "now"})
        assert engine.wait_exit() == 0
        worker.resume()
        engine.start()
        assert engine.wait_all(1)[0]["state"] == "cancelled"
