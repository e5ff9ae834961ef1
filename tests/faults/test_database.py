"""A disk or a database that takes nothing for a while: the engine says so and goes on when it can."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.system.engine_process import EngineProcess, wait_for


@pytest.mark.slow
def test_an_engine_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """On a full disk, saying that the database is full once ended the recorder, and nothing ever resumed."""
    (tmp_path / ".interlock").mkdir(mode=0o700)
    (tmp_path / ".interlock" / "engine.log").symlink_to("/dev/full")
    with EngineProcess(tmp_path) as engine:
        (engine.jobs / "job.yaml").write_text("each: [1, 2, 3]\nshell: 'sleep 0.2'\n")
        wait_for(lambda: engine.runs() != [], "the run")
        other = sqlite3.connect(tmp_path / ".interlock" / "interlock.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        wait_for(lambda: engine.get("/v1/status")["problems"] != [], "the engine to say that it cannot write")
        other.execute("ROLLBACK")
        other.close()
        assert engine.wait_all(1)[0]["state"] == "succeeded"


@pytest.mark.slow
def test_a_database_that_is_locked_at_the_start_is_said_in_one_line(tmp_path: Path) -> None:
    """Exit code 75: the same start may succeed later."""
    engine = EngineProcess(tmp_path)
    engine.start()
    engine.kill_9()
    other = sqlite3.connect(tmp_path / ".interlock" / "interlock.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(AssertionError, match=r"(?s)ended with 75: .*\ninterlock engine: opening .*database is locked"):
        engine.start()
    other.close()
    with engine:
        assert engine.get("/v1/status")["state"] == "running"
