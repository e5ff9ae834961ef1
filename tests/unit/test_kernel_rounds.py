"""Runs: cancelling, waiting for other runs, retries by hand and their rounds, rebirth from the rows."""

from __future__ import annotations

import pytest

from engine.model.changes import RoundAdded, RunChanged
from engine.model.config import Slots
from engine.model.workflow import Command
from tests.builders import Sim, a_job, a_workflow, check_invariants
from tests.unit.test_kernel_machine import picture


def test_a_run_is_queued_then_running_then_over() -> None:
    """Each change of the run is on record once, with its times."""
    sim = Sim()
    run = sim.submit(a_job("a"))
    assert sim.run_states[run] == "queued"
    sim.drain()
    changed = [x for x in sim.all if isinstance(x, RunChanged)]
    assert [(x.before, x.state, x.started_us, x.ended_us) for x in changed] == [
        ("queued", "running", sim.now, None),
        ("running", "succeeded", None, sim.now),
    ]
    assert not sim.state.runs
    assert sim.rounds == {(run, 1): "succeeded"}


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        (["succeeded", "succeeded"], "succeeded"),
        (["succeeded", "failed"], "failed"),
        (["killed", "failed"], "failed"),
        (["killed", "succeeded"], "cancelled"),
    ],
)
def test_the_worst_task_names_the_run(ends: list[str], verdict: str) -> None:
    """Failed before cancelled before succeeded."""
    sim = Sim()
    run = sim.submit(a_job("a"), a_job("b"))
    sim.dispatch()
    sim.finish("a", ends[0])
    sim.finish("b", ends[1])
    assert sim.run_states[run] == verdict


def test_cancelling_a_run_ends_what_has_not_started_and_kills_the_rest() -> None:
    """Waiting and ready tasks end at once; the run ends with the running one's report."""
    sim = Sim(Slots(0, 1))
    run = sim.submit(a_job("a"), a_job("r"), a_job("w", ["a"]), a_job("d", {"w": "done"}))
    sim.dispatch()
    assert sim.cancel(run, "no need") == 4
    assert sim.states() == {"a": "running", "r": "cancelled", "w": "cancelled", "d": "cancelled"}
    assert (sim.row("w").message, [kill.why for kill in sim.kills]) == ("no need", ["no need"])
    check_invariants(sim.state)
    assert sim.dispatch() == []
    sim.finish("a", "killed")
    assert sim.run_states[run] == "cancelled"
    check_invariants(sim.state)


def test_cancelling_a_run_that_has_not_started_ends_it_at_once() -> None:
    """Its places are free, and who waits for it is answered."""
    sim = Sim()
    first = sim.submit(a_job("a"), a_job("b", ["a"]))
    second = sim.submit(a_job("x"), after=[(first, "succeeded")])
    assert sim.cancel(first) == 2
    assert (sim.run_states[first], sim.run_states[second]) == ("cancelled", "skipped")
    assert sim.row("x", second).reason == "upstream_cancelled"
    check_invariants(sim.state)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(
    ("when", "end", "state", "reason"),
    [
        ("succeeded", "succeeded", "ready", "released"),
        ("succeeded", "failed", "skipped", "upstream_failed"),
        ("failed", "failed", "ready", "released"),
        ("failed", "succeeded", "skipped", "upstream_succeeded"),
        ("done", "killed", "ready", "released"),
        ("succeeded", "killed", "skipped", "upstream_cancelled"),
    ],
)
def test_a_run_waits_for_another(when: str, end: str, state: str, reason: str, early: bool) -> None:
    """Whether it was asked for before the other ended or after."""
    sim = Sim()
    first = sim.submit(a_job("a"))
    sim.dispatch()
    if not early:
        sim.finish("a", end)
    second = sim.submit(a_job("x"), a_job("y", ["x"]), after=[(first, when)])
    if early:
        assert sim.states(second) == {"x": "waiting", "y": "waiting"}
        sim.state = sim.restarted()
        check_invariants(sim.state)
        sim.finish("a", end)
    assert (sim.row("x", second).state, sim.row("x", second).reason) == (state, reason)
    assert sim.row("x", second).added.queue == "dependent"
    check_invariants(sim.state)
    sim.drain()
    assert sim.run_states[second] == ("succeeded" if state == "ready" else "skipped")
    assert not sim.state.awaiting


def test_a_run_waits_for_every_run_it_names() -> None:
    """One of two is not enough; one that fails is."""
    sim = Sim()
    ids = [sim.submit(a_job(name)) for name in "abc"]
    both = sim.submit(a_job("x"), after=[(ids[0], "done"), (ids[1], "succeeded")])
    one = sim.submit(a_job("y"), after=[(ids[0], "failed"), (ids[2], "done")])
    sim.dispatch()
    sim.finish("a")
    assert (sim.row("x", both).state, sim.run_states[one]) == ("waiting", "skipped")
    sim.finish("b")
    sim.finish("c")
    assert sim.row("x", both).state == "ready"
    check_invariants(sim.state)


def test_two_thousand_runs_in_a_row_end_with_the_first() -> None:
    """A chain of waiting runs is followed without recursion."""
    sim = Sim()
    first = sim.submit(a_job("a"))
    for run in range(first, 2000):
        sim.submit(a_job("x"), after=[(run, "succeeded")])
    sim.dispatch()
    sim.finish("a", "failed")
    assert set(sim.run_states.values()) == {"failed", "skipped"}
    assert sim.row("x", 900).reason == "upstream_skipped"
    assert not sim.state.runs


def test_a_retry_by_hand_opens_a_round_for_what_failed_and_what_was_skipped_for_it() -> None:
    """New tasks in a new round; what succeeded stays; each round's end is recorded once."""
    sim = Sim()
    run = sim.submit(a_job("ok"), a_job("a", ["ok"]), a_job("b", ["a"]), a_job("c", ["b"]), a_job("d", {"a": "done"}))
    sim.dispatch()
    sim.finish("ok", output="kept")
    for _ in range(2):
        sim.dispatch()
        if sim.state.attempts:
            sim.finish(next(iter(sim.state.attempts.values())).node.job.name, "failed")
    old = {job: sim.task(job) for job in ("ok", "a", "b", "c", "d")}
    assert sim.run_states[run] == "failed"
    made = sim.retry(run)
    assert {sim.rows[id].added.job for id in made} == {"a", "b", "c", "d"}
    assert {sim.rows[id].added.round for id in made} == {2}
    assert sim.task("ok") == old["ok"]
    assert sim.rows[old["a"]].state == "failed", "final means final"
    check_invariants(sim.state)
    assert sim.drain() == ["a", "d", "b", "c"]
    assert sim.rounds == {(run, 1): "failed", (run, 2): "succeeded"}
    assert len([x for x in sim.all if isinstance(x, RoundAdded)]) == 2


def test_a_round_may_have_a_round() -> None:
    """Each is retried from what the last one left."""
    sim = Sim()
    run = sim.submit(a_job("a"), a_job("b", ["a"]))
    for _ in range(3):
        sim.drain("failed")
        assert [sim.rows[id].added.job for id in sim.retry(run)] == ["a", "b"]
        check_invariants(sim.state)
    sim.drain()
    assert sim.rounds == {(run, 1): "failed", (run, 2): "failed", (run, 3): "failed", (run, 4): "succeeded"}
    assert sim.retry(run) == [], "nothing failed"
    check_invariants(sim.state)


def test_one_failed_item_is_retried_alone() -> None:
    """The others' outputs stay, in item order."""
    sim = Sim()
    run = sim.submit(a_job("a", each=["x", "y", "z"]), a_job("b", ["a"], each="{{ needs.a.output }}"))
    sim.dispatch()
    for item, end in enumerate(["succeeded", "failed", "succeeded"]):
        sim.finish(sim.task("a", item=item), end, output=f"o{item}")
    made = sim.retry(run)
    assert [sim.rows[id].item for id in made] == [1, None]
    sim.dispatch()
    sim.finish(made[0], output="new")
    assert [sim.row("b", item=n).item_value for n in range(3)] == ["o0", "new", "o2"]
    check_invariants(sim.state)


def test_a_named_retry_of_what_cannot_run_is_skipped_again() -> None:
    """The round ends at once and says why; its cause keeps its own reason."""
    sim = Sim()
    run = sim.submit(a_job("a"), a_job("b", {"a": "failed"}), a_job("c", ["b"]))
    sim.drain()
    assert sim.run_states[run] == "succeeded"
    assert len(sim.retry(run, sim.task("b"))) == 2
    assert (sim.row("b").reason, sim.row("c").reason) == ("upstream_succeeded", "upstream_skipped")
    assert sim.rounds[run, 2] == "succeeded"
    check_invariants(sim.state)


def test_a_named_retry_runs_a_succeeded_task_again() -> None:
    """By name anything final may be asked for; what depends on it stays as it is."""
    sim = Sim()
    run = sim.submit(a_job("a"), a_job("b", ["a"]))
    sim.drain()
    assert len(sim.retry(run, sim.task("a"))) == 1
    assert sim.drain() == ["a"]
    assert sim.retry(run, 999) == []


def test_a_failed_expansion_is_tried_anew() -> None:
    """A stand-in that was never expanded is one again in the next round."""
    sim = Sim()
    run = sim.submit(a_job("a"), a_job("b", ["a"], each="{{ needs.a.output }}"))
    sim.dispatch()
    sim.finish("a", output="no list")
    made = sim.retry(run, sim.task("a"), sim.task("b"))
    sim.dispatch()
    sim.finish(made[0], output=[1, 2])
    assert sim.states()["b"] == ["ready", "ready"]
    check_invariants(sim.state)


def test_what_awaited_a_run_is_not_woken_twice_by_its_next_round() -> None:
    """A waiting run is answered by the round it waited for."""
    sim = Sim(Slots(1, 1, False))
    first = sim.submit(a_job("a"))
    sim.dispatch()
    second = sim.submit(a_job("x"), a_job("y"), after=[(first, "done")])
    sim.finish("a", "failed")
    sim.dispatch()
    sim.retry(first)
    sim.state = sim.restarted()
    check_invariants(sim.state)
    assert sim.states(second) == {"x": "running", "y": "ready"}
    sim.drain()
    assert sim.run_states[second] == "succeeded"


def test_a_new_engine_goes_on_where_the_old_one_stood() -> None:
    """Running, backing off, ready, held and waiting: the same counters, blockers and next starts."""
    sim = Sim(Slots(2, 3, False))
    jobs = [a_job(f"i{n}", on_lost="hold", priority=n % 3) for n in range(6)]
    sim.submit(a_workflow(*jobs, a_job("s"), a_job("e", ["s"], each="{{ needs.s.output }}"), a_job("z", ["e", "i0"])))
    sim.submit(a_job("n", action=Command(("x",))), after=[(1, "done")])
    sim.dispatch()
    sim.finish("i2", "lost")
    sim.dispatch()
    sim.finish("i5", "not_started")
    born = sim.restarted()
    check_invariants(born)
    assert picture(born) == picture(sim.state)
    living = [start.job for start in sim.dispatch()]
    sim.state = born
    other = Sim()
    other.state, other.take = born, lambda out: None  # type: ignore[method-assign]
    assert [start.job for start in other.dispatch()] == living
