"""interlock run: follows its round to the end, says what failed, and what Ctrl-C does."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from served import Served

from engine.cli import sanitise
from engine.cli.main import main
from engine.cli.progress import Bar, describe
from engine.model.requests import CancelRun, Request, RunWorkflow


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An engine with an open run r12 of one task."""
    made = Served(tmp_path)
    made.runtime.add_run(12)
    made.runtime.add_task(5, 12, "scan", "failed", reason="exit_code", message="exit code 7")
    made.runtime.add_attempt(9, 5)
    made.runtime.logs.write(9, b"".join(b"line %d\n" % n for n in range(30)))
    yield made
    made.close()


def ends(served: Served, state: str) -> None:
    """The run ends as soon as it is asked for."""

    def act(_request: Request) -> None:
        served.soon(lambda: served.runtime.end_run(12, state))

    served.runtime.on_request = act


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 3), ("skipped", 1)])
def test_the_exit_code_says_how_the_round_ended(served: Served, state: str, code: int) -> None:
    """And a failed task shows its reason and the last lines of its log."""
    ends(served, state)
    done = served.call("run", "nightly", "--param", "a=1.10", "--param", "n:=2")
    assert done.exit_code == code, done.output
    assert f"run r12 {state}: 1 failed" in done.stdout
    assert "exit code 7" in done.stderr and "line 29" in done.stderr and "line 9\n" not in done.stderr
    asked = served.runtime.asked[0][0]
    assert isinstance(asked, RunWorkflow) and asked.parameters == {"a": "1.10", "n": 2}


def test_reports_and_summaries_of_the_tasks_are_the_result(served: Served) -> None:
    """On stdout, for people; with --json all of it, with --quiet the run's id."""
    served.runtime.read.task_rows[0].update(state="succeeded", output={"report": "out/r.html", "summary": "3 licences"})
    ends(served, "succeeded")
    shown = served.call("run", "nightly").stdout
    assert "3 licences\n" in shown and "report: out/r.html\n" in shown
    assert json.loads(served.call("run", "nightly", "--json").stdout)["state"] == "succeeded"
    assert served.call("run", "nightly", "-q").stdout == "r12\n"


def test_a_file_goes_by_its_absolute_path_and_detach_returns_at_once(served: Served, tmp_path: Path) -> None:
    """A name without slash or suffix is a workflow."""
    file = tmp_path / "a.yaml"
    file.write_text("command: [ls]\n")
    assert served.call("run", "--detach", str(file)).stdout == "run r12 is queued\n"
    asked = served.runtime.asked[0][0]
    assert isinstance(asked, RunWorkflow) and asked.file == str(file)
    for bad in (["./none.yaml"], ["n", "--param", "x"], ["n", "--param", "x:={"]):
        assert served.call("run", *bad).exit_code == 2


def spawned(served: Served, stdin: int) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "engine.cli.main", "run", "nightly", "--root", str(served.root)]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdin=stdin, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def cancellable(served: Served) -> None:
    def act(request: Request) -> None:
        if isinstance(request, CancelRun):
            served.soon(lambda: served.runtime.end_run(12, "cancelled"))
        else:
            served.runtime.commit({"kind": "task.running", "run": 12, "task": 5})

    served.runtime.on_request = act


def read_until(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"never said {word}")


def test_without_a_terminal_an_interrupt_cancels_and_exits_130(served: Served) -> None:
    """Only after the run is recorded cancelled."""
    cancellable(served)
    process = spawned(served, subprocess.DEVNULL)
    read_until(process, "task.running")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0].endswith("run r12 cancelled: 1 failed\n")
    assert process.returncode == 130
    assert isinstance(served.runtime.asked[-1][0], CancelRun)


@pytest.mark.parametrize(("typed", "code"), [(b"d\n", 0), (b"y\n", 130), (b"n\n", 130), (b"", 130)])
def test_on_a_terminal_an_interrupt_asks_first(served: Served, typed: bytes, code: int) -> None:
    """Detach leaves the run; no goes on; yes and a second Ctrl-C cancel."""
    cancellable(served)
    keyboard, terminal = pty.openpty()
    process = spawned(served, terminal)
    os.close(terminal)
    read_until(process, "task.running")
    process.send_signal(signal.SIGINT)
    read_until(process, "[d]etach")
    os.write(keyboard, typed)
    if typed == b"n\n":
        served.soon(lambda: served.runtime.end_run(12, "failed"))
        code = 1
    elif not typed:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    os.close(keyboard)
    assert process.returncode == code
    assert isinstance(served.runtime.asked[-1][0], CancelRun) == (code == 130)


def test_an_engine_that_cannot_start_is_said_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child's own output is shown."""

    def dead(root: Path) -> subprocess.Popen[bytes]:
        (root / ".interlock").mkdir(exist_ok=True)
        (root / ".interlock" / "engine.out").write_text("boom\n")
        process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(9)"])
        process.wait()
        return process

    monkeypatch.setattr("engine.cli.spawn.launch", dead)
    done = CliRunner().invoke(main, ["run", "nightly", "--root", str(tmp_path)])
    assert done.exit_code == 4 and "boom" in done.stderr


def test_with_no_engine_one_is_started_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is asked of the engine that came."""
    started: list[Served] = []

    def launch(root: Path) -> subprocess.Popen[bytes]:
        started.append(Served(root))
        started[0].runtime.add_run(12, "succeeded")
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit(75)"])

    monkeypatch.setattr("engine.cli.spawn.launch", launch)
    done = CliRunner().invoke(main, ["run", "nightly", "--root", str(tmp_path)])
    started[0].close()
    assert done.exit_code == 0, done.output


def test_job_text_cannot_steer_the_terminal() -> None:
    """Escape sequences, controls and direction marks go; letters, newlines and tabs stay."""
    assert sanitise.text("a\x1b[31mb\x1b]0;title\x07c\x9b1md\u202ee\tf\r\ng\rh\x08") == "abcde\tf\ng\nh"
    assert sanitise.line("a\n b\t\x1b(Bc") == "a b c"
    log = sanitise.LogText()
    assert log.feed("é".encode()[:1]) + log.feed("é".encode()[1:], last=True) == "é"


def test_an_event_is_described_on_one_line() -> None:
    """What, of which job and item, and why."""
    event = {"kind": "task.failed", "task": "t5", "why": "exit\n7", "data": {"job": "scan", "item": 2}}
    assert describe(event) == "task.failed t5 scan[2] exit 7"
    assert describe({"kind": "queue.paused"}) == "queue.paused"


def test_the_bar_shows_counts_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal it draws nothing, and does not fail."""

    async def main_() -> None:
        bar = Bar()
        bar.counts({"succeeded": 1, "running": 1})
        bar.event({"kind": "task.failed", "task": "t5", "data": {"job": "[red]"}})
        bar.pause()
        bar.resume()
        bar.pause()

    asyncio.run(main_())
