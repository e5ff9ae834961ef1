"""Owns the states of a task and the one table of moves between them. Who asks for a move is the kernel;
who records it is the store's guarded write."""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        return self in FINAL_TASK_STATES


FINAL_TASK_STATES = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED})


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        return self not in (RunState.QUEUED, RunState.RUNNING)


class Move(StrEnum):
    """Every way a task changes state; the key of the transition table together with the state it leaves."""

    RELEASE = "release"  # prerequisites, not-before and back-off are met
    START = "start"  # a slot was granted
    SUCCEED = "succeed"
    FAIL = "fail"
    RETRY = "retry"  # the attempt failed, another one is allowed
    REQUEUE = "requeue"  # the attempt was recorded but never started: nothing ran
    CANCEL = "cancel"  # an operator
    SKIP = "skip"  # a condition that can no longer be met


class Reason(StrEnum):
    """Why a task is in its state. States stay few, reasons say the rest."""

    PREREQUISITE = "prerequisite"
    RETRY = "retry"
    NOT_BEFORE = "not_before"
    RELEASED = "released"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    NO_ITEMS = "no_items"
    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    EXCEPTION = "exception"
    EXEC = "exec"
    TIMED_OUT = "timed_out"
    STALLED = "stalled"
    LOST = "lost"
    NOT_STARTED = "not_started"
    BAD_OUTPUT = "bad_output"
    BAD_TEMPLATE = "bad_template"
    EACH_INVALID = "each_invalid"
    KILLED = "killed"
    CANCELLED = "cancelled"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_CANCELLED = "upstream_cancelled"
    UPSTREAM_SKIPPED = "upstream_skipped"
    UPSTREAM_SUCCEEDED = "upstream_succeeded"
    HELD_AFTER_LOSS = "held_after_loss"


class Outcome(StrEnum):
    """How one attempt ended. NOT_STARTED: recorded, never executed. LOST: nobody can know."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    STALLED = "stalled"
    KILLED = "killed"
    LOST = "lost"
    NOT_STARTED = "not_started"


_W, _R, _X = TaskState.WAITING, TaskState.READY, TaskState.RUNNING

TRANSITIONS: dict[tuple[TaskState, Move], TaskState] = {
    (_W, Move.RELEASE): TaskState.READY,
    (_W, Move.SUCCEED): TaskState.SUCCEEDED,  # a dynamic `each` without items
    (_W, Move.FAIL): TaskState.FAILED,  # a dynamic `each` whose source is not a list
    (_W, Move.CANCEL): TaskState.CANCELLED,
    (_W, Move.SKIP): TaskState.SKIPPED,
    (_R, Move.START): TaskState.RUNNING,
    (_R, Move.FAIL): TaskState.FAILED,  # a template that cannot be filled
    (_R, Move.CANCEL): TaskState.CANCELLED,
    (_R, Move.SKIP): TaskState.SKIPPED,
    (_X, Move.SUCCEED): TaskState.SUCCEEDED,
    (_X, Move.FAIL): TaskState.FAILED,
    (_X, Move.RETRY): TaskState.WAITING,
    (_X, Move.REQUEUE): TaskState.READY,
    (_X, Move.CANCEL): TaskState.CANCELLED,
}


class ForbiddenMoveError(ValueError):
    """A move the table does not hold. Names both, so a log line is enough to find the caller."""

    def __init__(self, state: TaskState, move: Move) -> None:
        super().__init__(f"a {state} task cannot {move}")
        self.state, self.move = state, move


def apply(state: TaskState, move: Move) -> TaskState:
    """The state after `move`, or ForbiddenMoveError. The only place a task's state changes."""
    try:
        return TRANSITIONS[state, move]
    except KeyError:
        raise ForbiddenMoveError(state, move) from None
