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
