"""A new engine takes over from scripted workers, living and dead: what is known is taken, the rest is never guessed."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from engine.model.lifecycle import Outcome
from engine.model.reports import Ended, Started
from engine.workers.folder import boot_id
from tests.integration.pool_bench import bench, config, given


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / ".interlock"


def spool(state: Path, *lines: str, worker: str = "w-1-1") -> Path:
    """A dead worker's folder."""
    path = state / "workers" / worker / "spool"
    path.parent.mkdir(parents=True)
    path.write_text("".join(line + "\n" for line in lines))
    return path


def boot(**fields: Any) -> str:
    return json.dumps({"t": "boot", "worker": "w-1-1", "pid": 1, "boot_id": boot_id(), "slots": 2} | fields)


def record(kind: str, attempt: int, **fields: Any) -> str:
    return json.dumps({"t": kind, "a": attempt, "e": 1, "at": 5} | fields)


def test_a_stopped_engine_finds_its_running_work_again(state: Path) -> None:
    """Adopted: started is reported again, the slot is taken, the end comes; what ended meanwhile is reported too."""

    async def scenario() -> None:
        async with bench(state, keep=True) as it:
            it.start(1, "hang")
            it.start(2, "succeed")
            await it.started(1)
            await it.ended(2)
        async with bench(state, epoch=2, adopt=given(1, 2, 3)) as it:
            assert it.of(Started, attempt=1, pid=42)
            assert (await it.ended(2)).outcome is Outcome.SUCCEEDED
            assert (await it.ended(3)).outcome is Outcome.NOT_STARTED  # the hello does not list it
            assert [(item["id"], item["busy"]) for item in it.pool.workers()] == [("w-1-1", 1)]
            it.pool.kill(1, 0.1, "killed")
            assert (await it.ended(1)).outcome is Outcome.KILLED
            assert len(it.of(Ended)) == 3

    asyncio.run(scenario())


def test_an_older_engine_is_not_served(state: Path) -> None:
    """A worker that has served a newer engine is left alone by an older one."""

    async def scenario() -> None:
        async with bench(state, epoch=5, keep=True) as it:
            it.start(1, "hang")
            await it.started(1)
        quick = config(adopt_seconds=0.5)
        async with bench(state, epoch=2, settings=quick, adopt=given(1, worker="w-5-1", epoch=5)) as it:
            await it.seen("unreachable")
            assert not it.of(Ended)

    asyncio.run(scenario())


def test_a_living_worker_out_of_reach_keeps_its_attempts_until_its_lock_is_free(state: Path) -> None:
    """Never lost while locked; settled as soon as the lock goes."""

    async def scenario() -> None:
        path = spool(state, boot(), record("start", 1))
        handle = os.open(path, os.O_RDWR)
        fcntl.flock(handle, fcntl.LOCK_EX)
        async with bench(state, epoch=2, settings=config(adopt_seconds=0.1), adopt=given(1, 2)) as it:
            await it.seen("unreachable")
            assert not it.of(Ended)
            assert it.pool.assign(9) == "w-2-1"
            os.close(handle)
            assert (await it.ended(1)).outcome is Outcome.LOST
            assert (await it.ended(2)).outcome is Outcome.NOT_STARTED

    asyncio.run(scenario())


def test_a_stopped_worker_is_out_of_reach_and_hears_the_kill_when_it_returns(state: Path) -> None:
    """The connection ends, the lock stays: unreachable, then connected again, then the kill is heard."""

    async def scenario() -> None:
        async with bench(state, keep=True) as it:
            it.start(1, "hang")
            await it.started(1)
            pid = it.pids()[0]
        os.kill(pid, signal.SIGSTOP)
        async with bench(state, epoch=2, settings=config(adopt_seconds=0.1), adopt=given(1)) as it:
            await it.seen("unreachable")
            it.pool.kill(1, 0.1, "killed")
            os.kill(pid, signal.SIGCONT)
            assert (await it.ended(1)).outcome is Outcome.KILLED

    asyncio.run(scenario())


def adopted(state: Path, *lines: str, attempts: tuple[int, ...]) -> dict[int, Ended]:
    """What a new engine says of attempts whose dead worker wrote these lines."""
    ends: dict[int, Ended] = {}

    async def scenario() -> None:
        if lines:
            spool(state, *lines)
        async with bench(state, epoch=2, adopt=given(*attempts)) as it:
            for attempt in attempts:
                ends[attempt] = await it.ended(attempt)

    asyncio.run(scenario())
    return ends


def test_a_dead_workers_spool_decides(state: Path) -> None:
    """An exit is taken, a start without one is lost, neither is not started; damage harms only what it names."""
    exit_record = record("exit", 1, outcome="failed", reason="exit_code", code=3)
    bad_exit = record("exit", 4, outcome="??", reason="exit_code")
    torn = '{"t":"start","a": 5,'
    ends = adopted(state, boot(), exit_record, record("start", 2), bad_exit, torn, attempts=(1, 2, 3, 4, 5))
    assert [ends[n].outcome for n in range(1, 6)] == [
        Outcome.FAILED,
        Outcome.LOST,
        Outcome.NOT_STARTED,
        Outcome.LOST,
        Outcome.LOST,
    ]
    assert ends[1].exit_code == 3


def test_absence_proves_nothing_when_a_line_is_illegible(state: Path) -> None:
    """The illegible line may have been the start."""
    assert adopted(state, boot(), "\x00\x01 rubbish", attempts=(1,))[1].outcome is Outcome.LOST


def test_absence_proves_nothing_after_a_reboot(state: Path) -> None:
    """The spool is not synced, so a power failure may have taken the start record."""
    ends = adopted(
        state, boot(boot_id="another"), record("exit", 1, outcome="succeeded", reason="succeeded"), attempts=(1, 2)
    )
    assert [ends[1].outcome, ends[2].outcome] == [Outcome.SUCCEEDED, Outcome.LOST]


def test_without_records_an_attempt_is_lost(state: Path) -> None:
    """Neither folder nor spool: there could have been a start."""
    assert "missing" in adopted(state, attempts=(1,))[1].message
    (state / "workers" / "w-1-1").mkdir(parents=True)
    assert adopted(state, attempts=(1,))[1].outcome is Outcome.LOST


def test_a_gone_workers_output_stays_and_its_records_go(state: Path) -> None:
    """Attempts still refer to the segments; stderr with text is worth keeping."""
    folder = spool(state, boot()).parent
    for name, text in (("seg-0.log", "x"), ("seg-0.idx", "x"), ("seg-1.idx", ""), ("stderr", ""), ("worker.log", "")):
        (folder / name).write_text(text)

    async def scenario() -> None:
        async with bench(state, epoch=2):
            pass
        assert sorted(item.name for item in folder.iterdir()) == ["seg-0.idx", "seg-0.log", "worker.log"]

    asyncio.run(scenario())


def test_a_row_or_spool_that_cannot_be_read_harms_only_itself(state: Path) -> None:
    """A name that is no name is lost; a spool that is no file may belong to a living worker."""
    (state / "workers" / "w-1-2" / "spool").mkdir(parents=True)
    attempts = given(1, worker="../../etc") | given(2, worker="w-1-2") | given(3, worker="w-1-3")

    async def scenario() -> None:
        async with bench(state, epoch=2, settings=config(adopt_seconds=0.3), adopt=attempts) as it:
            assert (await it.ended(1)).outcome is Outcome.LOST
            assert (await it.ended(3)).outcome is Outcome.LOST
            assert (await it.seen("unreachable")).worker == "w-1-2"

    asyncio.run(scenario())


def test_a_settlement_that_fails_is_tried_again(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptors left, for example: the attempt is not forgotten."""
    spool(state, boot(), record("start", 1))
    calls: list[int] = []

    async def end(*_: object) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("too many open files")
        return 0

    monkeypatch.setattr("engine.workers.survivors.end", end)

    async def scenario() -> None:
        async with bench(state, epoch=2, adopt=given(1)) as it:
            assert (await it.ended(1)).outcome is Outcome.LOST
            assert len(it.of(Ended)) == 1

    asyncio.run(scenario())
