"""Edges: when a job's prerequisites are met, when they no longer can be, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from engine.model.workflow import Call, Command
from tests.builders import WIDE, Sim, a_job, a_workflow, check_invariants

ENDS = {"succeeded": "succeeded", "failed": "failed", "cancelled": "killed"}


@pytest.mark.parametrize(
    ("when", "end", "state", "reason"),
    [
        ("succeeded", "succeeded", "ready", "released"),
        ("succeeded", "failed", "skipped", "upstream_failed"),
        ("succeeded", "cancelled", "skipped", "upstream_cancelled"),
        ("failed", "succeeded", "skipped", "upstream_succeeded"),
        ("failed", "failed", "ready", "released"),
        ("failed", "cancelled", "skipped", "upstream_cancelled"),
        ("done", "succeeded", "ready", "released"),
        ("done", "failed", "ready", "released"),
        ("done", "cancelled", "ready", "released"),
    ],
)
def test_each_condition_on_one_task(when: str, end: str, state: str, reason: str) -> None:
    """A met condition readies the dependent at once, an impossible one skips it with the reason."""
    sim = Sim()
    sim.submit(a_job("a"), a_job("b", {"a": when}))
    assert sim.states() == {"a": "ready", "b": "waiting"}
    sim.dispatch()
    sim.finish("a", ENDS[end])
    assert (sim.row("b").state, sim.row("b").reason) == (state, reason)
    check_invariants(sim.state)


@pytest.mark.parametrize(
    ("when", "ends", "states"),
    [
        ("succeeded", ["succeeded", "succeeded"], ["waiting", "ready"]),
        ("succeeded", ["failed", "succeeded"], ["skipped", "skipped"]),
        ("failed", ["succeeded", "succeeded"], ["waiting", "skipped"]),
        ("failed", ["failed", "succeeded"], ["waiting", "ready"]),
        ("failed", ["killed", "killed"], ["waiting", "skipped"]),
        ("done", ["failed", "killed"], ["waiting", "ready"]),
    ],
)
def test_each_condition_on_items(when: str, ends: list[str], states: list[str]) -> None:
    """`succeeded` wants every item, `failed` all final and one failed, `done` all final."""
    sim = Sim()
    sim.submit(a_job("a", each=["x", "y"]), a_job("b", {"a": when}))
    sim.dispatch()
    seen = []
    for item, end in enumerate(ends):
        sim.finish(sim.task("a", item=item), end)
        seen.append(sim.row("b").state.value)
    assert seen == states
    check_invariants(sim.state)


@pytest.mark.parametrize(("when", "state"), [("succeeded", "ready"), ("done", "ready"), ("failed", "skipped")])
@pytest.mark.parametrize("each", [[], "{{ params.none }}", "{{ needs.s.output }}"])
def test_no_items_count_as_all_of_them(each: Any, when: str, state: str) -> None:
    """None counts as all for `succeeded`; its output is the empty list."""
    sim = Sim()
    sim.submit(
        a_workflow(a_job("s"), a_job("a", ["s"], each=each), a_job("b", {"a": when}), parameters={"none": []}),
    )
    sim.dispatch()
    sim.finish("s", output=[])
    assert (sim.row("a").state, sim.row("a").reason) == ("succeeded", "no_items")
    assert sim.row("b").state == state
    check_invariants(sim.state)


def test_a_static_list_without_items_ends_a_run_of_its_own() -> None:
    """Nothing to do is a success."""
    sim = Sim()
    run = sim.submit(a_job("a", each=[]))
    assert sim.run_states[run] == "succeeded"
    check_invariants(sim.state)


def test_skips_cascade_with_their_reasons() -> None:
    """Each skipped job says what its own prerequisite was; a `done` behind it still runs."""
    sim = Sim()
    sim.submit(a_job("a"), a_job("b", ["a"]), a_job("c", ["b"]), a_job("d", {"c": "done"}), a_job("e", {"b": "failed"}))
    sim.dispatch()
    sim.finish("a", "failed")
    assert {job: sim.row(job).reason for job in "bcde"} == {
        "b": "upstream_failed",
        "c": "upstream_skipped",
        "d": "released",
        "e": "upstream_skipped",
    }
    assert sim.row("b").message == "a can no longer be succeeded"
    assert sim.drain() == ["d"]
    assert sim.run_states[1] == "failed"
    check_invariants(sim.state)


def test_a_failure_among_items_skips_at_once_while_others_still_run() -> None:
    """What cannot come true any more does not wait for the rest; the run ends only with them."""
    sim = Sim()
    run = sim.submit(a_job("a", each=[1, 2]), a_job("b", ["a"]))
    sim.dispatch()
    sim.finish(sim.task("a", item=0), "failed")
    assert sim.states() == {"a": ["failed", "running"], "b": "skipped"}
    assert sim.run_states[run] == "running"
    sim.finish(sim.task("a", item=1))
    assert sim.run_states[run] == "failed"
    check_invariants(sim.state)


def test_a_join_waits_for_all_of_its_needs() -> None:
    """One met prerequisite of two is not enough."""
    sim = Sim()
    sim.submit(a_job("a"), a_job("b"), a_job("c", ["a", "b"]))
    sim.dispatch()
    sim.finish("a")
    assert sim.row("c").state == "waiting"
    check_invariants(sim.state)
    sim.finish("b")
    assert sim.row("c").state == "ready"


def test_a_dynamic_each_becomes_one_task_for_each_item() -> None:
    """The stand-in becomes the first item; each task gets its own."""
    sim = Sim()
    job = a_job("b", ["a"], each="{{ needs.a.output.parts }}", action=Command(("scan", "{{ item.f }}")))
    sim.submit(a_job("a"), job)
    stand_in = sim.task("b")
    sim.dispatch()
    sim.finish("a", output={"parts": [{"f": "x"}, {"f": "y"}, {"f": "z"}]})
    assert sim.states()["b"] == ["ready"] * 3
    assert sim.task("b", item=0) == stand_in
    assert [start.argv for start in sim.dispatch()] == [("scan", "x"), ("scan", "y"), ("scan", "z")]
    check_invariants(sim.state, dispatched=True)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({"parts": {"a": 1}}, "is dict, not a list"),
        ({"parts": "text"}, "is str, not a list"),
        ({}, "no 'parts' in needs.a.output (dict)"),
        (None, "no 'parts' in needs.a.output (nothing)"),
    ],
)
def test_a_dynamic_each_of_no_list_fails_and_says_what_it_found(output: Any, words: str) -> None:
    """The job fails, not the engine; what needed it is skipped."""
    sim = Sim()
    sim.submit(a_job("a"), a_job("b", ["a"], each="{{ needs.a.output.parts }}"), a_job("c", ["b"]))
    sim.dispatch()
    sim.finish("a", output=output)
    assert (sim.row("b").state, sim.row("b").reason) == ("failed", "each_invalid")
    assert words in sim.row("b").message
    assert sim.row("c").reason == "upstream_failed"
    assert sim.run_states[1] == "failed"
    check_invariants(sim.state)


@pytest.mark.parametrize("each", [5, "{{ params.no }}", "{{ params.n }}"])
def test_an_each_that_never_was_a_list_fails_at_once(each: Any) -> None:
    """The run ends as failed instead of waiting for ever."""
    sim = Sim()
    run = sim.submit(a_workflow(a_job("a", each=each), parameters={"n": 1}))
    assert (sim.row("a").reason, sim.run_states[run]) == ("each_invalid", "failed")
    check_invariants(sim.state)


def test_an_each_is_expanded_when_its_source_is_final_though_more_is_needed() -> None:
    """Its items are on show early, but wait for the other prerequisite."""
    sim = Sim()
    sim.submit(a_job("a"), a_job("z"), a_job("b", ["a", "z"], each="{{ needs.a.output }}"))
    sim.dispatch()
    sim.finish("a", output=[1, 2])
    assert sim.states()["b"] == ["waiting", "waiting"]
    check_invariants(sim.state)
    sim.finish("z")
    assert sim.states()["b"] == ["ready", "ready"]


def test_a_static_each_is_known_at_once_and_its_templates_are_filled() -> None:
    """A list in the file may name parameters, and even outputs."""
    sim = Sim()
    early = a_job("a", each=["{{ params.n }}", "k", 3], action=Command(("echo", "{{ item }}")))
    late = a_job("b", ["a"], each=["{{ needs.a.output }}", "end"])
    sim.submit(a_workflow(early, late, parameters={"n": 7}))
    assert [sim.row("a", item=n).item_value for n in range(3)] == [7, "k", 3]
    assert [start.argv for start in sim.dispatch()] == [("echo", "7"), ("echo", "k"), ("echo", "3")]
    for item in (2, 0, 1):
        sim.finish(sim.task("a", item=item), output=f"o{item}")
    assert sim.row("b", item=0).item_value == ["o0", "o1", "o2"], "outputs stand in item order"
    check_invariants(sim.state)


def test_templates_reach_arguments_environment_and_folder_with_their_types() -> None:
    """Arguments keep types; argv, env and cwd are text."""
    action = Call("m", "f", arguments={"n": "{{ needs.a.output.n }}", "l": ["{{ params.l }}"], "s": "v{{ params.l }}"})
    call = a_job("b", ["a"], action=action, env={"N": "{{ needs.a.output.n }}"}, cwd="{{ params.d }}/x")
    sim = Sim()
    trigger = {"scheduled": "today", "file": "f.gz"}
    run = sim.submit(a_workflow(a_job("a"), call, parameters={"l": [1], "d": "w"}), trigger=trigger)
    (first,) = sim.dispatch()
    assert (first.argv, first.call, first.cwd, first.context["needs"]) == (("true",), None, None, {})
    sim.finish("a", output={"n": 4})
    (start,) = sim.dispatch()
    assert start.call["arguments"] == {"n": 4, "l": [[1]], "s": "v[1]"}
    assert (start.env, start.cwd, start.argv) == ({"N": "4"}, "w/x", ())
    assert start.context["needs"] == {"a": {"output": {"n": 4}}}
    assert (start.context["run"], start.context["attempt"]) == (f"r{run}", f"t{start.task}.1")
    assert (start.context["scheduled"], start.context["file"]) == ("today", "f.gz")


def test_given_parameters_replace_the_workflows_own() -> None:
    """What the operator gave wins, what was not given stays."""
    sim = Sim()
    job = a_job("a", action=Command(("{{ params.x }}", "{{ params.y }}")))
    sim.submit(a_workflow(job, parameters={"x": 1, "y": 2}), parameters={"x": "z"})
    assert sim.dispatch()[0].argv == ("z", "2")


def test_a_template_that_cannot_be_filled_fails_the_task_without_an_attempt() -> None:
    """Nothing is started, and the next task in line is not held up."""
    sim = Sim()
    sim.submit(a_job("a", action=Command(("{{ params.no }}",))), a_job("b", {"a": "failed"}), a_job("z"))
    assert {start.job for start in sim.dispatch()} == {"z", "b"}
    assert (sim.row("a").reason, sim.row("a").attempts) == ("bad_template", 0)
    assert sim.row("b").state == "running"
    check_invariants(sim.state, dispatched=True)


def test_a_chain_of_three_thousand_runs_in_order() -> None:
    """No recursion: a chain may be as long as it likes."""
    sim = Sim()
    names = [f"j{n}" for n in range(3000)]
    sim.submit(*[a_job(name, names[n - 1 : n] if n else []) for n, name in enumerate(names)])
    assert sim.drain() == names
    assert sim.run_states[1] == "succeeded"
    check_invariants(sim.state)


def test_a_failure_at_the_head_skips_a_chain_of_three_thousand() -> None:
    """A cascade is followed to its end in one turn."""
    sim = Sim()
    sim.submit(*[a_job(f"j{n}", [f"j{n - 1}"] if n else []) for n in range(3000)])
    sim.dispatch()
    sim.finish("j0", "failed")
    assert sim.run_states[1] == "failed"
    check_invariants(sim.state)


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_fan_of_1998_opens_and_closes(dynamic: bool) -> None:
    """1 -> 1998 -> 1, as jobs and as items."""
    sim = Sim(WIDE)
    if dynamic:
        middle, ends = [a_job("m", ["a"], each="{{ needs.a.output }}")], ["m"]
    else:
        ends = [f"m{n}" for n in range(1998)]
        middle = [a_job(name, ["a"]) for name in ends]
    sim.submit(a_job("a"), *middle, a_job("z", ends))
    sim.dispatch()
    sim.finish("a", output=list(range(1998)))
    assert len(sim.dispatch()) == 1998
    assert sim.row("z").state == "waiting"
    assert sim.drain() == ["z"]
    assert sim.run_states[1] == "succeeded"
    check_invariants(sim.state)
