"""The table of moves: what it allows, what it refuses, and that final means final."""

from __future__ import annotations

import itertools

import pytest

from engine.model.errors import EngineBusyError
from engine.model.lifecycle import FINAL_TASK_STATES, TRANSITIONS, ForbiddenMoveError, Move, RunState, TaskState, apply

ALL = list(itertools.product(TaskState, Move))


@pytest.mark.parametrize(("state", "move"), ALL)
def test_every_move_is_in_the_table_or_refused_by_name(state: TaskState, move: Move) -> None:
    """A move outside the table changes nothing and says who asked for what."""
    if (state, move) in TRANSITIONS:
        assert apply(state, move) is TRANSITIONS[state, move]
        return
    with pytest.raises(ForbiddenMoveError, match=f"a {state} task cannot {move}") as refused:
        apply(state, move)
    assert (refused.value.state, refused.value.move) == (state, move)


@pytest.mark.parametrize("state", sorted(FINAL_TASK_STATES))
def test_nothing_leaves_a_final_state(state: TaskState) -> None:
    """Final means final."""
    assert state.is_final
    assert not [move for origin, move in TRANSITIONS if origin is state]


def test_every_state_can_be_reached_and_every_open_one_can_end() -> None:
    """No state is an island and no task can be stuck for want of a move."""
    reached = {TaskState.WAITING, *TRANSITIONS.values()}
    assert reached == set(TaskState)
    for state in set(TaskState) - FINAL_TASK_STATES:
        assert not state.is_final
        assert TRANSITIONS[state, Move.CANCEL] is TaskState.CANCELLED


def test_a_running_task_is_never_skipped() -> None:
    """What has begun ends by its own report, not by another's."""
    with pytest.raises(ForbiddenMoveError):
        apply(TaskState.RUNNING, Move.SKIP)


def test_only_queued_and_running_runs_are_open() -> None:
    """The run's own states split as the task's do."""
    assert [state for state in RunState if not state.is_final] == [RunState.QUEUED, RunState.RUNNING]


def test_a_busy_engine_is_an_error_of_its_own() -> None:
    """Callers can tell "again later" from a crash."""
    assert issubclass(EngineBusyError, RuntimeError)
