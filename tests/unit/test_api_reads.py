"""The door's answers: every question, over a real socket with the real client."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fake_runtime import FakeRuntime, serving

from engine.api.client import EngineBusyError, InvalidRequestError, NotFoundError
from engine.model.requests import Reply


def filled() -> FakeRuntime:
    runtime = FakeRuntime()
    for run, state in ((11, "succeeded"), (12, "running")):
        runtime.add_run(run, state)
    runtime.add_task(5, 12, "unpack", "succeeded")
    runtime.add_task(6, 12, "scan", "failed", item=0, queue="dependent")
    runtime.add_attempt(9, 5)
    runtime.commit({"kind": "run.queued", "run": 12}, {"kind": "task.running", "run": 12, "task": 5})
    return runtime


def test_status_shows_times_in_iso_and_keeps_numbers(tmp_path: Path) -> None:
    """`*_us` becomes an ISO 8601 UTC text, also inside the workers' rows."""

    async def main() -> None:
        async with serving(filled(), tmp_path) as client:
            found = await client.status()
            assert found["started"] == found["workers"][0]["changed"] == "2027-01-15T08:00:00.000000Z"
            assert found["pid"] == 4242 and found["queues"]["dependent"]["slots"] == 4

    asyncio.run(main())


def test_ready_is_refused_while_the_engine_drains(tmp_path: Path) -> None:
    """Live and ready are different questions."""

    async def main() -> None:
        runtime = filled()
        async with serving(runtime, tmp_path) as client:
            assert await client.ready()
            runtime.state = "draining"
            assert not await client.ready()
            assert (await client._get("/health/live"))["status"] == "live"

    asyncio.run(main())


def test_runs_come_newest_first_in_pages(tmp_path: Path) -> None:
    """`next` of one page is the `before` of the following."""

    async def main() -> None:
        async with serving(filled(), tmp_path) as client:
            page = await client._get("/runs", limit=1)
            assert [row["id"] for row in page["items"]] == ["r12"] and page["next"] == "r12"
            assert [row["id"] for row in await client.runs(before="r12")] == ["r11"]
            assert [row["id"] for row in await client.runs(state="running")] == ["r12"]
            assert await client.runs(workflow="other") == []

    asyncio.run(main())


def test_a_run_shows_rounds_edges_and_counts_and_leaves_parameters_alone(tmp_path: Path) -> None:
    """A parameter that looks like one of our times is the user's."""

    async def main() -> None:
        async with serving(filled(), tmp_path) as client:
            run = await client.run(12)
            assert run["counts"] == {"succeeded": 1, "failed": 1} and run["rounds"][0]["run"] == "r12"
            assert run["parameters"] == {"at_us": 1} and run["edges"][0]["job"] == "scan"

    asyncio.run(main())


def test_counts_take_the_latest_round_of_many_tasks(tmp_path: Path) -> None:
    """More tasks than a page, one of them retried."""

    async def main() -> None:
        runtime = FakeRuntime()
        runtime.add_run(1)
        for number in range(1, 1202):
            runtime.add_task(number, 1, "each", "succeeded" if number > 1 else "failed", item=number)
        runtime.add_task(2000, 1, "each", "running", item=1, round=2)
        async with serving(runtime, tmp_path) as client:
            assert (await client.run(1))["counts"] == {"succeeded": 1200, "running": 1}
            assert len([task async for task in client.run_tasks(1)]) == 1202

    asyncio.run(main())


def test_tasks_are_filtered_and_show_their_attempts(tmp_path: Path) -> None:
    """By state, queue and job; a task has its attempts as history."""

    async def main() -> None:
        async with serving(filled(), tmp_path) as client:
            assert [t["id"] async for t in client.run_tasks(12, state="failed", queue="dependent")] == ["t6"]
            assert [t["id"] async for t in client.run_tasks(12, job="unpack")] == ["t5"]
            assert [a["id"] for a in (await client.task(5))["history"]] == ["a9"]

    asyncio.run(main())


def test_workflows_and_events_are_listed(tmp_path: Path) -> None:
    """Events by revision, run and kind."""

    async def main() -> None:
        async with serving(filled(), tmp_path) as client:
            assert [w["name"] for w in await client.workflows()] == ["nightly"]
            assert (await client.workflow("nightly"))["state"] == "active"
            assert [e["rev"] for e in await client.events(since=1, run=12)] == [2]
            assert [e["rev"] for e in await client.events(kind="run.queued", limit=1)] == [1]

    asyncio.run(main())


MISSING = ("/runs/r99", "/runs/99/tasks", "/tasks/t99", "/workflows/none", "/tasks/9/log", "/no")
BAD = ("/runs/t5", "/runs/x", "/tasks/r5", "/runs?limit=0", "/runs?state=odd", "/runs?before=t1", "/events?since=-1")


@pytest.mark.parametrize(("paths", "error"), [(MISSING, NotFoundError), (BAD, InvalidRequestError)])
def test_what_is_missing_and_what_is_badly_asked_are_told_apart(
    tmp_path: Path, paths: tuple[str, ...], error: type[Exception]
) -> None:
    """404 and 422; another kind's prefix is never taken for a number."""

    async def main() -> None:
        async with serving(filled(), tmp_path) as client:
            for path in paths:
                with pytest.raises(error):
                    await client._get(path)

    asyncio.run(main())


def test_the_schema_is_served_and_no_page_that_loads_from_elsewhere(tmp_path: Path) -> None:
    """OpenAPI yes, Swagger and ReDoc no."""

    async def main() -> None:
        async with serving(FakeRuntime(), tmp_path) as client:
            schema = await client._get("/openapi.json")
            assert "/v1/queues/{name}/{verb}" in schema["paths"]
            assert "ReplyView" in schema["components"]["schemas"]
            for page in ("http://engine/docs", "http://engine/redoc"):
                assert (await client._opened().get(page)).status_code == 404

    asyncio.run(main())


def test_a_fault_of_ours_is_a_500_that_tells_no_secrets(tmp_path: Path) -> None:
    """The type is named, the text stays in the log."""

    async def main() -> None:
        runtime = FakeRuntime(reply=OSError("secret path"))
        async with serving(runtime, tmp_path) as client:
            answer = await client._send("POST", "/stop", json={})
            assert answer.status_code == 500 and "OSError" in answer.text and "secret" not in answer.text

    asyncio.run(main())


def test_a_busy_engine_says_when_to_come_back_and_the_client_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with Retry-After; the same request id is sent again."""
    monkeypatch.setattr("engine.api.server.RETRY_AFTER_S", 0)

    async def main() -> None:
        runtime = FakeRuntime(reply=EngineBusyError(""))

        def recover(_request: object) -> None:
            if len(runtime.asked) == 3:
                runtime.reply = Reply("done", data={"run": 1})

        runtime.on_request = recover
        async with serving(runtime, tmp_path) as client:
            assert (await client.run_workflow("nightly"))["data"] == {"run": "r1"}
            assert len({request.request_id for request, _ in runtime.asked}) == 1
            runtime.reply, runtime.on_request = EngineBusyError("full"), None
            with pytest.raises(EngineBusyError, match="full"):
                await client.stop()
            assert (await client._send("POST", "/stop", json={})).headers["retry-after"] == "0"

    asyncio.run(main())
