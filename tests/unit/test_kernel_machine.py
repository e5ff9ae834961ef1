"""Random histories of the kernel: whatever is asked of it in whatever order, its state and its records stay true."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from engine.kernel.state import State
from engine.model.config import Slots
from engine.model.lifecycle import TaskState
from engine.model.workflow import Call, Command, Condition, Job, Need, OnLost, Pool, Retry, Workflow
from tests.builders import Sim, check_invariants

OUTCOMES = ["succeeded", "succeeded", "failed", "timed_out", "stalled", "killed", "lost", "not_started"]
CONDITIONS = st.sampled_from([Condition.SUCCEEDED, Condition.FAILED, Condition.DONE])
OUTPUTS = st.sampled_from([None, [], ["a", "b"], [1, 2, 3], {"parts": [1]}, "text"])
ACTIONS = [Command(("true",)), Command(("echo", "{{ params.who }}")), Command(("echo", "{{ params.none }}"))]


@st.composite
def workflows(draw: st.DrawFn) -> Workflow:
    jobs: list[Job] = []
    for number in range(draw(st.integers(1, 6))):
        before = [job.name for job in jobs]
        needed = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
        needs = tuple(Need(job, draw(CONDITIONS)) for job in needed)
        each: list[Any] = [None, None, [], ["x", "y"], "{{ params.who }}", "{{ params.list }}"]
        each += [f"{{{{ needs.{job}.output }}}}" for job in needed]
        pool = draw(st.sampled_from(list(Pool)))
        action = draw(st.sampled_from(ACTIONS)) if pool is Pool.COMMAND else Call("m", "f", pool)
        retry = Retry(draw(st.integers(1, 3)), draw(st.sampled_from([0.0, 5.0])), 2.0, 0.1)
        job = Job(f"j{number}", action, needs, draw(st.sampled_from(each)), retry=retry)
        jobs.append(_with(job, draw(st.sampled_from(list(OnLost))), draw(st.integers(-1, 1))))
    return Workflow("w", tuple(jobs), parameters={"who": "me", "list": [1, 2]})


def _with(job: Job, on_lost: OnLost, priority: int) -> Job:
    return Job(job.name, job.action, job.needs, job.each, on_lost=on_lost, priority=priority, retry=job.retry)


class Kernel(RuleBasedStateMachine):
    """Rows that say otherwise than the state, a final task that moves, an idle seat: any of them ends the machine."""

    runs = Bundle("runs")

    @initialize(lending=st.booleans(), cap=st.sampled_from([None, 1]))
    def begin(self, lending: bool, cap: int | None) -> None:
        self.sim = Sim(Slots(2, 2, lending, process=cap))
        self.dispatched = False

    @rule(target=runs, workflow=workflows(), priority=st.integers(0, 1))
    def submit(self, workflow: Workflow, priority: int) -> Any:
        if len(self.sim.state.runs) > 5:
            return multiple()
        self.dispatched = False
        return self.sim.submit(workflow, priority=priority)

    @rule(target=runs, workflow=workflows(), awaited=st.lists(runs, min_size=1, max_size=2, unique=True))
    def submit_after(self, workflow: Workflow, awaited: list[int]) -> Any:
        self.dispatched = False
        when = ["succeeded", "failed", "done"]
        return self.sim.submit(workflow, after=[(run, when[(run + len(awaited)) % 3]) for run in awaited])

    @rule()
    def dispatch(self) -> None:
        self.sim.dispatch()
        self.dispatched = True

    @precondition(lambda self: self.sim.state.attempts)
    @rule(outcome=st.sampled_from(OUTCOMES), output=OUTPUTS, data=st.data())
    def finish(self, outcome: str, output: Any, data: st.DataObject) -> None:
        self.dispatched = False
        attempt = data.draw(st.sampled_from(sorted(self.sim.state.attempts)))
        task = self.sim.state.attempts[attempt]
        stopping = task.stopping
        assert self.sim.report(attempt, outcome, output=output)
        assert not self.sim.report(attempt, outcome), "an end is taken once"
        if stopping and outcome != "succeeded":
            assert task.state is TaskState.CANCELLED, "a kill ends in cancelled"

    @precondition(lambda self: self.sim.state.tasks)
    @rule(data=st.data(), grace=st.sampled_from([None, 0.0, 3.0]))
    def kill(self, data: st.DataObject, grace: float | None) -> None:
        self.dispatched = False
        self.sim.kill(data.draw(st.sampled_from(sorted(self.sim.state.tasks))), grace)

    @rule(run=runs)
    def cancel(self, run: int) -> None:
        if run in self.sim.state.runs:
            self.dispatched = False
            self.sim.cancel(run)

    @rule(run=runs, named=st.booleans(), data=st.data())
    def retry(self, run: int, named: bool, data: st.DataObject) -> None:
        if run in self.sim.state.runs:
            return
        self.dispatched = False
        tasks = data.draw(st.lists(st.sampled_from(self.sim.in_force(run)), max_size=2)) if named else []
        self.sim.retry(run, *tasks)

    @rule(queue=st.sampled_from(["dependent", "independent"]), paused=st.booleans())
    def pause(self, queue: str, paused: bool) -> None:
        self.dispatched = False
        self.sim.switch(queue, paused=paused)

    @rule(seconds=st.sampled_from([0.0, 1.0, 30.0]))
    def advance(self, seconds: float) -> None:
        self.dispatched = False
        self.sim.advance(seconds)

    @rule()
    def unhold(self) -> None:
        for id in _held(self.sim.state):
            self.dispatched = False
            self.sim.unhold(id)

    @rule()
    def restart(self) -> None:
        """A new engine sees what the old one saw, and starts the same things next."""
        living, born = self.sim.state, self.sim.restarted()
        check_invariants(born)
        assert picture(born) == picture(living)
        starts = self.sim.dispatch()
        self.dispatched = True
        other = Sim()
        other.state, other.now, other.take = born, self.sim.now, lambda out: None  # type: ignore[method-assign]
        assert other.dispatch() == starts
        if self.sim.state.next_task % 2:  # now and then the new one goes on
            self.sim.state = born

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "sim"):
            return
        check_invariants(self.sim.state, self.dispatched)
        for id, row in self.sim.rows.items():
            assert row.state.is_final or id in self.sim.state.tasks
        for run, state in self.sim.run_states.items():
            assert state.is_final == (run not in self.sim.state.runs)

    def teardown(self) -> None:
        """Once everything has ended, every run has, and so has every round."""
        if not hasattr(self, "sim"):
            return
        for queue in self.sim.state.queues:
            self.sim.switch(queue, paused=False)
        for _ in range(200):
            if not self.sim.state.runs:
                break
            for id in _held(self.sim.state):
                self.sim.unhold(id)
            self.sim.advance(4000)
            self.sim.drain()
        assert not self.sim.state.runs
        assert not self.sim.state.awaiting
        assert all(self.sim.rounds.values())
        assert all(row.state.is_final for row in self.sim.rows.values())


def _held(state: State) -> list[int]:
    return [task.id for task in state.tasks.values() if task.reason == "held_after_loss"]


def picture(state: State) -> dict[str, Any]:
    """What the kernel would decide from, in values."""
    return {
        "queues": {name: (+queue.counts, set(queue.members)) for name, queue in state.queues.items()},
        "pools": +state.pool_running,
        "attempts": {attempt: task.id for attempt, task in state.attempts.items()},
        "tasks": {
            id: (t.state, t.reason, t.item, t.item_value, t.priority, t.attempts, t.losses, t.spared, t.not_before_us)
            for id, t in state.tasks.items()
        },
        "unmet": {id: t.node.unmet for id, t in state.tasks.items()},
        "counts": {(run.id, name): +node.counts for run in state.runs.values() for name, node in run.nodes.items()},
        "outputs": {(run.id, name): node.output() for run in state.runs.values() for name, node in run.nodes.items()},
    }


Kernel.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    print_blob=False,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TestKernelMachine = Kernel.TestCase

# Guards broken by hand one at a time (23 November 2026), and a test that failed for each. E: test_kernel_edges,
# Q: test_kernel_queues, A: test_kernel_attempts, R: test_kernel_rounds, L: test_lifecycle, M: the machine above.
#
# | guard taken out                                    | caught by                                                |
# |----------------------------------------------------|----------------------------------------------------------|
# | blockers.quota_used: quota with lending off        | Q without_lending_a_queue_keeps_to_its_slots             |
# | blockers.seats_taken: seats of both queues         | A killing_everything_leaves_what_has_not_started         |
# | graph._final: running tasks counted as final       | E each_condition_on_items                                |
# | graph._judge: unmet cleared instead of one need    | E a_join_waits_for_all_of_its_needs                      |
# | graph.skip: the skip is not followed on            | E skips_cascade_with_their_reasons                       |
# | graph.release: an awaited run is not waited for    | R a_run_waits_for_another                                |
# | graph.end_if_over: an ended run ends again         | R a_run_waits_for_every_run_it_names                     |
# | queues.head: stale entry, task no longer ready     | A each_outcome_has_its_end, M                            |
# | queues.head: stale entry, priority changed         | Q a_lowered_priority_leaves_the_old_place_in_line        |
# | moves: the record names the new state as `before`  | A each_outcome_has_its_end, M (the rows' guard)          |
# | moves: the pool's count is not given back          | A each_outcome_has_its_end                               |
# | lifecycle: moves out of final states               | L nothing_leaves_a_final_state                           |
# | attempts: an ended attempt stays open              | A each_outcome_has_its_end, M                            |
# | attempts: a kill forgotten when the report differs | A a_kill_ends_in_cancelled_and_is_never_retried          |
# | attempts: spared executions use up the retries     | A losses_do_not_use_up_the_retries                       |
# | acts: a grace of zero taken for none               | A the_grace_given_wins_over_the_jobs                     |
# | runs.restore: losses forgotten at a restart        | A the_third_loss_holds_the_task..., M                    |
# | runs.restore: unmet not judged anew                | M restart                                                |
#
# One survived: State.due_tasks without its comparison of the due time. A task has one timer at a time, so no history
# tells the difference; the comparison is a second fence.
