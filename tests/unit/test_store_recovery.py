"""What a starting engine reads back of attempts and kills."""

from __future__ import annotations

from pathlib import Path

from engine.model import changes as c
from engine.model.lifecycle import Outcome, TaskState
from engine.store import Store
from tests.unit.store_world import at, attempt, change, started

R, X, W = TaskState.READY, TaskState.RUNNING, TaskState.WAITING


def test_a_kill_that_was_asked_for_is_still_asked_for_after_a_crash(tmp_path: Path) -> None:
    """The operator was told that it will be killed; the next engine knows."""
    store = started(tmp_path)
    store.commit([c.TaskStopRequested(1, "killed by ana")])
    (run,) = Store.open(at(tmp_path)).recover(99).runs
    assert [task.stopping for task in run.tasks] == ["killed by ana"]


def test_lost_and_unstarted_attempts_are_counted_again_after_a_crash(tmp_path: Path) -> None:
    """They use up no retry, and three losses are enough, however often the engine is started."""
    store = started(tmp_path)
    store.commit([c.AttemptEnded(1, Outcome.LOST, 40), change(1, X, W, attempts=1)])
    store.commit([change(1, W, R, attempts=1), change(1, R, X, attempts=2), attempt(2, nth=2)])
    store.commit([c.AttemptEnded(2, Outcome.NOT_STARTED, 40), change(1, X, R, attempts=2)])
    (run,) = Store.open(at(tmp_path)).recover(99).runs
    assert [(task.losses, task.spared) for task in run.tasks] == [(1, 2)]
