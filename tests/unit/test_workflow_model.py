"""Workflows as values: what is stored reads back the same, and the hash follows the meaning."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.model.config import Config
from engine.model.workflow import Call, Command, Condition, Job, Need, OnLost, Pool, Retry, Shell, Workflow

FULL = Workflow(
    "night",
    (
        Job("a", Command(("tar", "{{ params.x }}")), env={"K": "v"}, cwd="work", timeout_seconds=5.0),
        Job("b", Shell("echo $X"), (Need("a", Condition.DONE),), each=["1", 2, None], priority=3, stall_seconds=1.5),
        Job(
            "c",
            Call("m", "f", Pool.THREAD, {"k": [1]}, ".venv/bin/python", ("lib",)),
            (Need("a"), Need("b", Condition.FAILED)),
            each="{{ needs.b.output }}",
            retry=Retry(3, 5.0, 2.0, 0.1, 60.0, (75,)),
            grace_seconds=0.5,
            on_lost=OnLost.HOLD,
        ),
    ),
    "scans",
    {"x": {"deep": [1, "ü"]}},
    manual=True,
)


def test_a_workflow_reads_back_as_it_was_written() -> None:
    """What the store keeps is the whole of it."""
    assert Workflow.from_json(FULL.to_json()) == FULL
    assert Workflow.from_json(FULL.to_json().decode()).definition_hash == FULL.definition_hash


def test_the_hash_is_the_same_for_the_same_meaning_and_another_for_another() -> None:
    """An edit that changes what runs is a new definition, a reload is not."""
    assert replace(FULL).definition_hash == FULL.definition_hash
    changed = [
        replace(FULL, parameters={}),
        replace(FULL, manual=False),
        replace(FULL, jobs=FULL.jobs[:2]),
        replace(FULL, jobs=(replace(FULL.jobs[0], priority=1), *FULL.jobs[1:])),
    ]
    assert len({each.definition_hash for each in (FULL, *changed)}) == 5
    assert len(FULL.definition_hash) == 32


def test_a_job_is_found_by_name_or_named_as_missing() -> None:
    """A wrong name says whose it is not."""
    assert FULL.job("b") is FULL.jobs[1]
    with pytest.raises(KeyError, match="workflow night has no job z"):
        FULL.job("z")


def test_commands_and_scripts_run_in_the_command_pool() -> None:
    """Only a callable chooses where it runs."""
    assert [job.pool for job in FULL.jobs] == [Pool.COMMAND, Pool.COMMAND, Pool.THREAD]


def test_an_unknown_kind_of_action_is_refused() -> None:
    """A row that another version wrote is not guessed at."""
    with pytest.raises(ValueError, match="type"):
        Workflow.from_json(FULL.to_json().replace(b'"type":"shell"', b'"type":"magic"'))


def test_the_settings_have_defaults() -> None:
    """An engine without interlock.toml has four seats for each queue."""
    assert (Config().slots.dependent, Config().slots.independent, Config().slots.lending) == (4, 4, True)
