"""The command line's verbs against a real socket: what they ask, what they print, how they exit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_runtime import FakeRuntime
from served import Served

from engine.cli.main import VERBS, main
from engine.model.errors import EngineBusyError
from engine.model.requests import AddCommand, CancelRun, KillTask, Reply, RetryRun, SetQueue, StopEngine


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An engine with a run of two tasks."""
    made = Served(tmp_path)
    made.runtime.add_run(12, "failed")
    made.runtime.add_task(5, 12, "scan", "failed", item=0, reason="exit_code", message="exit \x1b[31m7")
    made.runtime.add_task(6, 12, "report", "succeeded", output={"n": 1})
    made.runtime.add_attempt(9, 5)
    made.runtime.add_attempt(10, 6)
    made.runtime.logs.write(9, b"bad \x1b[31mred\n")
    made.runtime.logs.write(10, b"good\n", 2)
    yield made
    made.close()


def test_help_shows_every_verb_and_the_exit_codes() -> None:
    """The list and the codes are one page."""
    shown = CliRunner().invoke(main, ["--help"]).output
    assert all(verb in shown for verb in VERBS) and "69" in shown and "130" in shown
    assert CliRunner().invoke(main, ["nothing"]).exit_code == 2
    assert "version" in CliRunner().invoke(main, ["--version"]).output


def test_status_as_table_json_and_word(served: Served) -> None:
    """Three ways to say the same."""
    served.runtime.status = lambda: {**FakeRuntime().status(), "problems": ["disk"]}  # type: ignore[method-assign]
    table = served.call("status")
    assert "independent" in table.stdout and "problem: disk" in table.stderr
    assert json.loads(served.call("status", "--json").stdout)["pid"] == 4242
    assert served.call("status", "-q").stdout == "running\n"


def test_show_tells_runs_tasks_and_workflows_apart(served: Served) -> None:
    """r12 or 12, t5, a name; job text is made harmless."""
    assert "scan[0]" in served.call("show", "r12").stdout
    assert "exit 7" in served.call("show", "12").stdout
    assert "run r12" in served.call("show", "t5").stdout
    assert "output" in served.call("show", "t6").stdout
    assert "r12" in served.call("show", "nightly").stdout
    assert len(json.loads(served.call("show", "r12", "--json").stdout)["tasks"]) == 2
    assert served.call("show", "r12", "-q").stdout == "failed\n"
    assert served.call("show", "t99").exit_code == 4


def test_logs_are_raw_when_not_for_a_terminal(served: Served) -> None:
    """By task, by stream, by run, and the tail."""
    assert served.call("logs", "t5").stdout_bytes == b"bad \x1b[31mred\n"
    assert served.call("logs", "t5", "--stderr-only").stdout == ""
    assert served.call("logs", "t6", "--stderr-only", "--attempt", "1").stdout == "good\n"
    assert served.call("logs", "t6", "--tail", "2").stdout == "d\n"
    whole = served.call("logs", "r12")
    assert whole.stdout_bytes == b"scan[0] | bad \x1b[31mred\nreport | good\n"
    assert served.call("logs", "what").exit_code == 2


def test_following_a_runs_logs_labels_each_line(served: Served) -> None:
    """Tasks write side by side; each line says whose it is."""
    served.runtime.logs.write(10, b"no newline", 1)
    lines = served.call("logs", "-f", "r12").stdout.splitlines()
    assert "report | good" in lines and "report | no newline" in lines


def test_verbs_that_change_something_ask_exactly_that(served: Served) -> None:
    """One request each, and a word about it on stderr."""
    wanted = {
        ("kill", "t5", "--grace", "2", "--why", "w"): KillTask("", 5, 2.0, "w"),
        ("cancel", "r12"): CancelRun("", 12),
        ("pause", "dependent"): SetQueue("", "dependent", True, None),
        ("resume", "dependent"): SetQueue("", "dependent", False, False),
        ("retry", "12", "--task", "t5"): RetryRun("", 12, (5,)),
        ("stop", "--now"): StopEngine("", "now"),
    }
    for argv, request in wanted.items():
        if argv[0] == "stop":
            served.runtime.on_request = lambda _: served.soon(served._end.set)
        assert served.call(*argv).exit_code == 0, argv
        asked = served.runtime.asked[-1][0]
        assert asked == type(request)(**{**request.__dict__, "request_id": asked.request_id})


def test_add_queues_a_command_with_its_place_and_what_it_waits_for(served: Served) -> None:
    """Everything after -- is the command's."""
    done = served.call("add", "-q", "--after", "r3", "--priority", "4", "--name", "n", "--", "ls", "-l")
    assert done.stdout == "r12\n"
    asked = served.runtime.asked[0][0]
    assert isinstance(asked, AddCommand)
    assert (asked.argv, asked.cwd, asked.priority) == (("ls", "-l"), str(Path.cwd()), 4)
    assert asked.after == ((3, "succeeded"),)


@pytest.mark.parametrize(
    ("reply", "code"),
    [(Reply("refused", "no"), 4), (Reply("missing", "none"), 4), (EngineBusyError("full"), 75)],
)
def test_each_refusal_has_its_exit_code(
    served: Served, reply: Reply | Exception, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its reason on stderr, nothing on stdout."""
    monkeypatch.setattr("engine.api.server.RETRY_AFTER_S", 0)
    served.runtime.reply = reply
    done = served.call("cancel", "12")
    assert (done.exit_code, done.stdout) == (code, "") and "interlock: " in done.stderr


def test_no_engine_and_a_bad_command_line_have_their_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """69 and 2; a folder that is none of ours is said so."""
    missing = CliRunner().invoke(main, ["status", "--root", str(tmp_path)])
    assert missing.exit_code == 69 and "interlock engine" in missing.stderr
    assert CliRunner().invoke(main, ["kill", "--root", str(tmp_path), "r5"]).exit_code == 2
    monkeypatch.setattr("engine.jobfiles.config.find_root", lambda start: None)
    assert CliRunner().invoke(main, ["status"]).exit_code == 2
    monkeypatch.setattr("engine.jobfiles.config.find_root", lambda start: tmp_path)
    assert CliRunner().invoke(main, ["status"]).exit_code == 69


def test_an_interrupt_exits_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in any verb."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.cli.status.ask", interrupted)
    assert CliRunner().invoke(main, ["status"]).exit_code == 130


def test_check_prints_every_problem_and_fails(tmp_path: Path) -> None:
    """The watched folders, or the files named."""
    jobs = tmp_path / "jobs.d"
    jobs.mkdir()
    (jobs / "good.yaml").write_text("command: [ls]\n")
    good = CliRunner().invoke(main, ["check", "--root", str(tmp_path)])
    assert good.exit_code == 0 and "1 checked, 0 problems" in good.stderr, good.output
    (jobs / "bad.yaml").write_text("comand: [ls]\n")
    bad = CliRunner().invoke(main, ["check", "--root", str(tmp_path), str(jobs)])
    assert bad.exit_code == 1 and "bad.yaml:1" in bad.stdout
    listed = CliRunner().invoke(main, ["check", "--json", str(jobs / "bad.yaml")])
    problem = json.loads(listed.stdout)[0]
    assert problem["path"].endswith("bad.yaml") and {"line", "column", "key", "message"} <= problem.keys()
    (jobs / "bad.yaml").write_text("comand: [ls]\ntimeout: x\n")
    assert CliRunner().invoke(main, ["check", "-q", str(jobs)]).output == f"{jobs / 'bad.yaml'}\n"
    (tmp_path / "interlock.toml").write_text("nonsense = 1\n")
    broken = CliRunner().invoke(main, ["check", "--root", str(tmp_path)])
    assert broken.exit_code == 1 and "interlock.toml:1" in broken.stdout


def test_schema_prints_a_json_schema() -> None:
    """For editors."""
    assert "properties" in json.loads(CliRunner().invoke(main, ["schema"]).stdout)
