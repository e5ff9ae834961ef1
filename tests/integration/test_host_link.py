"""The worker host and engines that come and go: nothing is lost, nothing starts twice."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import Room
from fake_engine import make_spec, until


def test_the_spool_records_start_before_exec_and_exit_after(room: Any) -> None:
    """The first record says who the worker is."""
    engine, worker = room.pair()
    engine.run(1, argv=["true"])
    boot, start, end = worker.spool()
    assert (boot["t"], boot["pid"], boot["protocol"], boot["slots"]) == ("boot", worker.process.pid, 1, 4)
    assert (start["t"], start["a"], start["e"]) == ("start", 1, 1)
    assert (end["t"], end["a"], end["outcome"]) == ("exit", 1, "succeeded")


def test_a_killed_worker_leaves_its_spool_unlocked_and_the_start_on_record(room: Any) -> None:
    """What the engine needs to call the attempt lost."""
    engine, worker = room.pair()
    engine.start(1, argv=["sleep", "2"])
    engine.wait("started", 1)
    with (worker.folder / "spool").open() as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        worker.process.kill()
        worker.process.wait()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert [record["t"] for record in worker.spool()] == ["boot", "start"]


def test_a_second_engine_is_told_what_runs_and_what_has_finished(room: Any) -> None:
    """Attempts go on without an engine; acknowledged ones are forgotten."""
    os.mkfifo(room.folder / "fifo")
    first, _ = room.pair()
    first.start(1, shell="cat fifo; exit 5")
    first.start(2, argv=["true"])
    first.start(3, argv=["sleep", "100"])
    first.wait("exit", 2)
    first.wait("started", 3)
    first.close()
    (room.folder / "fifo").write_text("go")  # attempt 1 ends while nobody listens
    second = room.engine(epoch=2)
    hello = second.welcome()
    assert hello["epoch"] == 1
    states = {a["a"] for a in hello["running"]} | {a["a"] for a in hello["finished"]}
    assert states == {1, 2, 3} and 3 in {a["a"] for a in hello["running"]}
    if 1 in {a["a"] for a in hello["running"]}:
        assert second.wait("exit", 1)["code"] == 5
    second.send({"t": "ack", "a": [1, 2]})
    second.run(4, argv=["true"])
    second.close()
    third = room.engine(epoch=3)
    assert [a["a"] for a in third.welcome()["finished"]] == [4]


def test_a_start_of_an_older_epoch_is_refused(room: Any) -> None:
    """Nothing ran, and nothing is on record."""
    first, worker = room.pair()
    first.close()
    second = room.engine(epoch=2)
    second.welcome()
    second.send({"t": "start", "a": 1, "e": 1, "spec": make_spec(room.state, 1, argv=["true"])})
    assert "epoch" in second.wait("refused", 1)["why"]
    assert [record["t"] for record in worker.spool()] == ["boot"]


def test_an_engine_older_than_the_last_one_is_not_served(room: Any) -> None:
    """The worker hangs up on it."""
    first, _ = room.pair()
    first.close()
    second = room.engine(epoch=5)
    second.welcome()
    second.close()
    stale = room.engine(epoch=4)
    stale.welcome()
    stale.wait("closed")


def test_what_an_engine_sent_before_it_died_is_read_before_the_next_is_greeted(room: Any) -> None:
    """The start is in the next hello, so the next engine does not give it away again."""
    first, _ = room.pair()
    first.start(1, argv=["sleep", "100"])
    first.close()
    second = room.engine(epoch=2)
    assert [a["a"] for a in second.welcome()["running"]] == [1]


def test_a_known_attempt_and_one_beyond_the_slots_are_refused(room: Any) -> None:
    """At most once, and never more than the slots."""
    engine, _ = room.pair(slots=1)
    engine.start(1, argv=["sleep", "100"])
    engine.start(1, argv=["true"])
    assert "known" in engine.wait("refused", 1)["why"]
    engine.start(2, argv=["true"])
    assert "slots" in engine.wait("refused", 2)["why"]


def test_acknowledged_work_is_cut_from_the_spool_when_nothing_runs(room: Any) -> None:
    """The file does not grow for ever."""
    engine, worker = room.pair()
    engine.run(1, shell="(printf '\"'; head -c 60000 /dev/zero | tr '\\0' 1; printf '\"') > $INTERLOCK_OUTPUT")
    engine.run(2, shell="(printf '\"'; head -c 60000 /dev/zero | tr '\\0' 1; printf '\"') > $INTERLOCK_OUTPUT")
    engine.send({"t": "ack", "a": [1, 2]})
    until(lambda: [record["t"] for record in worker.spool()] == ["boot"])
    engine.run(3, argv=["true"])
    assert [record["t"] for record in worker.spool()] == ["boot", "start", "exit"]


def test_a_retiring_worker_finishes_and_leaves_when_all_is_acknowledged(room: Any) -> None:
    """It takes nothing new."""
    os.mkfifo(room.folder / "fifo")
    engine, worker = room.pair()
    engine.start(1, argv=["cat", "fifo"])
    engine.send({"t": "retire"})
    engine.start(2, argv=["true"])
    assert "retiring" in engine.wait("refused", 2)["why"]
    (room.folder / "fifo").write_text("go")
    assert engine.wait("exit", 1)["outcome"] == "succeeded"
    assert worker.process.poll() is None
    engine.send({"t": "ack", "a": [1]})
    assert worker.process.wait(10) == 0


def test_a_worker_without_engine_and_without_work_leaves_after_a_while(room: Any) -> None:
    """Work keeps it: only when that is over does the time begin."""
    engine, worker = room.pair(orphan=0.3)
    engine.start(1, argv=["sleep", "1"])
    engine.wait("started", 1)
    engine.close()
    assert worker.process.wait(10) == 0
    assert worker.spool()[-1]["outcome"] == "succeeded"


def test_bad_messages_harm_only_themselves(room: Any) -> None:
    """Nonsense on the socket is logged and passed over."""
    engine, worker = room.pair()
    engine.connection.sendall(b'nonsense\n[1, 2]\n{"t": "start"}\n{"t": "kill", "a": 99}\n{"t": "new"}\n')
    assert engine.run(1, argv=["true"])["outcome"] == "succeeded"
    assert any(event["event"] == "bad message" for event in worker.events())


def test_a_state_folder_with_a_long_path_works(tmp_path: Path) -> None:
    """A Unix socket's own path may have 107 bytes; the folder's descriptor stands in for the rest."""
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    room = Room(deep)
    engine, _ = room.pair()
    assert engine.run(1, argv=["true"])["outcome"] == "succeeded"
    room.close()
