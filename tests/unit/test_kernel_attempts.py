"""Attempts: what each outcome means for the task, retries and their waits, losses, kills."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kernel.attempts import backoff_seconds
from engine.kernel.blockers import blockers
from engine.kernel.decisions import Decisions
from engine.model.changes import AttemptEnded
from engine.model.config import Slots
from engine.model.workflow import Retry
from tests.builders import SECOND, Sim, a_job, check_invariants


def one(**kinds: Any) -> Sim:
    """A run of one started job `a` and of `b`, which needs it."""
    sim = Sim()
    sim.submit(a_job("a", **kinds), a_job("b", ["a"]))
    sim.dispatch()
    return sim


def seen(sim: Sim, job: str = "a") -> tuple[str, str, int]:
    row = sim.row(job)
    return row.state.value, row.reason, row.attempts


@pytest.mark.parametrize(
    ("outcome", "report", "end"),
    [
        ("succeeded", {}, ("succeeded", "succeeded", 1)),
        ("failed", {"exit_code": 3}, ("failed", "exit_code", 1)),
        ("failed", {"reason": "signal", "signal": 9}, ("failed", "signal", 1)),
        ("timed_out", {}, ("failed", "timed_out", 1)),
        ("stalled", {}, ("failed", "stalled", 1)),
        ("killed", {}, ("cancelled", "killed", 1)),
        ("lost", {}, ("failed", "lost", 1)),
        ("not_started", {}, ("ready", "not_started", 1)),
    ],
)
def test_each_outcome_has_its_end(outcome: str, report: dict[str, Any], end: tuple[str, str, int]) -> None:
    """States stay few, the reason says the rest."""
    sim = one()
    sim.finish("a", outcome, message="m", log={"f": 1}, usage={"cpu_seconds": 1}, started_us=5, **report)
    assert seen(sim) == end
    (ended,) = [x for x in sim.all if isinstance(x, AttemptEnded)]
    assert (ended.message, ended.log, ended.usage, ended.started_us) == ("m", {"f": 1}, {"cpu_seconds": 1}, 5)
    check_invariants(sim.state)


def test_a_report_of_an_unknown_attempt_changes_nothing() -> None:
    """Told twice or told by a stranger: False, and not a single change."""
    sim = one()
    attempt = sim.running("a").attempt
    assert sim.report(attempt) is True
    before = len(sim.all)
    assert sim.report(attempt, "failed") is False
    assert sim.report(999) is False
    assert len(sim.all) == before


def test_a_failure_is_retried_after_its_wait_and_no_more_often_than_allowed() -> None:
    """Three executions at 5, then 10 seconds' distance; then it is failed."""
    sim = one(retry=Retry(3, 5.0, 2.0))
    for number, wait in ((1, 5), (2, 10)):
        sim.finish("a", "failed")
        assert seen(sim) == ("waiting", "retry", number)
        assert sim.state.next_due_us() == sim.now + wait * SECOND
        assert [b.name for b in blockers(sim.state, sim.state.tasks[1], sim.now)] == ["backoff"]
        check_invariants(sim.state)
        sim.advance(wait - 0.001)
        assert sim.dispatch() == []
        sim.advance(0.001)
        assert sim.row("a").reason == "released"
        assert [start.number for start in sim.dispatch()] == [number + 1]
    sim.finish("a", "failed")
    assert seen(sim) == ("failed", "exit_code", 3)
    assert sim.row("b").state == "skipped"


@pytest.mark.parametrize("outcome", ["failed", "timed_out", "stalled"])
def test_failures_timeouts_and_stalls_are_retried(outcome: str) -> None:
    """Without exit codes named, any failure is."""
    sim = one(retry=Retry(2))
    sim.finish("a", outcome)
    sim.advance(0)
    assert sim.dispatch()[0].job == "a"


@pytest.mark.parametrize(
    ("outcome", "report", "state"),
    [
        ("failed", {"exit_code": 75}, "waiting"),
        ("failed", {"exit_code": 1}, "failed"),
        ("timed_out", {}, "failed"),
    ],
)
def test_named_exit_codes_alone_are_retried(outcome: str, report: dict[str, Any], state: str) -> None:
    """Another code, or an end without one, is final."""
    sim = one(retry=Retry(2, exit_codes=(75, 76)))
    sim.finish("a", outcome, **report)
    assert sim.row("a").state == state


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 5000), st.integers(1, 99), st.floats(0, 100), st.floats(0.5, 100), st.floats(0, 1))
def test_the_wait_stays_in_its_bounds(attempts: int, task: int, base: float, factor: float, jitter: float) -> None:
    """Backoff times a power, at most max_backoff, spread by the jitter; the same for the same attempt; no overflow."""
    rule = Retry(9, base, factor, jitter, 60.0)
    wait = backoff_seconds(rule, attempts, task)
    assert 0 <= wait <= 60 * (1 + jitter) + 1e-6
    assert wait == backoff_seconds(rule, attempts, task)
    if attempts == 1:
        assert min(base, 60) * (1 - jitter) - 1e-6 <= wait <= min(base, 60) * (1 + jitter) + 1e-6


def test_no_backoff_stays_none_however_often() -> None:
    """The thousandth retry of a factor of two is not an overflow."""
    assert backoff_seconds(Retry(5000, 0.0, 2.0), 3000, 1) == 0
    assert backoff_seconds(Retry(5000, 1.0, 2.0), 3000, 1) == 3600


def test_jitter_differs_between_tasks() -> None:
    """A hundred failed together do not come back together."""
    rule = Retry(2, 10.0, jitter=0.5)
    assert len({backoff_seconds(rule, 1, task) for task in range(100)}) > 90


def test_a_start_that_never_happened_does_not_use_up_a_retry() -> None:
    """Nothing ran: back in line at once, and the wait after a failure is still the first."""
    sim = one(retry=Retry(2, 5.0, 2.0))
    sim.finish("a", "not_started")
    assert sim.dispatch()[0].number == 2
    sim.finish("a", "failed")
    assert sim.state.next_due_us() == sim.now + 5 * SECOND
    sim.advance(5)
    sim.dispatch()
    sim.finish("a", "failed")
    assert seen(sim) == ("failed", "exit_code", 3)
    check_invariants(sim.state)


@pytest.mark.parametrize(
    ("rule", "state", "reason"),
    [("retry", "waiting", "lost"), ("fail", "failed", "lost"), ("hold", "waiting", "held_after_loss")],
)
def test_the_jobs_rule_decides_after_a_loss(rule: str, state: str, reason: str) -> None:
    """An unknowable outcome is never guessed."""
    sim = one(on_lost=rule)
    sim.finish("a", "lost", message="worker gone")
    assert seen(sim)[:2] == (state, reason)
    assert sim.row("a").message == "worker gone"
    sim.advance(0)
    assert len(sim.dispatch()) == (rule == "retry")
    check_invariants(sim.state)


def test_the_third_loss_holds_the_task_until_an_operator_speaks() -> None:
    """A task that takes its worker down again and again is not started for ever, not even across restarts."""
    sim = one(on_lost="retry")
    for _ in range(2):
        sim.finish("a", "lost")
        sim.state = sim.restarted()
        sim.advance(0)
        sim.dispatch()
    sim.finish("a", "lost")
    assert seen(sim) == ("waiting", "held_after_loss", 3)
    assert [b.name for b in blockers(sim.state, sim.state.tasks[1], sim.now)] == ["hold"]
    sim.advance(9999)
    assert sim.dispatch() == []
    check_invariants(sim.state)
    sim.unhold(1)
    assert sim.dispatch()[0].number == 4
    sim.finish("a")
    assert sim.drain() == ["b"]


def test_losses_do_not_use_up_the_retries() -> None:
    """A lost attempt is the engine's trouble, not the job's."""
    sim = one(on_lost="retry", retry=Retry(2))
    for outcome in ("lost", "failed"):
        sim.finish("a", outcome)
        sim.state = sim.restarted()
        sim.advance(0)
        assert sim.dispatch()[0].job == "a"
    sim.finish("a", "failed")
    assert seen(sim) == ("failed", "exit_code", 3)


@pytest.mark.parametrize("outcome", ["killed", "failed", "timed_out", "lost", "not_started"])
def test_a_kill_ends_in_cancelled_and_is_never_retried(outcome: str) -> None:
    """However the end is reported, the operator's word stands; what needed the task is skipped."""
    sim = one(retry=Retry(5), on_lost="retry", grace_seconds=7.0)
    sim.kill(sim.task("a"), why="wrong data")
    assert (sim.kills[0].attempt, sim.kills[0].grace_seconds, sim.kills[0].why) == (1, 7.0, "wrong data")
    assert sim.row("a").state == "running", "its end comes with the worker's report"
    sim.finish("a", outcome)
    assert seen(sim)[:2] == ("cancelled", "killed")
    assert sim.row("a").message == "wrong data"
    assert sim.row("b").reason == "upstream_cancelled"
    assert sim.run_states[1] == "cancelled"
    check_invariants(sim.state)


@pytest.mark.parametrize(("given_grace", "grace"), [(None, 7.0), (0.0, 0.0), (3.0, 3.0)])
def test_the_grace_given_wins_over_the_jobs(given_grace: float | None, grace: float) -> None:
    """Zero is a grace too: kill it now."""
    sim = one(grace_seconds=7.0)
    sim.kill(sim.task("a"), given_grace)
    assert sim.kills[0].grace_seconds == grace


def test_a_success_that_came_before_the_kill_stands() -> None:
    """What has been done is not called undone."""
    sim = one()
    sim.kill(sim.task("a"))
    sim.finish("a", output=1)
    assert sim.states() == {"a": "succeeded", "b": "ready"}


def test_killing_what_has_not_started_cancels_it_at_once() -> None:
    """Waiting, ready or backing off: no report is waited for."""
    sim = Sim(Slots(1, 1))
    sim.submit(a_job("a", retry=Retry(2, 60.0)), a_job("b", ["a"]), a_job("c", {"b": "done"}), a_job("r"))
    sim.dispatch()
    sim.finish("a", "failed")
    for job in ("r", "b", "a"):
        if sim.row(job).state == "running":
            sim.finish(job, "not_started")
        sim.kill(sim.task(job))
        assert (sim.row(job).state, sim.row(job).reason) == ("cancelled", "cancelled")
        check_invariants(sim.state)
    assert not sim.kills
    assert sim.row("b").message == "killed by test"
    sim.advance(100)
    assert sim.drain() == ["c"]
    assert sim.run_states[1] == "cancelled"


def test_killing_everything_leaves_what_has_not_started() -> None:
    """A stopping engine ends what runs; the next engine starts the rest."""
    from engine.kernel import acts

    sim = Sim(Slots(0, 2))
    sim.submit(*[a_job(f"i{n}") for n in range(3)])
    sim.dispatch()
    out = Decisions()
    assert out.is_empty
    assert acts.kill_everything(sim.state, out, "stop") == 2
    assert [kill.why for kill in out.kills] == ["stop", "stop"]
    assert not out.is_empty
    assert sim.states() == {"i0": "running", "i1": "running", "i2": "ready"}
