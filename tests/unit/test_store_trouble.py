"""A busy or full database costs nothing but time; recovery finds what is open; retention forgets what is done."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from store_world import DAY_US, OK, R, W, X, at, attempt, change, definition, end, run, run_ended, started, task, whole

from engine.model import changes as c
from engine.model.config import Retention
from engine.model.lifecycle import RunState, TaskState
from engine.model.workflow import Condition
from engine.store import Store, StoreBrokenError, StoreBusyError, StoreError
from engine.store.errors import translate


def pragma(store: Store, text: str) -> object:
    with store._engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {text}").scalar()


def test_a_locked_database_is_busy_and_the_same_batch_succeeds_later(tmp_path: Path) -> None:
    """Another connection holds the write lock; nothing is kept until it lets go."""
    store = started(tmp_path)
    pragma(store, "busy_timeout=20")
    other = sqlite3.connect(at(tmp_path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    batch = [task(2, item=1), change(2), c.EventAdded("a.b", 1)]
    for _ in range(2):
        with pytest.raises(StoreBusyError, match="locked"):
            store.commit(batch)
    assert store.read.task(2) is None
    other.close()
    assert store.commit(batch)[0] == 1
    assert store.read.counters()["open"]["independent"] == {"running": 2}
    store.close()


def test_a_full_disk_is_busy_and_the_same_batch_succeeds_later(tmp_path: Path) -> None:
    """The database may not grow; once it may, the very same batch goes in whole."""
    store = started(tmp_path)
    pragma(store, f"max_page_count={pragma(store, 'page_count')}")
    batch = [task(2, item=1), *(c.EventAdded("a.b", n, why="x" * 5000) for n in range(50)), change(2)]
    for _ in range(2):
        with pytest.raises(StoreBusyError, match="full"):
            store.commit(batch)
    assert store.read.task(2) is None and store.read.revision() == 0
    pragma(store, "max_page_count=1073741823")
    revision, events = store.commit(batch)
    assert revision == 50 and [event["rev"] for event in events] == list(range(1, 51))
    assert store.read.counters()["open"]["independent"] == {"running": 2}
    store.close()


def test_only_locked_and_full_are_worth_another_try() -> None:
    """Everything else stops the engine; what is typed already stays as it is."""
    for code, kind in (
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreBusyError),
        (sqlite3.SQLITE_FULL, StoreBusyError),
        (sqlite3.SQLITE_IOERR_WRITE, StoreBrokenError),
        (sqlite3.SQLITE_CORRUPT, StoreBrokenError),
    ):
        error = sqlite3.OperationalError("no")
        error.sqlite_errorcode = code
        assert type(translate(error, "writing")) is kind
    assert type(translate(OSError(5, "no"), "writing")) is StoreBrokenError
    busy = StoreBusyError("x")
    assert translate(busy, "again") is busy


def test_a_closed_store_answers_with_its_own_errors(tmp_path: Path) -> None:
    """A reader or writer that meets a database that has gone hears a typed error."""
    store = started(tmp_path)
    store.close()
    at(tmp_path).rename(tmp_path / "gone")
    for act in (store.read.runs, lambda: store.load_run(1), lambda: store.recover(1), lambda: store.commit([task(2)])):
        with pytest.raises(StoreError):
            act()
    assert not at(tmp_path).exists()


def test_an_unknown_end_of_the_disk_while_closing_is_told(tmp_path: Path) -> None:
    """Closing does not hide that the last word could not be written."""
    store = started(tmp_path)
    pragma(store, "busy_timeout=20")
    other = sqlite3.connect(at(tmp_path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusyError, match="closing"):
        store.close()
    other.close()


def test_readers_go_on_while_the_writer_writes(tmp_path: Path) -> None:
    """Eight threads read while batches commit; each sees whole batches only."""
    store = started(tmp_path)
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(len(store.read.events(limit=10_000)) % 10)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        store.commit([c.EventAdded("a.b", 1)] * 10)
    done.set()
    for thread in threads:
        thread.join()
    assert seen and set(seen) == {0} and store.read.revision() == 300
    store.close()


def test_recovery_returns_the_open_runs_whole(tmp_path: Path) -> None:
    """Open runs with tasks, open attempts and awaited runs' states; final runs only by name."""
    store = started(tmp_path)
    waits = run(3, state=RunState.QUEUED, after=((1, Condition.DONE), (2, Condition.SUCCEEDED)))
    store.commit([*whole(2, 50), waits, task(3, 3, state=W, reason="prerequisite"), c.AttemptStarted(1, 21, 5)])
    first = store.recover(100)
    again = store.recover(101)
    assert (first.epoch, again.epoch, first.instance) == (1, 2, again.instance)
    assert (first.next_run, first.next_task, first.next_attempt, first.next_definition) == (4, 4, 3, 2)
    one, three = first.runs
    assert (one.run, three.run, three.state) == (1, 3, RunState.QUEUED)
    assert three.after == ((1, Condition.DONE, RunState.RUNNING), (2, Condition.SUCCEEDED, RunState.SUCCEEDED))
    assert one.workflow == definition().workflow and one.parameters == {"p": 1} and one.tasks[0].state is X
    held = one.tasks[0].open_attempt
    assert held is not None and (held.attempt, held.number, held.worker, held.started_us) == (1, 1, "w1", 21)
    assert three.tasks[0].open_attempt is None and three.tasks[0].state is W
    final = store.load_run(2)
    assert final is not None and final.state is RunState.SUCCEEDED and final.tasks[0].open_attempt is None
    assert store.load_run(9) is None
    store.close()


def test_recovery_takes_each_items_latest_round(tmp_path: Path) -> None:
    """A retried item stands for its older self, the others stay."""
    store = Store.open(at(tmp_path))
    store.commit([definition(), run(), task(1, item=0), task(2, item=1), task(3, item=1, round=2)])
    assert [t.task for t in store.recover(1).runs[0].tasks] == [1, 3]
    store.close()


def test_a_new_stand_in_begins_its_job_afresh(tmp_path: Path) -> None:
    """A second expansion may give fewer items; those of the first count no more, whether it is expanded yet or not."""
    store = Store.open(at(tmp_path))
    store.commit([definition(), run(), task(1, pending_each=True, state=W, reason="prerequisite")])
    store.commit([c.TaskExpanded(1, 0, {"part": 1}), task(2, item=1), task(3, job="other")])
    first = store.recover(1).runs[0].tasks
    assert [(t.task, t.item, t.item_value, t.pending_each) for t in first[:2]] == [
        (1, 0, {"part": 1}, False),
        (2, 1, None, False),
    ]
    store.commit([task(4, pending_each=True, round=2)])
    assert [(t.task, t.item, t.pending_each) for t in store.recover(2).runs[0].tasks] == [
        (3, None, False),
        (4, None, True),
    ]
    store.commit([c.TaskExpanded(4, 0, "x")])
    assert [(t.task, t.item) for t in store.recover(3).runs[0].tasks] == [(3, None), (4, 0)]
    store.close()


def test_retention_forgets_old_runs_but_not_that_they_were(tmp_path: Path) -> None:
    """Rows and counters of the run go, its logs are named, its key cannot occur again, its ids are not given again."""
    store = Store.open(at(tmp_path))
    store.commit([definition(), c.WorkerChanged("w0", "gone", 1, 1, 1), c.WorkerChanged("w1", "connected", 1, 1, 1)])
    store.commit([*whole(1, 50), *whole(2, 60), c.EdgesAdded(1, (("b", "a", Condition.DONE),))])
    store.commit([run(3), task(3, 3)])
    store.commit([c.RunChanged(3, RunState.RUNNING, RunState.RUNNING, "", 1, 1)])
    removed = store.prune(Retention(max_age_days=1, batch_rows=2), 55 + DAY_US)
    assert removed == [{"attempt": 1, "worker": "w1", "log": {"file": 1}}]
    assert [r["run"] for r in store.read.runs()] == [3, 2] and store.read.tasks(run=1) == []
    assert store.read.edges(1) == store.read.rounds(1) == [] and store.read.attempt(1) is None
    gone = store.read.run_by_key("nightly", "manual:1")
    assert gone == {"workflow": "nightly", "key": "manual:1", "run": 1, "state": None, "pruned": True}
    kept = store.read.run_by_key("nightly", "manual:2")
    assert kept is not None and kept["pruned"] is False and store.read.run_by_key("nightly", "manual:9") is None
    assert [w["worker"] for w in store.read.workers()] == ["w1"]
    assert store.read.counters()["total"]["independent"] == {"succeeded": 2, "ready": 1}
    with pytest.raises(StoreBrokenError, match="UNIQUE"):
        store.commit([run(4, "manual:1")])
    store.close()


def test_retention_never_gives_an_id_twice(tmp_path: Path) -> None:
    """Even when everything has been removed, the next ids go on from where they were."""
    store = Store.open(at(tmp_path))
    store.commit([definition(), *whole(1, 50), *whole(2, 60)])
    assert len(store.prune(Retention(max_runs=0, batch_rows=1), 60)) == 2
    recovered = store.recover(1)
    assert (recovered.next_run, recovered.next_task, recovered.next_attempt) == (3, 3, 3)
    store.close()


def test_retention_keeps_the_newest_runs_and_what_open_runs_await(tmp_path: Path) -> None:
    """Beyond max_runs the oldest go, but neither an open run nor one that an open run waits for."""
    store = Store.open(at(tmp_path))
    store.commit([definition(), run(9), *(x for n in (1, 2, 3, 4) for x in whole(n, 50))])
    store.commit([run(10, state=RunState.QUEUED, after=((1, Condition.DONE),))])
    assert [gone["attempt"] for gone in store.prune(Retention(max_runs=2), 60)] == [2]
    assert [r["run"] for r in store.read.runs()] == [10, 9, 4, 3, 1]
    assert store.prune(Retention(max_runs=2), 60) == []
    store.close()


def test_retention_keeps_the_newest_events_and_the_revision(tmp_path: Path) -> None:
    """Even with no events to keep, the newest stays, so revisions go on."""
    store = Store.open(at(tmp_path))
    store.commit([c.EventAdded("a.b", n) for n in range(10)])
    store.prune(Retention(max_events=4, batch_rows=2), 60)
    assert [event["rev"] for event in store.read.events()] == [7, 8, 9, 10]
    store.prune(Retention(max_events=0), 60)
    store.close()
    again = Store.open(at(tmp_path))
    assert again.commit([c.EventAdded("a.b", 1)])[0] == 11
    again.close()


def test_a_whole_retry_goes_round(tmp_path: Path) -> None:
    """Failed, waiting for the back-off, released, started and done: one task, two attempts."""
    store = started(tmp_path)
    store.commit([end(), change(1, X, W, 30, not_before_us=90), change(1, W, R, 90), change(1, R, X, 91, attempts=2)])
    store.commit([attempt(2, 1, 2), end(2), change(1, X, OK, 99, attempts=2), run_ended()])
    found, latest = store.read.task(1), store.read.latest_attempt(1)
    assert found is not None and latest is not None and latest["number"] == 2 == found["attempts"]
    assert (found["not_before_us"], found["ready_us"], found["started_us"], found["ended_us"]) == (None, 90, 91, 99)
    assert [a["attempt"] for a in store.read.attempts(1)] == [1, 2] and store.read.attempts(7) == []
    assert found["state"] == TaskState.SUCCEEDED
    store.close()


ENDLESS = """
import sys
from pathlib import Path
from engine.model import changes as c
from engine.store import Store
store = Store.open(Path(sys.argv[1]))
while True:
    print(store.commit([c.EventAdded("a.b", 1)] * 7)[0], flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """The writer is killed in the middle of its work, again and again: whole batches, and every acknowledged one."""
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", ENDLESS, at(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            for _ in range(20):
                acknowledged = int(child.stdout.readline())
            child.kill()
            acknowledged = max([acknowledged, *(int(line) for line in child.stdout if line.endswith("\n"))])
        store = Store.open(at(tmp_path))
        assert store.read.revision() >= acknowledged and store.read.revision() % 7 == 0
        store.close()
