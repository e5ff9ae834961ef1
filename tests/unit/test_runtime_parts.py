"""The parts of the runtime that need no loop: the catalog of workflows and the ways to stop."""

from __future__ import annotations

from engine.kernel.acts import resume_kills
from engine.model.changes import DefinitionAdded, EventAdded, WorkflowChanged
from engine.runtime.catalog import Catalog
from engine.runtime.stop import Stop
from tests.builders import Sim, a_job, a_workflow

NOW = 1


def rows(changes: list[object]) -> list[tuple[str, str]]:
    return [(x.name, x.state) for x in changes if isinstance(x, WorkflowChanged)]


def test_a_changed_definition_is_a_new_revision_and_an_old_one_is_found_again() -> None:
    """The same meaning is the same definition, whatever came between."""
    catalog, first, second = Catalog(1), a_workflow(a_job("a")), a_workflow(a_job("b"))
    assert [x.revision for x in catalog.loaded("w.yaml", first, NOW) if isinstance(x, DefinitionAdded)] == [1]
    assert [x.revision for x in catalog.loaded("w.yaml", second, NOW) if isinstance(x, DefinitionAdded)] == [2]
    again = catalog.loaded("w.yaml", first, NOW)
    assert not [x for x in again if isinstance(x, DefinitionAdded)]
    assert [x.definition for x in again if isinstance(x, WorkflowChanged)] == [1]
    assert catalog.loaded("w.yaml", first, NOW) == []


def test_what_an_edit_changed_is_in_the_event() -> None:
    """An operator reads which jobs came, went and changed."""
    catalog = Catalog(1)
    catalog.loaded("w.yaml", a_workflow(a_job("same"), a_job("gone"), a_job("other")), NOW)
    edited = a_workflow(a_job("same"), a_job("other", priority=5), a_job("new"))
    (event,) = [x for x in catalog.loaded("w.yaml", edited, NOW) if isinstance(x, EventAdded)]
    assert event.data["jobs"] == {"added": ["new"], "removed": ["gone"], "changed": ["other"]}


def test_a_broken_file_keeps_the_last_good_version_and_is_told_once() -> None:
    """The same problems again are no news."""
    catalog, good = Catalog(1), a_workflow(a_job("a"))
    catalog.loaded("w.yaml", good, NOW)
    told = catalog.broken("w.yaml", ("line 3",), NOW)
    assert rows(told) == [("w", "broken")]
    assert catalog.entries["w"].workflow == good
    assert catalog.broken("w.yaml", ("line 3",), NOW) == []
    assert rows(catalog.loaded("w.yaml", good, NOW)) == [("w", "active")]


def test_a_file_that_never_was_good_is_listed_by_its_path_until_it_is() -> None:
    """Then only the workflow is left, and no file was removed."""
    catalog = Catalog(1)
    assert rows(catalog.broken("w.yaml", ("line 1",), NOW)) == [("w.yaml", "broken")]
    mended = catalog.loaded("w.yaml", a_workflow(a_job("a")), NOW)
    assert rows(mended) == [("w.yaml", "removed"), ("w", "active")]
    assert [x.kind for x in mended if isinstance(x, EventAdded)] == ["file.loaded"]


def test_a_file_that_lost_its_name_to_another_stays_visible() -> None:
    """Nobody takes over a name in silence."""
    catalog, good = Catalog(1), a_workflow(a_job("a"))
    catalog.loaded("py.yaml", good, NOW)
    catalog.broken("py.yaml", ("the workflow name 'w' is taken by a.yaml",), NOW)
    assert rows(catalog.loaded("a.yaml", good, NOW)) == [("py.yaml", "broken"), ("w", "active")]
    assert catalog.entries["py.yaml"].problems
    assert catalog.entries["w"].path == "a.yaml"


def test_a_harder_stop_may_follow_a_softer_one_only() -> None:
    """Detach, then drain, then now."""
    stop = Stop(drain_seconds=10, kill_seconds=2)
    assert (stop.state, stop.is_complete(0, 0)) == ("running", False)
    assert stop.begin("drain", now=0)
    assert (stop.state, stop.is_complete(1, 0), stop.is_complete(0, 0)) == ("draining", False, True)
    assert not stop.is_overdue(9.9)
    assert not stop.begin("detach", now=5)
    assert stop.begin("now", now=5)
    assert stop.state == "stopping"
    assert [stop.is_overdue(5), stop.is_overdue(6)] == [True, False], "what runs is killed once"


def test_what_hangs_after_the_kill_is_left_to_the_next_engine() -> None:
    """A stopped worker cannot keep an engine that was told to go."""
    stop = Stop(10, kill_seconds=2)
    stop.begin("now", now=0)
    assert stop.is_overdue(0)
    assert [stop.is_complete(1, now) for now in (0.0, 6.9, 7.1)] == [False, False, True]


def test_a_detached_engine_waits_for_nobody() -> None:
    """Its jobs are the next engine's."""
    stop = Stop(10, 2)
    stop.begin("detach", 0)
    assert stop.is_complete(7, now=0)


def test_a_kill_on_record_is_sent_again_by_the_next_engine() -> None:
    """Restored tasks that are being stopped are killed after adoption."""
    sim = Sim()
    sim.submit(a_job("a", grace_seconds=3.0))
    sim.dispatch()
    (task,) = sim.state.attempts.values()
    assert resume_kills(sim.state) == []
    task.stopping = "killed by ana"
    (kill,) = resume_kills(sim.state)
    assert (kill.attempt, kill.grace_seconds, kill.why) == (task.attempt, 3.0, "killed by ana")
