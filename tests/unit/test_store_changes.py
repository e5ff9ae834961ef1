"""Every kind of change comes back as it was written, and a batch means what its changes mean one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_world import OK, R, W, X, at, attempt, change, definition, end, run, run_ended, started, task, whole

from engine.model import changes as c
from engine.model.lifecycle import RunState, TaskState
from engine.model.workflow import Condition, Workflow
from engine.store import Store, StoreBrokenError
from engine.store.batches import group
from engine.store.codec import from_text, storable, to_text


def test_definitions_and_workflows_come_back(tmp_path: Path) -> None:
    """A workflow's row names the definition in force, and a definition yields the same workflow again."""
    store = Store.open(at(tmp_path))
    broken = c.WorkflowChanged("odd", "odd.yaml", "broken", None, ("odd.yaml:1: no jobs",), 7)
    store.commit([definition(), c.WorkflowChanged("nightly", "n.yaml", "active", 1, (), 6), broken])
    store.commit([definition(2, 2), c.WorkflowChanged("nightly", "n.yaml", "active", 2, (), 8)])
    nightly, odd = store.read.workflows()
    assert (nightly["definition"], nightly["revision"], nightly["problems"], nightly["changed_us"]) == (2, 2, [], 8)
    assert odd["problems"] == ["odd.yaml:1: no jobs"] and odd["revision"] is None
    assert store.read.workflow("odd") == odd and store.read.workflow("none") is None
    assert [row["definition"] for row in store.read.definitions("nightly")] == [2, 1]
    found = store.read.definition(1)
    assert found is not None and found["path"] == "jobs.d/nightly.yaml"
    assert Workflow.from_json(to_text(found["body"]) or "") == definition().workflow
    recovered = store.recover(9).workflows
    assert [(w.name, w.revision, w.workflow is None) for w in recovered] == [("nightly", 2, False), ("odd", 0, True)]
    store.close()


def test_a_run_comes_back_with_its_edges_rounds_and_awaited_runs(tmp_path: Path) -> None:
    """All that was said about a run can be read, and leaving started or ended out leaves them as they are."""
    store = Store.open(at(tmp_path))
    store.commit([definition(), run(1), run(2, state=RunState.QUEUED, after=((1, Condition.DONE),))])
    store.commit([c.EdgesAdded(1, (("b", "a", Condition.FAILED),)), c.EdgesAdded(2, ())])
    store.commit([c.RunChanged(2, RunState.QUEUED, RunState.RUNNING, "", 12, 1, started_us=12)])
    store.commit([c.RoundEnded(1, 1, RunState.FAILED, 50), run_ended(1, 50, RunState.FAILED)])
    store.commit([c.RoundAdded(1, 2, "uid:me", "again", 60)])
    store.commit([c.RunChanged(1, RunState.FAILED, RunState.RUNNING, "retry", 60, 2)])
    first = store.read.run(1)
    second = store.read.run(2)
    assert first is not None and second is not None and store.read.run(3) is None
    assert (first["state"], first["round"], first["ended_us"], first["reason"]) == ("running", 2, 50, "retry")
    assert (first["parameters"], first["trigger"]) == ({"p": 1}, {"kind": "manual"})
    assert second["after"] == [{"needed": 1, "condition": "done"}] and second["started_us"] == 12
    assert store.read.edges(1) == [{"job": "b", "needed": "a", "condition": "failed"}]
    assert [(r["round"], r["state"], r["why"]) for r in store.read.rounds(1)] == [(1, "failed", ""), (2, None, "again")]
    assert [r["run"] for r in store.read.runs()] == [2, 1] and [r["run"] for r in store.read.runs(before=2)] == [1]
    assert store.read.runs(workflow="other") == [] and len(store.read.runs(state="running", limit=1)) == 1
    store.close()


def test_a_task_and_its_attempts_come_back(tmp_path: Path) -> None:
    """A task keeps its times, message and output; an attempt its process, progress, log and usage."""
    store = started(tmp_path)
    store.commit([c.AttemptStarted(1, 21, 77), c.AttemptProgress(1, 3, 10, 25)])
    store.commit([end(exit_code=0, message="m", log={"at": [1, 2]}, lost_bytes=4, usage={"cpu_seconds": 0.5})])
    store.commit([change(1, X, OK, 40, message="fine", output={"parts": [1, None]})])
    found = store.read.task(1)
    assert found is not None
    assert (found["state"], found["message"], found["output"]) == ("succeeded", "fine", {"parts": [1, None]})
    assert [found[f"{name}_us"] for name in ("created", "ready", "started", "ended")] == [11, 11, 20, 40]
    only = store.read.attempt(1)
    assert only is not None and only == store.read.latest_attempt(1) and [only] == store.read.attempts(1)
    assert (only["pid"], only["started_us"], only["ended_us"], only["outcome"]) == (77, 21, 40, "succeeded")
    assert (only["progress_done"], only["progress_total"], only["lost_bytes"]) == (3, 10, 4)
    assert (only["log"], only["usage"], only["exit_code"], only["signal"]) == (
        {"at": [1, 2]},
        {"cpu_seconds": 0.5},
        0,
        None,
    )
    store.close()


def test_tasks_are_listed_by_run_state_queue_and_job(tmp_path: Path) -> None:
    """Each filter narrows, and `after` goes on from an id."""
    store = started(tmp_path)
    store.commit([task(2, job="b", queue="dependent", state=W), task(3, item=0), task(4, item=1, item_value="x")])
    listed = store.read.tasks
    assert [t["task"] for t in listed(run=1, after=2)] == [3, 4]
    assert [t["task"] for t in listed(state="waiting")] == [t["task"] for t in listed(job="b")] == [2]
    assert [t["task"] for t in listed(queue="independent", limit=2)] == [1, 3]
    assert listed(run=1)[3]["item_value"] == "x" and listed(run=9) == []
    store.close()


def test_workers_switches_and_events_come_back(tmp_path: Path) -> None:
    """The last word on a worker or a queue stands; events are numbered in the order they were committed."""
    store = Store.open(at(tmp_path))
    states = ("starting", "connected")
    store.commit([c.WorkerChanged("w1", state, 7, 8, 1, "hello") for state in states])
    store.commit([c.SwitchChanged("dependent", flag, not flag, "uid:me", "night", 5) for flag in (False, True)])
    revision, events = store.commit([c.EventAdded("queue.paused", 5, "uid:me", why="x", data={"a": [1]})])
    assert revision == 1 and events[0]["rev"] == 1
    revision, more = store.commit([c.EventAdded("run.ended", 6, run=4), c.EventAdded("run.ended", 7, run=5)])
    assert revision == 3 == store.read.revision()
    assert store.read.events() == events + more == store.read.newest_events(9)
    assert store.read.events(since=1, run=5) == more[1:] == store.read.newest_events(1)
    assert store.read.events(kind="queue.paused") == events
    assert [(w["state"], w["pid"], w["slots"], w["message"]) for w in store.read.workers()] == [
        ("connected", 7, 8, "hello")
    ]
    assert [(q["queue"], q["paused"], q["draining"]) for q in store.read.queue_switches()] == [
        ("dependent", True, False)
    ]
    assert store.commit([]) == (3, [])
    store.close()


def test_revisions_go_on_after_a_restart(tmp_path: Path) -> None:
    """The next engine's first event follows the last one's."""
    store = Store.open(at(tmp_path))
    store.commit([c.EventAdded("a.b", 1)])
    store.close()
    again = Store.open(at(tmp_path))
    assert again.read.revision() == 1 and again.commit([c.EventAdded("a.b", 2)])[0] == 2
    again.close()


DISAGREEMENTS: dict[str, c.Change] = {
    "a task in another state": change(1, W, R),
    "an unknown task": change(9),
    "a run in another state": c.RunChanged(1, RunState.QUEUED, RunState.RUNNING, "", 30, 1),
    "an unknown attempt": c.AttemptStarted(9, 30, None),
    "an attempt that has ended": end(2),
    "a task that is no stand-in": c.TaskExpanded(1, 0, "x"),
    "a round that has ended": c.RoundEnded(1, 1, RunState.FAILED, 31),
    "a key that has occurred": run(7, "manual:1"),
    "a definition's revision given twice": definition(7, 1),
    "a job without items added twice": task(7),
    "an attempt's number given twice": attempt(7),
    "a task of an unknown run": task(7, of=99),
}


@pytest.mark.parametrize("wrong", DISAGREEMENTS.values(), ids=DISAGREEMENTS.keys())
def test_a_change_that_does_not_fit_keeps_nothing_of_its_batch(tmp_path: Path, wrong: c.Change) -> None:
    """The guard or the constraint stops the engine, and the batch's other changes are gone with it."""
    store = started(tmp_path)
    store.commit([task(2, item=5), attempt(2, 2), end(2), c.RoundEnded(1, 1, RunState.FAILED, 30)])
    before = (store.read.tasks(), store.read.runs(), store.read.counters(), store.read.events())
    with pytest.raises(StoreBrokenError):
        store.commit([task(3, item=6), c.EventAdded("a.b", 1), wrong])
    assert (store.read.tasks(), store.read.runs(), store.read.counters(), store.read.events()) == before
    assert store.commit([c.EventAdded("a.b", 1)])[0] == 1
    store.close()


def test_a_disagreement_names_the_writes(tmp_path: Path) -> None:
    """The text shows the first few of the writes that did not apply."""
    store = started(tmp_path)
    with pytest.raises(StoreBrokenError, match=r"0 of 4 guarded writes.*TaskChanged\(task=11.*and 1 more"):
        store.commit([change(n) for n in range(11, 15)])
    store.close()


def test_one_batch_leaves_what_single_commits_leave(tmp_path: Path) -> None:
    """Grouping changes the number of statements, never the result."""
    story = [definition(), *(x for number in (1, 2, 3) for x in whole(number, 50)), run(4), task(4, 4)]
    for name, batches in (("one", [story]), ("many", [[x] for x in story])):
        with_batches = Store.open(at(tmp_path / name))
        for batch in batches:
            with_batches.commit(batch)
        with_batches.close()
    one, many = Store.open(at(tmp_path / "one")), Store.open(at(tmp_path / "many"))
    for ask in ("runs", "tasks", "counters", "events"):
        assert getattr(one.read, ask)() == getattr(many.read, ask)()
    assert one.read.attempts(2) == many.read.attempts(2) and one.read.rounds(2) == many.read.rounds(2)
    assert one.recover(1).runs == many.recover(1).runs
    one.close()
    many.close()


def test_interleaved_changes_become_few_statements() -> None:
    """A hundred starts are written by two statements; a task's own changes keep their order."""
    starts = [x for n in range(100) for x in (change(n), attempt(n, n))]
    assert [(kind, len(members)) for kind, members in group(starts)] == [(c.TaskChanged, 100), (c.AttemptAdded, 100)]
    back = [change(1), attempt(1), end(1), change(1, X, W), task(2), change(2)]
    assert [kind for kind, _ in group(back)] == [
        c.TaskChanged,
        c.AttemptAdded,
        c.AttemptEnded,
        c.TaskChanged,
        c.TaskAdded,
        c.TaskChanged,
    ]


def test_counters_follow_every_change_without_counting(tmp_path: Path) -> None:
    """Open counters hold the tasks of open runs only; totals remember all; runs carry their own."""
    store = started(tmp_path)
    assert store.read.counters()["open"]["independent"]["running"] == 1
    store.commit([change(1, X, OK), run_ended()])
    counters = store.read.counters()
    assert counters["open"] == {} and counters["total"]["independent"]["succeeded"] == 1
    assert store.read.runs()[0]["counts"] == {"succeeded": 1}
    store.commit([c.RunChanged(1, RunState.SUCCEEDED, RunState.RUNNING, "retry", 60, 2), task(2, round=2)])
    assert store.read.counters()["open"]["independent"] == {"ready": 1, "succeeded": 1}
    store.close()
    again = Store.open(at(tmp_path))
    before = again.read.counters()
    again.recover(70)
    assert again.read.counters() == before
    again.commit([change(2, R, TaskState.CANCELLED)])  # a task the writer has not seen since the restart
    assert again.read.counters()["open"]["independent"]["cancelled"] == 1
    again.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_any_json_survives_its_text(value: object) -> None:
    """Lone surrogates, huge integers and nested values come back as they were."""
    assert from_text(to_text(value)) == value


@settings(max_examples=25, deadline=None)
@given(st.lists(JSON, min_size=1, max_size=5), st.text(st.characters(codec=None, exclude_categories=())))
def test_any_json_and_any_message_survive_the_database(
    tmp_path_factory: pytest.TempPathFactory, values: list[object], message: str
) -> None:
    """Whatever a job puts out is read back; a message that is no text is made one instead of stopping the engine."""
    store = started(tmp_path_factory.mktemp("json"))
    store.commit([task(n, item=n, item_value=value) for n, value in enumerate(values, 2)])
    store.commit([change(1, X, OK, message=message, output=values), c.EventAdded("a.b", 1, data={"v": values})])
    assert [t["item_value"] for t in store.read.tasks(after=1)] == values
    found = store.read.task(1)
    assert found is not None and found["output"] == values and found["message"] == storable(message)
    assert store.read.events()[0]["data"] == {"v": values}
    store.close()
