"""The worker host ends what is to end, all of it and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from fake_engine import alive, until

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()) + "\\n")
        {extra}
        time.sleep(100)
    os._exit(0)
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read().endswith("\\n"):
    time.sleep(0.01)
"""


def written(path: Path) -> int:
    return int(until(lambda: path.exists() and path.read_text().endswith("\n") and path.read_text()))


def test_a_kill_ends_the_whole_tree_and_says_killed(room: Any) -> None:
    """Children of the shell go as well, and the exit comes after they are gone."""
    engine, _ = room.pair()
    engine.start(1, shell="sleep 100 & echo $! > child; wait")
    child = written(room.folder / "child")
    engine.send({"t": "kill", "a": 1, "grace": 5, "why": "killed"})
    ended = engine.wait("exit", 1)
    assert (ended["outcome"], ended["reason"], ended["signal"]) == ("killed", "killed", signal.SIGTERM)
    assert not alive(child)


def test_a_job_that_ignores_term_is_killed_after_the_grace(room: Any) -> None:
    """The ladder's last step."""
    engine, _ = room.pair()
    engine.start(1, shell="trap '' TERM; echo x > ready; while :; do sleep 0.01; done")
    until((room.folder / "ready").exists)
    began = time.monotonic()
    engine.send({"t": "kill", "a": 1, "grace": 0.3, "why": "killed"})
    assert engine.wait("exit", 1)["signal"] == signal.SIGKILL
    assert 0.3 <= time.monotonic() - began < 5


def test_a_stopped_job_is_continued_so_that_it_can_end(room: Any) -> None:
    """TERM alone would wait in a stopped process until the grace is over."""
    engine, _ = room.pair()
    engine.start(1, shell="trap 'exit 9' TERM; echo x > ready; kill -STOP $$; sleep 100")
    pid = engine.wait("started", 1)["pid"]
    until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")
    engine.send({"t": "kill", "a": 1, "grace": 10, "why": "killed"})
    assert engine.wait("exit", 1)["code"] == 9


@pytest.mark.parametrize("extra", ["pass", "os.execve('/bin/sleep', ['sleep', '100'], {})"])
def test_a_daemon_that_left_its_session_is_found_and_ended(room: Any, extra: str) -> None:
    """Double fork and setsid, with and without our mark in its environment; it also holds stdout open."""
    engine, _ = room.pair()
    (room.folder / "daemon.py").write_text(DAEMON.format(extra=extra))
    ended = engine.run(1, argv=["python3", "daemon.py", "pid"])
    assert ended["outcome"] == "succeeded"
    assert not alive(written(room.folder / "pid"))


def test_a_grandchild_that_holds_stdout_delays_the_end_by_two_seconds_at_most(room: Any) -> None:
    """The attempt ends with its main process, not with the last holder of the pipe."""
    engine, worker = room.pair()
    began = time.monotonic()
    ended = engine.run(1, shell="(trap '' TERM; sleep 100) & echo done", grace=0.1)
    assert ended["outcome"] == "succeeded" and worker.log(1) == b"done\n"
    assert time.monotonic() - began < 5


def test_a_daemon_of_one_attempt_is_not_taken_for_anothers(room: Any) -> None:
    """While attempt 1 runs, the end of attempt 2 leaves its processes alone."""
    engine, _ = room.pair()
    engine.start(
        1, shell="(setsid sleep 50 & echo $! > other); cat fifo" if os.mkfifo(room.folder / "fifo") is None else ""
    )
    other = written(room.folder / "other")
    assert engine.run(2, argv=["true"])["outcome"] == "succeeded"
    assert alive(other)
    (room.folder / "fifo").write_text("go")
    engine.wait("exit", 1)
    assert not alive(other)


def test_a_timeout_ends_the_attempt_as_timed_out(room: Any) -> None:
    """Outcome and reason name it."""
    engine, _ = room.pair()
    ended = engine.run(1, argv=["sleep", "100"], timeout=0.3)
    assert (ended["outcome"], ended["reason"]) == ("timed_out", "timed_out")
    assert "0.3 s" in ended["message"]


def test_a_job_without_progress_is_warned_about_and_ended_as_stalled(room: Any) -> None:
    """Reports hold the stall off; when they stop, log and worker.log say so before the kill."""
    engine, worker = room.pair()
    script = 'for i in 1 2 3 4; do echo "{\\"done\\": $i}" >&$INTERLOCK_PROGRESS; sleep 0.2; done; echo over; sleep 100'
    ended = engine.run(1, shell=script, stall=0.5)
    assert ended["outcome"] == "stalled"
    assert b"over" in worker.log(1, 1) and b"no progress for 0.5 s" in worker.log(1, 2)
    assert any(event["event"] == "stalled" for event in worker.events())


def test_sigterm_to_the_worker_kills_what_runs_and_leaves(room: Any) -> None:
    """Interrupt and hang-up are ignored."""
    engine, worker = room.pair()
    engine.start(1, argv=["sleep", "100"])
    pid = engine.wait("started", 1)["pid"]
    worker.process.send_signal(signal.SIGINT)
    worker.process.send_signal(signal.SIGHUP)
    assert engine.run(2, argv=["true"])["outcome"] == "succeeded"
    worker.process.terminate()
    assert engine.wait("exit", 1)["outcome"] == "killed"
    engine.send({"t": "ack", "a": [1, 2]})
    assert worker.process.wait(10) == 0
    assert not alive(pid) and worker.errors() == ""


def test_a_worker_whose_state_folder_is_gone_kills_its_jobs_and_leaves(room: Any) -> None:
    """Nobody could ever learn how they end."""
    engine, worker = room.pair()
    engine.start(1, argv=["sleep", "100"])
    pid = engine.wait("started", 1)["pid"]
    shutil.rmtree(room.state)
    room.state.mkdir()
    assert worker.process.wait(10) == 0
    assert not alive(pid)


def test_adopted_zombies_are_buried_and_no_status_is_stolen(room: Any) -> None:
    """Fifty attempts that leave orphans behind still have each its own exit code."""
    engine, worker = room.pair(slots=8)
    for batch in range(6):
        numbers = range(batch * 8 + 1, batch * 8 + 9)
        for number in numbers:
            engine.start(number, shell=f"(sleep 0 & sleep 0 &) ; exit {number}")
        assert [engine.wait("exit", number)["code"] for number in numbers] == list(numbers)

    def zombies() -> list[str]:
        stats = [p.read_text().rpartition(")")[2].split() for p in Path("/proc").glob("[0-9]*/stat") if p.exists()]
        return [fields[0] for fields in stats if fields[1] == str(worker.process.pid)]

    until(lambda: zombies() == [])
