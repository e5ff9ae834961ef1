"""The pool with scripted workers: one end per attempt, whatever happens to workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from pathlib import Path

import psutil
import pytest

from engine.model.lifecycle import Outcome
from engine.model.reports import Ended, Progressed, Started
from engine.workers.channel import SocketPathError
from engine.workers.survivors import find
from tests.integration.pool_bench import bench, instance


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / ".interlock"


def test_work_is_spawned_reported_acknowledged_and_tidied(state: Path) -> None:
    """The plain way: assign, start, end, acknowledge, retire; nothing is left."""

    async def scenario() -> None:
        async with bench(state) as it:
            assert it.pool.is_idle
            worker = it.start(1, "succeed")
            ended = await it.ended(1)
            assert (worker, ended.outcome, ended.output) == ("w-1-1", Outcome.SUCCEEDED, {"x": 1})
            assert it.of(Started, attempt=1, pid=42)
            assert it.of(Progressed, attempt=1, done=1.0)
            assert not it.pool.is_idle
            it.pool.acknowledge([1, 1])
            assert it.pool.is_idle
            await it.pool.close(detach=False)
            await it.seen("gone")
            assert it.pool.workers() == []
        assert list((state / "workers").iterdir()) == []

    asyncio.run(scenario())


def test_the_socket_is_private_replaces_a_stale_one_and_may_lie_deep(tmp_path: Path) -> None:
    """A path longer than a socket address is bound all the same; a file in its place is an error."""
    deep = tmp_path / ("d" * 120) / ".interlock"

    async def scenario() -> None:
        for _ in range(2):
            async with bench(deep) as it:
                it.start(1, "succeed")
                await it.ended(1)
                assert stat.S_IMODE((deep / "workers.sock").stat().st_mode) == 0o600
                assert stat.S_IMODE(deep.stat().st_mode) == 0o700
            (deep / "workers" / "w-1-1" / "spool").unlink(missing_ok=True)
        (deep / "workers.sock").unlink()
        (deep / "workers.sock").touch()
        with pytest.raises(SocketPathError):
            async with bench(deep):
                pass

    asyncio.run(scenario())


def test_few_workers_are_used_and_slots_come_back(state: Path) -> None:
    """The fullest worker with room is chosen; starts of one turn go out as one line."""

    async def scenario() -> None:
        async with bench(state) as it:
            assert [it.pool.assign(n) for n in (1, 2, 3)] == ["w-1-1", "w-1-1", "w-1-2"]
            it.pool.release(1)
            it.pool.release(2)
            assert it.pool.assign(4) == "w-1-2"
            assert [it.start(n, "succeed") for n in (5, 6)] == ["w-1-1", "w-1-1"]
            it.pool.release(5)  # on record by now: only its end frees the slot
            assert [item["busy"] for item in it.pool.workers()] == [2, 2]
            await it.ended(5)
            await it.ended(6)
            assert it.start(7, "succeed") == "w-1-1"
            await it.ended(7)

    asyncio.run(scenario())


def test_a_killed_attempt_ends_as_killed(state: Path) -> None:
    """Sent ones are killed by the worker; unsent ones are taken back; unknown ones are nobody's."""

    async def scenario() -> None:
        async with bench(state) as it:
            it.start(1, "hang")
            it.start(2, "hang")
            it.pool.kill(2, 0.1, "killed")
            assert (await it.ended(2)).outcome is Outcome.NOT_STARTED
            await it.started(1)
            it.pool.kill(1, 0.1, "killed")
            it.pool.kill(99, 0.1, "killed")
            assert (await it.ended(1)).outcome is Outcome.KILLED
            assert len(it.of(Ended)) == 2
            assert [message["a"] for message in it.heard("start")] == [1]

    asyncio.run(scenario())


def test_a_dead_worker_loses_what_ran_and_its_survivors_are_ended(state: Path) -> None:
    """Started and no exit: lost, but only once the job's own processes are gone."""

    async def scenario() -> None:
        async with bench(state) as it:
            worker = it.start(1, "child")
            await it.started(1)
            assert len(find(worker, instance(state))) == 1
            os.kill(it.pids()[0], signal.SIGKILL)
            ended = await it.ended(1)
            assert (ended.outcome, ended.reason, ended.started_us) == (Outcome.LOST, "lost", 5)
            assert find(worker, instance(state)) == []
            await it.seen("gone")
            assert it.pool.assign(2) == "w-1-2"
            it.pool.acknowledge([1])
            await it.until(lambda: not (state / "workers" / worker).exists())

    asyncio.run(scenario())


def test_a_start_the_dying_worker_never_recorded_did_not_happen(state: Path) -> None:
    """The record precedes the exec, so its absence is proof."""

    async def scenario() -> None:
        async with bench(state) as it:
            it.start(1, "die")
            assert (await it.ended(1)).outcome is Outcome.NOT_STARTED

    asyncio.run(scenario())


def test_idle_workers_leave_when_the_engine_closes_and_are_reaped(state: Path) -> None:
    """Also those that are still starting; plans are dropped."""

    async def scenario() -> None:
        async with bench(state) as it:
            it.start(1, "succeed")
            it.start(2, "succeed")
            await it.ended(1)
            await it.ended(2)
            it.pool.acknowledge([1, 2])
            pid = it.pids()[0]
            await it.pool.close(detach=False)
            assert it.pool.workers() == []
            assert not psutil.pid_exists(pid)

    asyncio.run(scenario())


def test_a_second_connection_of_one_worker_replaces_the_first(state: Path) -> None:
    """The newest hello says everything the older connection could."""

    async def scenario() -> None:
        async with bench(state) as it:
            hello = {
                "t": "hello",
                "worker": "w-9-9",
                "pid": 1,
                "protocol": 1,
                "slots": 1,
                "running": [],
                "finished": [],
            }
            line = json.dumps(hello).encode() + b"\n"
            path = str(state / "workers.sock")
            first = await asyncio.open_unix_connection(path)
            first[1].write(line)
            await it.seen("connected")
            second = await asyncio.open_unix_connection(path)
            second[1].write(line)
            assert b"welcome" in await second[0].readline()
            await first[0].read()  # welcomed once, then closed
            assert it.pool.workers()[0]["connected"]
            second[1].write(b'{"t":"exit","a":1}\n[3]\n')
            second[1].close()
            await it.seen("gone")
            first[1].close()

    asyncio.run(scenario())
