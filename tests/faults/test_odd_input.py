"""Input that no one part refuses: it must end as a recorded fact and harm nothing but itself."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.system.engine_process import EngineProcess

CHAIN = """jobs:
  a: {command: [echo, a], cwd: loop}
  b: {command: [echo, b]}
"""


def drop(engine: EngineProcess, name: str, text: str) -> None:
    (engine.jobs / name).write_text(text)


@pytest.mark.slow
def test_a_working_folder_that_leads_to_itself_fails_its_own_task_and_no_other(engine: EngineProcess) -> None:
    """Both tasks start in one turn: the one that cannot be started must not leave the other `running` for ever."""
    (engine.root / "loop").symlink_to("loop")
    drop(engine, "chain.yaml", CHAIN)
    engine.wait_all(1)
    states = {task["job"]: (task["state"], task["reason"]) for task in engine.tasks("r1")}
    assert states == {"a": ("failed", "exec"), "b": ("succeeded", "succeeded")}


@pytest.mark.slow
def test_a_source_file_that_is_a_link_to_itself_does_not_keep_a_callable_from_running(engine: EngineProcess) -> None:
    """The stamp of the sources looks at every *.py beside the job."""
    (engine.root / "odd.py").symlink_to("odd.py")
    (engine.root / "work.py").write_text("def go():\n    return 7\n")
    drop(engine, "call.yaml", "python: work:go\n")
    assert engine.wait_all(1)[0]["state"] == "succeeded"


@pytest.mark.slow
def test_an_argument_that_is_not_utf_8_is_refused_and_the_engine_goes_on(engine: EngineProcess) -> None:
    """A lone surrogate is legal in JSON; one in an added command once ended the engine in the middle of a decision."""
    body = {"argv": ["echo", "caf\udce9"], "request_id": "x" * 32}
    transport = httpx.HTTPTransport(uds=str(engine.root / ".interlock" / "engine.sock"))
    with httpx.Client(transport=transport, base_url="http://engine") as client:
        answer = client.post(
            "/v1/commands", content=json.dumps(body), headers={"Content-Type": "application/json"}, timeout=30
        )
    assert (answer.status_code, answer.json()["status"]) == (409, "refused")
    drop(engine, "next.yaml", "command: [echo, a]\n")
    assert engine.wait_all(1)[0]["state"] == "succeeded"


@pytest.mark.slow
def test_output_with_half_a_character_is_bad_output_and_can_be_shown(engine: EngineProcess) -> None:
    """JSON may escape a lone surrogate; stored as output it made every answer that shows the task a 500."""
    (engine.root / "work.py").write_text("def go():\n    return chr(0xD800)\n")
    drop(engine, "call.yaml", "python: work:go\n")
    drop(engine, "shell.yaml", "shell: |\n  printf '%s' '[\"\\ud800\"]' > $INTERLOCK_OUTPUT\n")
    drop(engine, "whole.yaml", "shell: |\n  printf '%s' '[\"\\ud83d\\ude00\"]' > $INTERLOCK_OUTPUT\n")
    runs = {run["workflow"]: run["id"] for run in engine.wait_all(3)}
    reasons = {name: engine.tasks(run)[0]["reason"] for name, run in runs.items()}
    assert reasons == {"call": "bad_output", "shell": "bad_output", "whole": "succeeded"}
    assert engine.get(f"/v1/tasks/{engine.tasks(runs['whole'])[0]['id']}")["output"] == ["\N{GRINNING FACE}"]


@pytest.mark.slow
def test_a_folder_where_output_belongs_is_bad_output(engine: EngineProcess) -> None:
    """The job ran, so this is no failure to execute."""
    drop(engine, "folder.yaml", "shell: 'mkdir $INTERLOCK_OUTPUT'\n")
    engine.wait_all(1)
    assert engine.tasks("r1")[0]["reason"] == "bad_output"
