"""What a dead worker's records say about an attempt: known, never started, or lost; never a guess."""

from __future__ import annotations

from engine.model.lifecycle import Outcome
from engine.workers.folder import Spool
from engine.workers.roster import Entry
from engine.workers.undertaker import verdict


def test_a_worker_that_was_planned_but_never_was_there_cannot_have_started_anything() -> None:
    """kill -9 between the commit of an attempt and the start of its worker costs no attempt."""
    entry = Entry(attempt=7, worker="w-3-1", epoch=3, sent=True, unborn=True)
    assert verdict(entry, Spool(), now_us=1).outcome is Outcome.NOT_STARTED


def test_a_worker_that_was_there_and_left_no_records_may_have_started_it() -> None:
    """Somebody removed its folder: nobody can know."""
    entry = Entry(attempt=7, worker="w-3-1", epoch=3, sent=True)
    ended = verdict(entry, Spool(), now_us=1)
    assert ended.outcome is Outcome.LOST
    assert "records are missing" in ended.message
