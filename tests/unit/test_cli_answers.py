"""What the verbs tell a newcomer: what is broken, what a task waits for, what a log does not hold, who is still
starting."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fake_runtime import T0, FakeRuntime
from served import Served

from engine.cli.engine_ import announce
from engine.cli.main import VERBS, main
from engine.cli.progress import describe
from engine.cli.render import took, when
from engine.cli.starting import is_held
from engine.model.requests import KillTask, Reply

BROKEN = {"name": "jobs.d/bad.yaml", "path": "jobs.d/bad.yaml", "state": "broken", "changed_us": T0}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An engine with an open run r12 whose job `scan` needs `unpack`."""
    made = Served(tmp_path)
    made.runtime.add_run(12)
    made.runtime.add_task(5, 12, "unpack", "running", started_us=T0)
    made.runtime.add_task(6, 12, "scan", "waiting", reason="prerequisite", attempts=0)
    made.runtime.add_attempt(9, 5, ended=False).update(progress_done=3.0, progress_total=10.0)
    made.runtime.logs.write(9, b"first line\nsecond line\n")
    yield made
    made.close()


def broken(served: Served, *problems: str, **more: Any) -> None:
    row = {**BROKEN, "problems": list(problems), **more}
    served.runtime.read.workflows = lambda: [row]  # type: ignore[method-assign]


def queues(served: Served, **state: Any) -> None:
    found = {**FakeRuntime().status(), **state.pop("engine", {})}
    for queue in found["queues"].values():
        queue.update(state)
    served.runtime.status = lambda: found  # type: ignore[method-assign]


def test_status_names_broken_files_and_the_newest_runs(served: Served) -> None:
    """With the first problem of each file; all of it as JSON."""
    broken(served, "jobs.d/bad.yaml:1 comand: unknown key", "jobs.d/bad.yaml:2 x: unknown key")
    shown = served.call("status")
    assert "broken: jobs.d/bad.yaml:1 comand: unknown key (and 1 more)" in shown.stderr
    assert "r12  nightly   running" in shown.stdout and "1 worker\n" in shown.stdout
    assert json.loads(served.call("status", "--json").stdout)["broken"][0]["path"] == "jobs.d/bad.yaml"


def test_status_says_why_a_queue_is_paused(served: Served) -> None:
    """The reason of the last pause, not of an earlier one."""
    queues(served, paused=True)
    for why in ("night", "disk is full"):
        served.runtime.commit({"kind": "queue.paused", "why": why, "data": {"queue": "dependent"}})
    lines = served.call("status").stdout.splitlines()
    assert any(line.startswith("dependent") and line.endswith("paused: disk is full") for line in lines)
    assert any(line.startswith("independent") and line.endswith("paused") for line in lines)


def test_runs_are_listed_by_workflow_and_state(served: Served) -> None:
    """The newest first, as a table, as JSON, as ids."""
    served.runtime.add_run(13, "failed", "weekly")
    assert served.call("runs", "-q").stdout == "r13\nr12\n"
    assert served.call("runs", "-q", "--workflow", "weekly").stdout == "r13\n"
    assert json.loads(served.call("runs", "--json", "--state", "running").stdout)[0]["id"] == "r12"
    assert "weekly" in served.call("runs", "--limit", "1").stdout
    assert "r12" not in served.call("runs", "--limit", "1").stdout


def test_a_waiting_task_names_the_jobs_it_needs(served: Served) -> None:
    """And their state now."""
    assert "needs unpack (succeeded), now 1 running\n" in served.call("show", "t6").stdout


def test_a_task_that_waits_for_a_run_names_the_run(served: Served) -> None:
    """Also one that is no longer on record."""
    served.runtime.add_task(7, 12, "lone", "waiting", attempts=0)
    served.runtime.add_run(3, "running")
    after = [{"needed": 3, "condition": "succeeded"}, {"needed": 2, "condition": "done"}]
    served.runtime.read.run_rows[0]["after"] = after
    shown = served.call("show", "t7").stdout
    assert "waits for run r3 (succeeded), now running\n" in shown
    assert "waits for run r2 (done), now no longer on record\n" in shown


def test_a_task_that_will_be_retried_says_when(served: Served) -> None:
    """With the time zone."""
    due = datetime.now(UTC) + timedelta(hours=1)
    served.runtime.add_task(7, 12, "scan", "waiting", reason="retry", not_before_us=int(due.timestamp() * 1e6))
    shown = served.call("show", "t7").stdout
    assert f"waits until {when(due.isoformat())} for its next attempt\n" in shown and "needs" not in shown


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"paused": True}, "the independent queue is paused; to open it: interlock resume independent"),
        ({"draining": True}, "the independent queue is draining"),
        ({"running": 4}, "all 8 slots are taken"),
        ({"running": 2, "slots": 2}, "all 4 slots are taken"),
        ({"engine": {"state": "draining"}}, "the engine is draining"),
    ],
)
def test_a_ready_task_says_what_keeps_it_from_starting(served: Served, state: dict[str, Any], said: str) -> None:
    """Its queue's switch, the slots, or the engine."""
    served.runtime.add_task(7, 12, "lone", "ready", attempts=0)
    queues(served, **state)
    assert said in served.call("show", "t7").stdout


def test_a_running_task_shows_its_progress_and_time(served: Served) -> None:
    """In its run's table too; a second round gets a column."""
    assert "progress 3/10" in served.call("show", "t5").stdout
    shown = served.call("show", "r12").stdout
    assert "PROGRESS" in shown and "3/10" in shown and "ROUND" not in shown
    served.runtime.add_task(8, 12, "unpack", "ready", round=2)
    assert "ROUND" in served.call("show", "r12").stdout
    started = (datetime.now(UTC) - timedelta(seconds=61)).isoformat()
    assert took({"state": "running", "started": started}).startswith("1m0")
    assert took({"state": "waiting", "started": started}) == "-"


def test_a_broken_file_is_shown_by_its_path(served: Served) -> None:
    """Whether the path is its name, or it has a last good version under a name of its own."""
    broken(served, "line 1 is wrong")
    assert "problem: line 1 is wrong" in served.call("show", "jobs.d/bad.yaml").stdout
    broken(served, "line 1 is wrong", name="bad")
    assert "workflow bad: broken" in served.call("show", "jobs.d/bad.yaml").stdout
    assert "workflow bad: broken" in served.call("show", str(served.root / "jobs.d" / "bad.yaml")).stdout
    assert served.call("show", "jobs.d/none.yaml").exit_code == 4


def test_running_the_last_good_version_of_a_broken_file_warns(served: Served) -> None:
    """On stderr."""
    broken(served, "line 1 is wrong", name="bad")
    done = served.call("run", "bad", "--detach")
    assert done.exit_code == 0
    assert "jobs.d/bad.yaml is broken, its last good version runs: line 1 is wrong" in done.stderr


def test_a_state_is_not_said_twice_and_an_output_is_json(served: Served) -> None:
    """No dash stands for an absent reason."""
    served.runtime.add_task(7, 12, "lone", "succeeded", reason="succeeded", output={"ok": True})
    shown = served.call("show", "t7").stdout
    assert "of run r12: succeeded\n" in shown and 'output {"ok": true}\n' in shown
    assert describe({"kind": "task.succeeded", "data": {"reason": "succeeded"}}) == "task.succeeded"
    assert describe({"kind": "task.failed", "data": {"reason": "exit_code"}}) == "task.failed exit_code"


def test_a_missing_task_is_named_alike_everywhere(served: Served) -> None:
    """By questions and by requests."""
    served.runtime.reply = Reply("missing", "there is no t999")
    said = {served.call(verb, "t999").stderr for verb in ("show", "kill", "logs")}
    assert said == {"interlock: there is no task t999\n"}


def test_requests_answer_as_json_or_with_the_id_alone(served: Served) -> None:
    """kill, cancel, pause and resume alike."""
    asked = {("kill", "t5"): "t5", ("cancel", "12"): "r12", ("pause", "dependent"): "dependent"}
    for argv, id in {**asked, ("resume", "dependent"): "dependent"}.items():
        assert served.call(*argv, "-q").output == f"{id}\n"
        assert json.loads(served.call(*argv, "--json").output)["run"] == "r12"


def test_a_grace_is_a_duration(served: Served) -> None:
    """A bare number is seconds; nonsense is a wrong command line."""
    for text, seconds in (("1m30s", 90.0), ("2", 2.0), ("0", 0.0)):
        assert served.call("kill", "t5", "--grace", text).exit_code == 0
        asked = served.runtime.asked[-1][0]
        assert isinstance(asked, KillTask) and asked.grace_seconds == seconds
    assert served.call("kill", "t5", "--grace", "soon").exit_code == 2


def test_a_task_without_output_says_why_there_is_none(served: Served) -> None:
    """On stderr, with what is known; stdout stays empty."""
    served.runtime.add_task(7, 12, "lone", "failed", reason="exec", message="no such program")
    shown = served.call("logs", "t7")
    assert shown.stdout == ""
    assert "task t7 (lone) has written nothing; it is failed exec: no such program" in shown.stderr
    served.runtime.add_task(8, 12, "after", "skipped", reason="upstream_failed", attempts=0)
    assert "task t8 (after) has written nothing; it is skipped upstream_failed" in served.call("logs", "r12").stderr


def test_a_tail_starts_where_a_line_does(served: Served) -> None:
    """Also when the cut falls between two lines; a line longer than the tail is cut."""
    for size, expected in (
        (12, "second line\n"),
        (15, "second line\n"),
        (4, "ine\n"),
        (100, "first line\nsecond line\n"),
    ):
        assert served.call("logs", "t5", "--tail", str(size)).stdout == expected


def test_a_live_log_is_followed_to_its_end(served: Served) -> None:
    """What is written while it is followed comes too; a run with one task needs no names."""
    served.runtime.read.task_rows.pop()

    def later() -> None:
        time.sleep(0.6)
        served.runtime.logs.write(9, b"third line\n")
        served.runtime.read.attempt_rows[0].update(ended_us=T0, log={"segment": 0})
        served.soon(lambda: served.runtime.end_run(12, "succeeded"))

    threading.Thread(target=later).start()
    assert served.call("logs", "-f", "r12").stdout == "first line\nsecond line\nthird line\n"


def test_a_verb_waits_for_an_engine_that_is_starting(tmp_path: Path) -> None:
    """While the folder's lock is held; without a holder it says at once that nobody is there."""
    folder = tmp_path / ".interlock"
    folder.mkdir()
    lock = folder / "engine.lock"
    lock.write_text(f"{os.getpid()}\n")
    assert not is_held(folder)
    none = CliRunner().invoke(main, ["status", "--root", str(tmp_path)])
    assert none.exit_code == 69 and "Errno" not in none.stderr and "(" not in none.stderr
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert is_held(folder)
        started: list[Served] = []
        starter = threading.Timer(0.5, lambda: started.append(Served(tmp_path)))
        starter.start()
        done = CliRunner().invoke(main, ["status", "-q", "--root", str(tmp_path)])
        starter.join()
        started[0].close()
    assert (done.exit_code, done.output) == (0, "running\n")


def test_an_engine_announces_itself_before_it_takes_the_folder(tmp_path: Path) -> None:
    """To one process only; the announcement ends with that process."""
    folder = tmp_path / ".interlock"
    code = "import sys, pathlib; from engine.cli.engine_ import announce; announce(pathlib.Path(sys.argv[1])); input()"
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE) as engine:
        while not is_held(folder):
            assert engine.poll() is None
            time.sleep(0.02)
        with pytest.raises(BlockingIOError):
            announce(folder)
        engine.kill()
        engine.wait()
    assert not is_held(folder)


def test_no_line_of_the_help_is_cut() -> None:
    """Each verb has a short text of its own."""
    shown = CliRunner().invoke(main, ["--help"]).output
    assert "..." not in shown.partition("Commands:")[2] and all(f"  {verb}" in shown for verb in VERBS)
    assert "-- COMMAND..." in CliRunner().invoke(main, ["add", "--help"]).output
