"""Queues: order, quotas, lending, pools, switches; and what `why` says about each."""

from __future__ import annotations

from typing import Any

import pytest

from engine.kernel.blockers import blockers
from engine.model.config import Slots
from engine.model.workflow import Call, Job, Pool
from tests.builders import Sim, a_job, check_invariants


def on_pool(name: str, pool: Pool, needs: Any = (), **kinds: Any) -> Job:
    return a_job(name, needs, action=Call("m", "f", pool), **kinds)


def why(sim: Sim, job: str, run: int = 1) -> list[str]:
    return [b.name for b in blockers(sim.state, sim.state.tasks[sim.task(job, run)], sim.now)]


def test_higher_priority_starts_first_then_first_come() -> None:
    """The run's priority adds to the job's; equal ones keep their order."""
    sim = Sim(Slots(0, 1, False))
    sim.submit(a_job("a"), a_job("b", priority=5), a_job("c"), a_job("d", priority=5))
    sim.submit(a_job("e"), priority=6)
    assert sim.drain() == ["e", "b", "d", "a", "c"]
    check_invariants(sim.state)


def test_priority_holds_across_the_queues() -> None:
    """The last seat goes to whichever queue's head is more urgent."""
    sim = Sim(Slots(1, 1))
    sim.submit(a_job("first"), a_job("d", ["first"], priority=1))
    sim.dispatch()
    sim.submit(a_job("i0", priority=9), a_job("i1"))
    assert [start.job for start in sim.dispatch()] == ["i0"]
    sim.finish("first")
    sim.submit(a_job("i2", priority=7))
    assert [start.job for start in sim.dispatch()] == ["d"], "its own quota comes before lent seats"
    sim.finish("d")
    assert [start.job for start in sim.dispatch()] == ["i2"]


def test_a_changed_priority_moves_a_ready_task() -> None:
    """The old place in line is forgotten; a waiting task has none yet."""
    sim = Sim(Slots(0, 1))
    sim.submit(a_job("a"), a_job("b"), a_job("c", ["a"]))
    task, waiting = sim.state.tasks[sim.task("b")], sim.state.tasks[sim.task("c")]
    for each in (task, waiting):
        each.priority = 4
        sim.state.queues[each.queue].reprioritised(each)
    assert [start.job for start in sim.dispatch()] == ["b"]
    task.priority = 0
    assert sim.drain() == ["a", "c"]


def test_a_lowered_priority_leaves_the_old_place_in_line() -> None:
    """The better place it had is dropped when it comes up."""
    sim = Sim(Slots(0, 1))
    sim.submit(a_job("a", priority=5), a_job("b", priority=3))
    task = sim.state.tasks[sim.task("a")]
    task.priority = 1
    sim.state.queues[task.queue].reprioritised(task)
    assert sim.drain() == ["b", "a"]


def test_lending_fills_every_seat_and_gives_them_back() -> None:
    """What one queue does not use the other takes; a freed seat serves the owner's quota first."""
    sim = Sim(Slots(2, 2))
    sim.submit(*[a_job(f"i{n}") for n in range(6)], a_job("d0", ["i0"]), a_job("d1", ["i0"]))
    assert len(sim.dispatch()) == 4
    check_invariants(sim.state, dispatched=True)
    sim.finish("i0")
    assert [start.job for start in sim.dispatch()] == ["d0"], "the dependent queue is below its quota"
    check_invariants(sim.state, dispatched=True)


def test_without_lending_a_queue_keeps_to_its_slots() -> None:
    """The other queue's seats stay free, and `why` says so."""
    sim = Sim(Slots(2, 2, lending=False))
    sim.submit(*[a_job(f"i{n}") for n in range(4)])
    assert len(sim.dispatch()) == 2
    assert why(sim, "i3") == ["slots"]
    check_invariants(sim.state, dispatched=True)


def test_a_lent_seat_is_never_more_than_the_pool_has() -> None:
    """Running attempts never exceed the seats, whoever asks."""
    sim = Sim(Slots(1, 1))
    sim.submit(*[a_job(f"i{n}") for n in range(5)])
    assert len(sim.dispatch()) == 2
    assert sim.dispatch() == []
    assert why(sim, "i4") == ["slots"]
    assert why(sim, "i0") == [], "a running task has no blockers"


def test_a_head_whose_pool_is_full_delays_nobody() -> None:
    """A task of another pool passes it, however low its priority."""
    sim = Sim(Slots(4, 4, process=1))
    sim.submit(
        on_pool("p0", Pool.PROCESS, priority=9), on_pool("p1", Pool.PROCESS, priority=9), on_pool("t", Pool.THREAD)
    )
    assert [start.job for start in sim.dispatch()] == ["p0", "t"]
    assert why(sim, "p1") == ["pool"]
    check_invariants(sim.state, dispatched=True)
    sim.finish("p0")
    assert [start.job for start in sim.dispatch()] == ["p1"]


@pytest.mark.parametrize(("pool", "slot"), [(p, p.value if p is not Pool.ASYNC else "asyncio") for p in Pool])
def test_every_pool_has_its_cap(pool: Pool, slot: str) -> None:
    """Each figure caps its own pool, over both queues together."""
    sim = Sim(Slots(4, 4, **{slot: 1}))
    action: dict[str, Any] = {} if pool is Pool.COMMAND else {"action": Call("m", "f", pool)}
    sim.submit(a_job("a", **action), a_job("b", ["a"], **action))
    sim.dispatch()
    sim.finish("a")
    sim.submit(a_job("c", priority=1, **action))
    assert [start.job for start in sim.dispatch()] == ["c"]
    assert why(sim, "b") == ["pool"]
    check_invariants(sim.state, dispatched=True)


@pytest.mark.parametrize(("switch", "word"), [("paused", "queue_paused"), ("draining", "queue_draining")])
def test_a_switched_off_queue_starts_nothing_and_the_other_goes_on(switch: str, word: str) -> None:
    """What runs keeps running; resuming starts the rest."""
    sim = Sim()
    sim.submit(a_job("a"), a_job("b", ["a"]), a_job("c"))
    sim.dispatch()
    sim.switch("dependent", **{switch: True})
    sim.finish("a")
    assert sim.dispatch() == []
    assert why(sim, "b") == [word]
    sim.submit(a_job("other"))
    assert [start.job for start in sim.dispatch()] == ["other"]
    check_invariants(sim.state, dispatched=True)
    sim.switch("dependent", **{switch: False})
    assert [start.job for start in sim.dispatch()] == ["b"]
    assert [e.kind for e in sim.all if getattr(e, "data", {}) == {"queue": "dependent"}] == [
        f"queue.{switch}",
        "queue.resumed",
    ]


def test_a_switch_not_named_stays_as_it_is() -> None:
    """Pausing a draining queue does not end the drain."""
    sim = Sim()
    sim.switch("independent", draining=True)
    sim.switch("independent", paused=True)
    queue = sim.state.queues["independent"]
    assert (queue.paused, queue.draining) == (True, True)


def test_a_draining_engine_starts_nothing() -> None:
    """The next engine does."""
    sim = Sim()
    sim.submit(a_job("a"))
    sim.state.draining = True
    assert sim.dispatch() == []
    assert why(sim, "a") == ["engine_draining"]


def test_why_names_everything_a_waiting_task_waits_for() -> None:
    """Every blocker at once, from the predicates that block it."""
    sim = Sim()
    first = sim.submit(a_job("a"), a_job("b"), a_job("c", ["b", "a"]))
    second = sim.submit(a_job("x"), a_job("y", ["x"]), after=[(first, "done")])
    sim.switch("dependent", paused=True)
    texts = [b.text for b in blockers(sim.state, sim.state.tasks[sim.task("c")], sim.now)]
    assert texts == ["needs a", "needs b", "the dependent queue is paused; resume it"]
    assert why(sim, "x", second) == ["after", "queue_paused"]
    assert why(sim, "y", second) == ["prerequisite", "queue_paused"]


def test_a_seat_of_a_smaller_engine_is_not_given_twice() -> None:
    """Restarted with fewer slots, it waits until enough has ended."""
    sim = Sim(Slots(2, 2))
    sim.submit(*[a_job(f"i{n}") for n in range(6)])
    sim.dispatch()
    sim.state = sim.restarted(dependent=1, independent=1)
    assert sim.state.running == 4
    assert sim.dispatch() == []
    for job in ("i0", "i1", "i2"):
        sim.finish(job)
    assert len(sim.dispatch()) == 1
    check_invariants(sim.state, dispatched=True)
