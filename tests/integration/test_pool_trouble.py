"""The pool with scripted workers that misbehave, refuse, or cannot be started."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.model.lifecycle import Outcome
from engine.model.reports import Ended, Started, WorkerSeen
from engine.workers import pool as pool_module
from engine.workers import undertaker
from tests.integration.pool_bench import bench


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / ".interlock"


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


def test_a_start_that_still_waits_when_the_engine_leaves_goes_back(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was never sent; the next engine could only call it lost."""
    monkeypatch.setattr(pool_module, "PATIENT_SPAWNS", 0)
    monkeypatch.setattr(pool_module, "BACKOFF_SECONDS", (30.0, 60.0))

    async def scenario() -> None:
        async with bench(state) as it:
            it.start(1, "succeed")
            await it.pool.close(detach=True)
            assert it.of(Ended, attempt=1, outcome=Outcome.NOT_STARTED)

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
