"""The store's part in the kernel's tests: a row of every run, task and attempt, and the guards of each write."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from engine.model import changes as c
from engine.model.lifecycle import Outcome, RunState, TaskState
from engine.model.stored import StoredAttempt, StoredRun, StoredTask
from engine.model.workflow import Workflow


@dataclass
class Row:
    """A task as the database holds it."""

    added: c.TaskAdded
    state: TaskState
    reason: str
    item: int | None
    item_value: Any
    pending_each: bool
    attempts: int = 0
    not_before_us: int | None = None
    output: Any = None
    message: str = ""


class Rows:
    """What is on record. A change whose guard would not hold in the database is refused with an assertion."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.runs: dict[int, c.RunAdded] = {}
        self.run_states: dict[int, RunState] = {}
        self.rounds: dict[tuple[int, int], RunState | None] = {}
        self.attempts: dict[int, c.AttemptAdded] = {}
        self.numbers: set[tuple[int, int]] = set()
        self.outcomes: dict[int, Outcome] = {}
        self.workflows: dict[int, Workflow] = {}
        self.answers: dict[tuple[int, int], RunState] = {}  # (run, awaited run): how the awaited round is or ended

    def write(self, x: c.Change) -> None:
        match x:
            case c.RunAdded():
                assert x.run not in self.runs
                self.runs[x.run], self.run_states[x.run] = x, x.state
                self.answers |= {(x.run, awaited): self.run_states[awaited] for awaited, _ in x.after}
            case c.RunChanged():
                assert self.run_states[x.run] is x.before
                assert x.before is not x.state
                self.run_states[x.run] = x.state
                asked = [pair for pair, state in self.answers.items() if pair[1] == x.run and not state.is_final]
                self.answers |= dict.fromkeys(asked, x.state)
            case c.RoundAdded():
                assert (x.run, x.round) not in self.rounds
                self.rounds[x.run, x.round] = None
            case c.RoundEnded():
                assert self.rounds[x.run, x.round] is None, "a round's end is recorded once"
                self.rounds[x.run, x.round] = x.state
            case c.TaskAdded():
                assert x.task not in self.rows
                self.rows[x.task] = Row(x, x.state, x.reason, x.item, x.item_value, x.pending_each)
            case c.TaskExpanded():
                row = self.rows[x.task]
                assert row.pending_each
                row.item, row.item_value, row.pending_each = x.item, x.item_value, False
            case c.TaskChanged():
                row = self.rows[x.task]
                assert row.state is x.before, f"t{x.task} is {row.state}, not {x.before}"
                assert not row.state.is_final, "final means final"
                row.state, row.reason, row.attempts, row.message = x.state, x.reason, x.attempts, x.message
                row.not_before_us, row.output = x.not_before_us, x.output
            case c.AttemptAdded():
                assert x.attempt not in self.attempts
                assert (x.task, x.number) not in self.numbers
                self.numbers.add((x.task, x.number))
                self.attempts[x.attempt] = x
            case c.AttemptEnded():
                assert x.attempt in self.attempts
                assert x.attempt not in self.outcomes, "an attempt ends once"
                self.outcomes[x.attempt] = x.outcome

    def stored(self, run: int) -> StoredRun:
        """The run as the database would hand it to a starting engine."""
        added = self.runs[run]
        return StoredRun(
            run=run,
            workflow=self.workflows[run],
            definition=added.definition,
            key=added.key,
            state=self.run_states[run],
            parameters=added.parameters,
            trigger=added.trigger,
            priority=added.priority,
            round=max(round for owner, round in self.rounds if owner == run),
            created_us=added.at_us,
            started_us=None,
            after=tuple((awaited, when, self.answers[run, awaited]) for awaited, when in added.after),
            tasks=tuple(self._stored_task(id) for id in self.in_force(run)),
        )

    def _stored_task(self, id: int) -> StoredTask:
        row, made = self.rows[id], [a for a in self.attempts.values() if a.task == id]
        spared = Counter(self.outcomes.get(a.attempt) for a in made)
        still_open = [a for a in made if a.attempt not in self.outcomes]
        opened = [StoredAttempt(a.attempt, id, a.number, a.epoch, a.worker, None) for a in still_open]
        return StoredTask(
            task=id,
            job=row.added.job,
            item=row.item,
            round=row.added.round,
            state=row.state,
            reason=row.reason,
            priority=row.added.priority,
            attempts=row.attempts,
            created_us=row.added.at_us,
            not_before_us=row.not_before_us,
            item_value=row.item_value,
            pending_each=row.pending_each,
            output=row.output,
            open_attempt=opened[0] if opened else None,
            losses=spared[Outcome.LOST],
            spared=spared[Outcome.LOST] + spared[Outcome.NOT_STARTED],
        )

    def in_force(self, run: int) -> list[int]:
        """The tasks that count: of each job and item the latest; a stand-in begins its job afresh."""
        latest: dict[tuple[str, int | None], int] = {}
        for id, row in self.rows.items():
            if row.added.run == run:
                if row.added.pending_each:
                    latest = {key: kept for key, kept in latest.items() if key[0] != row.added.job}
                latest[row.added.job, row.item] = id
        return sorted(latest.values(), key=lambda id: (self.rows[id].added.job, self.rows[id].item or 0, id))
