"""Jobs, workflows and a driver for the kernel: `Sim` plays the loop and the store around one `State`. It keeps a row
of every run, task and attempt, and refuses each change whose guard would not hold in the database."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from engine.kernel import acts, attempts, runs
from engine.kernel.blockers import is_open
from engine.kernel.decisions import Decisions, Start
from engine.kernel.runs import Submission
from engine.kernel.state import Run, State, Task
from engine.model import changes as c
from engine.model.config import Slots
from engine.model.lifecycle import Outcome, Reason, TaskState
from engine.model.reports import Ended
from engine.model.workflow import Command, Condition, Job, Need, OnLost, Workflow
from tests.rows import Row, Rows

SECOND = 1_000_000
WIDE = Slots(dependent=4000, independent=4000)

_REASONS = {Outcome.FAILED: "exit_code"}


def a_job(name: str, needs: Any = (), **kinds: Any) -> Job:
    """A job that runs `true`; `needs` is a list of names or a mapping of names to conditions."""
    pairs = needs.items() if isinstance(needs, dict) else [(each, "succeeded") for each in needs]
    wanted = tuple(Need(job, Condition(when)) for job, when in pairs)
    rule = OnLost(kinds.pop("on_lost", OnLost.FAIL))
    return Job(name, kinds.pop("action", Command(("true",))), wanted, on_lost=rule, **kinds)


def a_workflow(*jobs: Job, name: str = "w", **kinds: Any) -> Workflow:
    return Workflow(name, jobs, **kinds)


class Sim(Rows):
    """One engine without clock, disk or workers. Every method is one turn; what it decided is checked and kept."""

    def __init__(self, slots: Slots | None = None) -> None:
        super().__init__()
        self.state = State(slots or Slots())
        self.now = 1_000 * SECOND
        self.all: list[c.Change] = []
        self.starts: list[Start] = []
        self.kills: list[Any] = []

    # -- turns ---------------------------------------------------------------------------------------------------------

    def submit(self, workflow: Workflow | Job, *more: Job, **given: Any) -> int:
        """A new run of the workflow, or of a workflow of these jobs; its id."""
        flow = workflow if isinstance(workflow, Workflow) else a_workflow(workflow, *more)
        after = tuple((run, Condition(when), self.run_states.get(run)) for run, when in given.pop("after", ()))
        out = Decisions()
        key = f"manual:{self.state.next_run}"
        run = runs.submit(self.state, out, Submission(flow, 1, key, "test", after=after, **given), self.now)
        self.workflows[run.id] = flow
        self.take(out)
        return run.id

    def dispatch(self) -> list[Start]:
        """Starts what may start; the starts of this turn."""
        out = Decisions()
        attempts.dispatch(self.state, out, 1, lambda attempt: "w-1-1", self.now)
        self.take(out)
        return out.starts

    def finish(self, task: int | str, outcome: str = "succeeded", **report: Any) -> bool:
        """Reports the end of the task's open attempt (a name: of the running task of that job)."""
        found = self.running(task) if isinstance(task, str) else self.state.tasks[task]
        assert found.attempt is not None, f"t{found.id} is {found.state}"
        return self.report(found.attempt, outcome, **report)

    def report(self, attempt: int, outcome: str = "succeeded", **report: Any) -> bool:
        ended = Outcome(outcome)
        report.setdefault("reason", _REASONS.get(ended, ended.value))
        if ended is Outcome.FAILED:
            report.setdefault("exit_code", 1)
        out = Decisions()
        known = attempts.end_attempt(self.state, out, Ended(attempt, ended, at_us=self.now, **report), self.now)
        self.take(out)
        return known

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)
        out = Decisions()
        attempts.ready_due(self.state, out, self.now)
        self.take(out)

    def cancel(self, run: int, why: str = "") -> int:
        out = Decisions()
        touched = acts.cancel_run(self.state, out, self.state.runs[run], "test", why, self.now)
        self.take(out)
        return touched

    def kill(self, task: int, grace: float | None = None, why: str = "") -> None:
        out = Decisions()
        acts.kill_task(self.state, out, self.state.tasks[task], "test", why, grace, self.now)
        self.take(out)

    def switch(self, queue: str, paused: bool | None = None, draining: bool | None = None) -> None:
        out = Decisions()
        acts.set_queue(self.state, out, queue, paused, draining, "test", "", self.now)
        self.take(out)

    def retry(self, run: int, *tasks: int) -> list[int]:
        """A retry by hand of an ended run, from its rows as the engine does it."""
        out = Decisions()
        reborn = runs.restore(self.state, self.stored(run))
        made = runs.retry(self.state, out, reborn, tasks, "test", "", self.now)
        if not made:
            self.state.runs.pop(run, None)
        self.take(out)
        return made

    def unhold(self, task: int) -> None:
        out = Decisions()
        runs.release_held(self.state, out, self.state.tasks[task], self.now)
        self.take(out)

    def drain(self, outcome: str = "succeeded", limit: int = 100_000) -> list[str]:
        """Runs everything to its end; the jobs in the order in which they started."""
        order = []
        for _ in range(limit):
            started = self.dispatch()
            order += [start.job for start in started]
            if not self.state.attempts:
                break
            self.report(next(iter(self.state.attempts)), outcome)
        return order

    # -- looking -------------------------------------------------------------------------------------------------------

    def running(self, job: str) -> Task:
        return next(task for task in self.state.attempts.values() if task.node.job.name == job)

    def states(self, run: int = 1) -> dict[str, Any]:
        """Each job's state; of a job with items the list of theirs."""
        found: dict[str, list[str]] = {}
        for id in self.in_force(run):
            found.setdefault(self.rows[id].added.job, []).append(self.rows[id].state.value)
        return {job: states[0] if len(states) == 1 else states for job, states in found.items()}

    def task(self, job: str, run: int = 1, item: int | None = None) -> int:
        """The id of the job's task in force."""
        rows = [(id, self.rows[id]) for id in self.in_force(run)]
        return next(id for id, row in rows if row.added.job == job and item in (None, row.item))

    def row(self, job: str, run: int = 1, item: int | None = None) -> Row:
        return self.rows[self.task(job, run, item)]

    def events(self, kind: str) -> list[c.EventAdded]:
        return [x for x in self.all if isinstance(x, c.EventAdded) and x.kind == kind]

    # -- the store's part ----------------------------------------------------------------------------------------------

    def take(self, out: Decisions) -> None:
        for change in out.changes:
            self.write(change)
        self.all += out.changes
        self.starts += out.starts
        self.kills += out.kills

    def restarted(self, **slots: Any) -> State:
        """The state a new engine builds from the rows."""
        state = State(replace(self.state.slots, **slots))
        state.next_run, state.next_task = self.state.next_run, self.state.next_task
        state.next_attempt = self.state.next_attempt
        for run, run_state in self.run_states.items():
            if not run_state.is_final:
                runs.restore(state, self.stored(run))
        for name, queue in self.state.queues.items():
            state.queues[name].paused, state.queues[name].draining = queue.paused, queue.draining
        return state


def check_invariants(state: State, dispatched: bool = False) -> None:
    """What must hold after every turn; `dispatched`: nothing has happened since the last dispatch."""
    opened = {task.id: task for run in state.runs.values() for task in run.tasks() if not task.state.is_final}
    assert state.tasks == opened, "members are exactly the open tasks"
    for name, queue in state.queues.items():
        mine = {id: task for id, task in opened.items() if task.queue == name}
        assert queue.members == mine
        assert +queue.counts == Counter(task.state for task in mine.values()), "queue counters equal members"
    running = [task for task in opened.values() if task.state is TaskState.RUNNING]
    assert {task.attempt: task for task in running} == state.attempts, "attempts map exactly the running tasks"
    assert len(state.attempts) == len(running) <= state.seats
    assert state.running == len(running)
    assert +state.pool_running == Counter(task.node.job.pool for task in running)
    for run in state.runs.values():
        _check_run(run)
    for task in opened.values():
        _check_task(state, task, dispatched)


def _check_run(run: Run) -> None:
    assert run.open_tasks == sum(not task.state.is_final for task in run.tasks()) > 0, "no ended run stays"
    assert not run.state.is_final
    for node in run.nodes.values():
        assert +node.counts == Counter(task.state for task in node.tasks), "node counts equal tasks"


def _check_task(state: State, task: Task, dispatched: bool) -> None:
    if task.state is TaskState.WAITING:
        timed = task.not_before_us is not None and (task.not_before_us, task.id) in state.timers
        held = task.reason == Reason.HELD_AFTER_LOSS
        awaits = bool(task.run.awaited) and not task.node.needs
        assert task.node.unmet or awaits or timed or held, f"t{task.id} waits for nothing"
    else:
        assert not task.node.unmet or task.round > 1
        assert task.attempt is None or task.state is TaskState.RUNNING
    if dispatched and task.state is TaskState.READY:
        queue = state.queues[task.queue]
        assert not is_open(state, queue, task.node.job.pool), "no seat idles beside a task that could run"
