"""The pool with scripted workers: one end per attempt, whatever workers do to it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.model.lifecycle import Outcome
from engine.model.reports import Ended, Progressed, Started, WorkerSeen
from engine.workers import pool as pool_module
from engine.workers import undertaker
from engine.workers.channel import SocketPathError
from engine.workers.folder import boot_id
from engine.workers.survivors import find
from tests.integration.pool_bench import bench, config, given, instance


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


def test_refused_forgotten_and_unreadable_attempts_have_an_end(state: Path) -> None:
    """A worker may say no, or come back and know nothing, or talk nonsense about an end."""

    async def scenario() -> None:
        async with bench(state) as it:
            it.start(1, "refuse")
            assert "no room" in (await it.ended(1)).message
            it.start(2, "forget")
            assert (await it.ended(2)).outcome is Outcome.NOT_STARTED
            it.start(3, "unreadable")
            assert (await it.ended(3)).outcome is Outcome.LOST

    asyncio.run(scenario())


def test_only_messages_of_the_right_epoch_count(state: Path) -> None:
    """An exit and a start of another epoch change nothing and are acknowledged."""

    async def scenario() -> None:
        async with bench(state) as it:
            it.start(1, "wrong")
            await it.until(lambda: it.heard("ack"))
            assert len(it.of(Started)) == 1
            assert not it.of(Ended)
            it.pool.kill(1, 0.1, "killed")
            assert (await it.ended(1)).outcome is Outcome.KILLED

    asyncio.run(scenario())


def test_garbage_harms_only_itself(state: Path) -> None:
    """Unknown kinds, missing fields, half lines and what is no JSON are skipped."""

    async def scenario() -> None:
        async with bench(state, mode="noisy") as it:
            it.start(1, "succeed")
            assert (await it.ended(1)).outcome is Outcome.SUCCEEDED
            await it.until(lambda: it.heard("ack"))  # the half line, once whole, was an exit of nobody's

    asyncio.run(scenario())


def test_what_is_not_on_record_is_killed_or_acknowledged(state: Path) -> None:
    """A hello may list attempts this engine does not have."""

    async def scenario() -> None:
        async with bench(state, mode="unknown") as it:
            it.start(1, "succeed")
            await it.ended(1)
            assert [message["a"] for message in it.heard("kill")] == [999]
            assert it.heard("ack")[0]["a"] == [998]

    asyncio.run(scenario())


def test_a_worker_of_an_older_protocol_is_given_nothing(state: Path) -> None:
    """It is sent home, and the attempt goes back."""

    async def scenario() -> None:
        async with bench(state, mode="old") as it:
            it.start(1, "succeed")
            assert (await it.ended(1)).outcome is Outcome.NOT_STARTED
            await it.seen("retiring")
            await it.until(lambda: it.heard("retire"))
            it.pool.acknowledge([1])
            await it.seen("gone")

    asyncio.run(scenario())


def test_failing_spawns_say_why_and_back_off(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stderr text is the message; after three failures in a row spawns wait."""
    monkeypatch.setattr(pool_module, "BACKOFF_SECONDS", (30.0, 60.0))

    async def scenario() -> None:
        async with bench(state, mode="crash") as it:
            for attempt in (1, 2, 3):
                it.start(attempt, "succeed")
                ended = await it.ended(attempt)
                assert ended.outcome is Outcome.NOT_STARTED
                assert "cannot start today" in ended.message
                await it.until(lambda n=attempt: len(it.of(WorkerSeen, state="gone")) == n)
            assert "cannot start today" in it.of(WorkerSeen, state="gone")[0].message
            it.start(4, "succeed")
            assert it.pool.workers()[0]["state"] == "planned"
            it.pool.kill(4, 0.1, "killed")
            assert (await it.ended(4)).outcome is Outcome.NOT_STARTED

    asyncio.run(scenario())


def test_an_interpreter_that_cannot_be_executed_is_a_failed_spawn(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt goes back, and a later start on the gone worker as well."""
    monkeypatch.setattr("sys.executable", "/nowhere/python")

    async def scenario() -> None:
        async with bench(state) as it:
            worker = it.start(1, "succeed")
            late = it.pool.assign(2)
            assert "cannot be spawned" in (await it.ended(1)).message
            it.pool.start(2, late, {"do": "succeed"})
            assert "was gone" in (await it.ended(2)).message
            assert (worker, it.pool.workers()) == (late, [])

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["silent", "mute", "nonsense"])
def test_a_worker_that_never_says_hello_gives_its_attempts_back(
    state: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its lock held it is out of reach, without it is ended; nothing was ever sent to it."""
    monkeypatch.setattr(undertaker, "HELLO_SECONDS", 0.4)

    async def scenario() -> None:
        async with bench(state, mode=mode) as it:
            it.start(1, "succeed")
            assert (await it.ended(1)).outcome is Outcome.NOT_STARTED
            await it.seen("gone" if mode == "mute" else "unreachable")

    asyncio.run(scenario())


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


def test_an_endless_line_ends_the_connection(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded whatever connects."""
    monkeypatch.setattr("engine.workers.channel.MAX_LINE_BYTES", 1000)

    async def scenario() -> None:
        async with bench(state):
            reader, writer = await asyncio.open_unix_connection(str(state / "workers.sock"))
            writer.write(b"x" * 2000)
            assert await reader.read() == b""
            writer.close()

    asyncio.run(scenario())
