"""What an operator asks of a real engine, by the command line as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.system.engine_process import EngineProcess, lines, wait_for


def interlock(root: Path, *words: str, expect: int = 0) -> str:
    """The command's standard output; its exit code must be the expected one."""
    command = [sys.executable, "-m", "engine.cli.main", *words]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
    return done.stdout


def states(engine: EngineProcess, run: str) -> dict[str, str]:
    return {task["job"]: task["state"] for task in engine.tasks(run)}


def drop_manual(engine: EngineProcess, name: str, text: str) -> None:
    (engine.jobs / f"{name}.yaml").write_text("on: manual\n" + text)
    wait_for(lambda: name in {row["name"] for row in engine.get("/v1/workflows")["items"]}, f"{name} to be known")


def is_running(engine: EngineProcess, run: str, job: str) -> bool:
    return states(engine, run).get(job) == "running"


def test_an_added_command_waits_for_the_run_it_is_to_follow(engine: EngineProcess) -> None:
    """Word for word, braces and all; it belongs to the dependent queue until the other has succeeded."""
    gate, effects = engine.root / "gate", engine.root / "effects"
    os.mkfifo(gate)
    first = interlock(engine.root, "add", "--quiet", "--", "cat", str(gate)).split()[0]
    second = interlock(
        engine.root, "add", "--quiet", "--after", first, "--", "sh", "-c", f"echo '{{{{ x }}}}' >> {effects}"
    ).split()[0]
    assert [task["queue"] for task in engine.tasks(second)] == ["dependent"]
    assert engine.get(f"/v1/runs/{second}")["state"] == "queued"
    gate.write_text("go")
    assert engine.wait_run(second)["state"] == "succeeded"
    assert lines(effects) == ["{{ x }}"]


def test_what_follows_a_run_that_failed_is_skipped(engine: EngineProcess) -> None:
    """And says why."""
    first = interlock(engine.root, "add", "--quiet", "--", "false").split()[0]
    engine.wait_run(first)
    second = interlock(engine.root, "add", "--quiet", "--after", first, "--", "true").split()[0]
    assert engine.wait_run(second)["state"] == "skipped"
    interlock(engine.root, "add", "--after", "r999", "--", "true", expect=4)
    interlock(engine.root, "add", "--", os.fsdecode(b"caf\xe9"), expect=2)


def test_a_paused_queue_starts_nothing_until_it_is_resumed_also_after_a_crash(engine: EngineProcess) -> None:
    """The switch is on record."""
    interlock(engine.root, "pause", "independent")
    run = interlock(engine.root, "add", "--quiet", "--", "true").split()[0]
    engine.kill_9()
    engine.start()
    assert states(engine, run) == {"ad-hoc": "ready"}
    assert engine.get("/v1/status")["queues"]["independent"]["paused"]
    interlock(engine.root, "resume", "independent")
    assert engine.wait_run(run)["state"] == "succeeded"


PAIR = "jobs:\n  long: {{command: [sleep, '600']}}\n  after: {{command: [touch, {mark}], needs: {{long: {when}}}}}\n"


def test_a_killed_task_is_cancelled_and_what_needs_its_success_is_skipped(engine: EngineProcess) -> None:
    """A kill is final: never retried, whatever `retry` says."""
    drop_manual(engine, "w", PAIR.format(mark=engine.root / "mark", when="succeeded"))
    run = engine.run("w")
    wait_for(lambda: is_running(engine, run, "long"), "the long task to run")
    task = next(t["id"] for t in engine.tasks(run) if t["job"] == "long")
    interlock(engine.root, "kill", str(task))
    assert engine.wait_run(run)["state"] == "cancelled"
    assert states(engine, run) == {"long": "cancelled", "after": "skipped"}
    interlock(engine.root, "kill", str(task), expect=4)
    interlock(engine.root, "kill", "t999", expect=4)


def test_a_cancelled_run_leaves_nothing_running_and_nothing_to_come(engine: EngineProcess) -> None:
    """Not even what would run when the long one is over in any way."""
    drop_manual(engine, "w", PAIR.format(mark=engine.root / "mark", when="done"))
    run = engine.run("w")
    wait_for(lambda: is_running(engine, run, "long"), "the long task to run")
    interlock(engine.root, "cancel", run)
    assert engine.wait_run(run)["state"] == "cancelled"
    assert set(states(engine, run).values()) == {"cancelled"}
    assert not (engine.root / "mark").exists()
    interlock(engine.root, "cancel", run, expect=4)


def test_a_retry_by_hand_runs_the_failed_and_what_was_skipped_behind_it_in_a_new_round(engine: EngineProcess) -> None:
    """What had succeeded is not run again."""
    mark, effects = engine.root / "mark", engine.root / "effects"
    drop_manual(
        engine,
        "w",
        f"jobs:\n  good: {{shell: 'echo good >> {effects}'}}\n"
        f"  bad: {{command: [test, -e, {mark}], needs: [good]}}\n"
        f"  last: {{shell: 'echo last >> {effects}', needs: [bad]}}\n",
    )
    run = engine.run("w")
    assert engine.wait_run(run)["state"] == "failed"
    mark.touch()
    interlock(engine.root, "retry", run)
    wait_for(lambda: engine.get(f"/v1/runs/{run}")["state"] == "succeeded", "the second round to succeed")
    assert lines(effects) == ["good", "last"]
    assert [row["state"] for row in engine.get(f"/v1/runs/{run}")["rounds"]] == ["failed", "succeeded"]
    interlock(engine.root, "retry", run, expect=4)


def test_run_ends_with_the_runs_exit_code_and_the_same_request_twice_is_one_run(engine: EngineProcess) -> None:
    """0 succeeded, 1 failed, 4 unknown; a file beside the folder runs too; a repeated request id is harmless."""
    aside = engine.root / "aside.yaml"
    aside.write_text("on: manual\nparameters: {code: 0}\ncommand: [sh, -c, exit $INTERLOCK_PARAM_CODE]\n")
    interlock(engine.root, "run", str(aside))
    interlock(engine.root, "run", str(aside), "--param", "code=3", expect=1)
    interlock(engine.root, "run", str(aside), "--param", "colour=3", expect=4)
    interlock(engine.root, "run", "nothing-of-that-name", expect=4)
    body: dict[str, Any] = {"file": str(aside), "request_id": "the-same"}
    first, second = engine.post("/v1/runs", body)["data"], engine.post("/v1/runs", body)["data"]
    assert first["run"] == second["run"]


def test_interrupting_run_without_a_terminal_cancels_cleanly(engine: EngineProcess) -> None:
    """SIGINT: the run is on record as cancelled before the command leaves with 130."""
    drop_manual(engine, "w", "command: [sleep, '600']\n")
    command = [sys.executable, "-m", "engine.cli.main", "run", "w"]
    child = subprocess.Popen(command, cwd=engine.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(lambda: any(row["state"] == "running" for row in engine.runs()), "the run to start")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 130
    assert engine.runs()[0]["state"] == "cancelled"


def test_run_without_an_engine_starts_one_that_leaves_again(root: Path) -> None:
    """Only what was asked runs: a file dropped beside it waits for a real engine."""
    effects = root / "effects"
    (root / "jobs.d" / "asked.yaml").write_text(f"on: manual\nshell: 'echo asked >> {effects}'\n")
    (root / "jobs.d" / "other.yaml").write_text(f"shell: 'echo other >> {effects}'\n")
    interlock(root, "run", "asked")
    wait_for(lambda: not (root / ".interlock" / "engine.sock").exists(), "the engine to leave")
    assert lines(effects) == ["asked"]
    interlock(root, "status", expect=69)


def test_logs_follow_a_running_task_to_its_end(engine: EngineProcess) -> None:
    """Lines come while it runs; the command ends when the task does."""
    gate = engine.root / "gate"
    os.mkfifo(gate)
    drop_manual(engine, "w", f"shell: 'echo first; cat {gate}; echo last'\n")
    run = engine.run("w")
    command = [sys.executable, "-m", "engine.cli.main", "logs", "-f", run]
    child = subprocess.Popen(command, cwd=engine.root, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert "first" in child.stdout.readline()
    gate.write_text("middle\n")
    assert child.communicate(timeout=60)[0].split() == ["middle", "last"]


def test_old_runs_go_with_their_logs_and_a_dropped_file_still_runs_once(root: Path) -> None:
    """Retention at the next start; the occurrence is remembered for ever."""
    effects = root / "effects"
    (root / "jobs.d" / "w.yaml").write_text(f"shell: 'echo once | tee -a {effects}'\n")
    with EngineProcess(root, "[retention]\nmax_runs = 1\n") as engine:
        engine.wait_all(1)
        for _ in range(2):
            engine.wait_run(interlock(root, "add", "--quiet", "--", "echo", "hi").split()[0])
        engine.kill_9()
        engine.start()
        wait_for(lambda: len(engine.runs()) == 1, "the old runs to go")
        (root / "jobs.d" / "x.yaml").write_text(f"shell: 'echo new >> {effects}'\n")
        wait_for(lambda: "new" in lines(effects), "the new file to run")
        assert lines(effects) == ["once", "new"]


def test_status_and_show_answer_as_json(engine: EngineProcess) -> None:
    """Scripts read the same as people."""
    run = interlock(engine.root, "add", "--quiet", "--", "echo", "hi").split()[0]
    engine.wait_run(run)
    assert json.loads(interlock(engine.root, "status", "--json"))["state"] == "running"
    assert json.loads(interlock(engine.root, "show", run, "--json"))["state"] == "succeeded"
    assert interlock(engine.root, "logs", run).strip().endswith("hi")
