"""Answers that go on: the event stream and logs, their catch-up, their gaps and their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest
from fake_runtime import FakeRuntime, Row, serving

from engine.api.client import Client, EngineNotRunningError, NotFoundError, StreamItem
from engine.api.server import ApiServer, create_app


def event(kind: str, run: int | None = None) -> Row:
    return {"kind": kind, "run": run}


async def take(items: AsyncGenerator[StreamItem, None], number: int) -> list[StreamItem]:
    found: list[StreamItem] = []
    while len(found) < number:
        found.append(await anext(items))
    return found


def test_a_late_reader_gets_the_record_and_then_what_comes_without_gap_or_double(tmp_path: Path) -> None:
    """What is committed while the record is read comes both ways, and is shown once."""

    async def main() -> None:
        runtime = FakeRuntime()
        runtime.commit(*(event(f"old.{n}") for n in range(2500)))
        asked = runtime.read.events

        def and_one_commits_meanwhile(**wanted: object) -> list[Row]:
            rows = asked(**wanted)  # type: ignore[arg-type]
            if wanted["since"] == 1001:
                loop.call_soon_threadsafe(runtime.commit, event("between"))
            return rows

        loop = asyncio.get_running_loop()
        runtime.read.events = and_one_commits_meanwhile  # type: ignore[method-assign,assignment]
        async with serving(runtime, tmp_path) as client:
            async with aclosing(client.stream(since=1)) as items:
                revs = [item.rev for item in await take(items, 2501)][1:]
                runtime.commit(event("new"))
                revs.append((await anext(items)).rev)
            assert revs == list(range(2, 2503))

    asyncio.run(main())


def test_one_runs_stream_leaves_out_the_others_and_progress_has_no_revision(tmp_path: Path) -> None:
    """Filtered in the record and live."""

    async def main() -> None:
        runtime = FakeRuntime()
        runtime.commit(event("a", 1), event("b", 2))
        async with serving(runtime, tmp_path) as client:
            items = client.stream(run=2)
            assert [item.data.get("kind") for item in await take(items, 2)] == [None, "b"]
            runtime.commit(event("c", 1), event("d", 2))
            runtime.tell([{"kind": "progress", "run": 2, "task": 5, "done": 1.0}])
            later = await take(items, 2)
            assert [(item.name, item.rev) for item in later] == [("event", 4), ("progress", None)]
            assert later[1].data["task"] == "t5"
            await items.aclose()

    asyncio.run(main())


def test_a_reader_that_is_too_slow_is_told_where_to_catch_up(tmp_path: Path) -> None:
    """The gap marker ends the stream; asking again from its revision loses nothing."""

    async def main() -> None:
        runtime = FakeRuntime(room=2)
        async with serving(runtime, tmp_path) as client:
            items = client.stream()
            await anext(items)
            for number in range(5):
                runtime.commit(event(f"n.{number}"))
            rest = [item async for item in items]
            assert rest[-1].name == "gap"
            again = client.stream(since=rest[-1].data["since"])
            seen = [i.rev for i in rest if i.rev] + [i.rev for i in await take(again, 6 - len(rest) + 1) if i.rev]
            await again.aclose()
            assert seen == [1, 2, 3, 4, 5]
        assert runtime.subscriptions == []

    asyncio.run(main())


def test_a_quiet_stream_pings_and_ends_promptly_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ping within the beat; at the stop a bye, within a second."""
    monkeypatch.setattr("engine.api.routes_stream.PING_S", 0.01)

    async def main() -> None:
        server = ApiServer(create_app(FakeRuntime()), tmp_path)
        await server.start()
        async with Client(tmp_path) as client:
            items = client.stream()
            assert [item.name for item in await take(items, 2)] == ["hello", "ping"]
            async with asyncio.timeout(2):
                await server.stop()
                assert [item.name async for item in items if item.name != "ping"] == ["bye"]
            with pytest.raises(EngineNotRunningError):
                await anext(client.stream())

    asyncio.run(main())


def test_a_browsers_last_event_id_is_where_the_stream_goes_on(tmp_path: Path) -> None:
    """The header beats the query."""

    async def main() -> None:
        runtime = FakeRuntime()
        runtime.commit(event("a"), event("b"))
        async with serving(runtime, tmp_path) as client:
            headers = {"Last-Event-ID": "1"}
            async with client._opened().stream("GET", "/v1/events/stream", headers=headers) as answer:
                lines = answer.aiter_lines()
                found = [await anext(lines) for _ in range(4)]
                assert found[3] == "id: 2"

    asyncio.run(main())


def written() -> FakeRuntime:
    runtime = FakeRuntime()
    runtime.add_run(1)
    runtime.add_task(5, 1, "scan")
    runtime.add_attempt(9, 5, 1)
    runtime.logs.write(9, b"first\n")
    runtime.add_attempt(10, 5, 2)
    for data, stream in ((b"out\n", 1), (b"err\n", 2), (b"end\n", 1)):
        runtime.logs.write(10, data, stream)
    return runtime


async def read(client: Client, task: int, **wanted: object) -> bytes:
    return b"".join([data async for data in client.log(task, **wanted)])  # type: ignore[arg-type]


def test_a_log_is_read_whole_by_attempt_by_stream_and_from_its_tail(tmp_path: Path) -> None:
    """The latest attempt unless another is named."""

    async def main() -> None:
        runtime = written()
        runtime.add_task(6, 1, "none", "waiting")
        runtime.add_task(7, 1, "mute", "succeeded")
        runtime.add_attempt(11, 7).update(log=None)
        async with serving(runtime, tmp_path) as client:
            assert await read(client, 5) == b"out\nerr\nend\n"
            assert await read(client, 5, attempt=1) == b"first\n"
            assert await read(client, 5, stream="err") == b"err\n"
            assert await read(client, 5, tail_bytes=6) == b"r\nend\n"
            assert await read(client, 5, tail_bytes=0) == b""
            assert await read(client, 6) == await read(client, 7) == b""
            with pytest.raises(NotFoundError, match="attempt 3"):
                await read(client, 5, attempt=3)

    asyncio.run(main())


def test_following_a_log_shows_what_comes_until_the_attempt_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tail of what is there first; the last bytes are not missed."""
    monkeypatch.setattr("engine.api.logs.POLL_S", 0.01)

    async def main() -> None:
        runtime = written()
        running = runtime.add_attempt(12, 5, 3, ended=False)
        runtime.logs.write(12, b"begun\n")
        async with serving(runtime, tmp_path) as client:
            items = client.log(5, tail_bytes=3, follow=True)
            assert await anext(items) == b"un\n"
            runtime.logs.write(12, b"more\n")
            assert await anext(items) == b"more\n"
            runtime.logs.write(12, b"last\n")
            running["ended_us"] = 1
            running["log"] = {"segment": 0}
            assert [data async for data in items] == [b"last\n"]

    asyncio.run(main())


def test_following_waits_for_a_task_that_has_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And gives up when the task ends without ever starting, or the server stops."""
    monkeypatch.setattr("engine.api.logs.POLL_S", 0.01)

    async def main() -> None:
        runtime = FakeRuntime()
        for task in (5, 6, 7):
            runtime.add_task(task, 1, "scan", "waiting")
        async with serving(runtime, tmp_path) as client:
            begun, ended, left = (asyncio.create_task(read(client, task, follow=True)) for task in (5, 6, 7))
            await client.status()
            runtime.logs.write(9, b"x")
            runtime.add_attempt(9, 5)
            runtime.read.task_rows[1]["state"] = "skipped"
            assert (await begun, await ended) == (b"x", b"")
            left.cancel()

    asyncio.run(main())
