"""What can be asked of the engine through the door, and by whom."""

from __future__ import annotations

import asyncio
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from fake_runtime import FakeRuntime, serving

from engine.api.client import Client, InvalidRequestError, NotFoundError, RequestRefusedError
from engine.model.requests import (
    AddCommand,
    CancelRun,
    KillTask,
    Reply,
    Request,
    RetryRun,
    RunWorkflow,
    SetQueue,
    StopEngine,
)
from engine.model.workflow import Condition

CALLS: list[tuple[Any, Request]] = [
    (
        lambda c: c.run_workflow("n", parameters={"a": 1}, priority=3, request_id="x"),
        RunWorkflow("x", "n", None, {"a": 1}, 3),
    ),
    (lambda c: c.run_workflow(file="/a.yaml", request_id="x"), RunWorkflow("x", None, "/a.yaml")),
    (
        lambda c: c.add_command(["ls"], "/", {"A": "b"}, "list", 2, [(12, "done")], request_id="x"),
        AddCommand("x", ("ls",), "/", {"A": "b"}, "list", 2, ((12, Condition.DONE),)),
    ),
    (lambda c: c.cancel_run(12, "why", request_id="x"), CancelRun("x", 12, "why")),
    (lambda c: c.retry_run(12, [5], "why", request_id="x"), RetryRun("x", 12, (5,), "why")),
    (lambda c: c.kill_task(5, 1.5, "why", request_id="x"), KillTask("x", 5, 1.5, "why")),
    (lambda c: c.set_queue("dependent", "pause", "why", request_id="x"), SetQueue("x", "dependent", True, None, "why")),
    (lambda c: c.set_queue("dependent", "resume", request_id="x"), SetQueue("x", "dependent", False, False)),
    (lambda c: c.set_queue("independent", "drain", request_id="x"), SetQueue("x", "independent", None, True)),
    (lambda c: c.stop("detach", "why", request_id="x"), StopEngine("x", "detach", "why")),
]


def test_every_call_reaches_the_engine_as_its_request_with_the_actor(tmp_path: Path) -> None:
    """The actor is whom the kernel says is on the other end."""

    async def main() -> None:
        runtime = FakeRuntime()
        async with serving(runtime, tmp_path) as client:
            for call, wanted in CALLS:
                reply = await call(client)
                assert reply == {"status": "done", "why": "", "data": {"run": "r12", "round": 1}}
                assert runtime.asked.pop() == (wanted, f"uid:{pwd.getpwuid(os.getuid()).pw_name}")

    asyncio.run(main())


@pytest.mark.parametrize(("status", "error"), [("refused", RequestRefusedError), ("missing", NotFoundError)])
def test_a_refusal_reaches_the_caller_with_its_reason(tmp_path: Path, status: str, error: type[Exception]) -> None:
    """409 and 404 become typed errors."""

    async def main() -> None:
        async with serving(FakeRuntime(reply=Reply(status, "because")), tmp_path) as client:
            with pytest.raises(error, match="because"):
                await client.cancel_run(1)

    asyncio.run(main())


BAD: list[tuple[str, dict[str, Any]]] = [
    ("/runs", {}),
    ("/runs", {"workflow": "a", "file": "/b"}),
    ("/runs", {"file": "relative"}),
    ("/runs", {"workflow": "a", "extra": 1}),
    ("/commands", {"argv": []}),
    ("/commands", {"argv": ["a"], "after": [{"run": "t5"}]}),
    ("/queues/other/pause", {}),
    ("/queues/dependent/explode", {}),
    ("/stop", {"mode": "maybe"}),
    ("/tasks/t1/kill", {"grace_seconds": -1}),
    ("/runs/1/cancel", {"request_id": ""}),
]


def test_bad_input_is_refused_before_the_engine_sees_it(tmp_path: Path) -> None:
    """422, and nothing was asked."""

    async def main() -> None:
        runtime = FakeRuntime()
        async with serving(runtime, tmp_path) as client:
            for path, body in BAD:
                assert (await client._send("POST", path, json=body)).status_code == 422
            assert runtime.asked == []

    asyncio.run(main())


def test_ids_are_taken_in_both_forms(tmp_path: Path) -> None:
    """r12 or 12, as text or number."""

    async def main() -> None:
        runtime = FakeRuntime()
        async with serving(runtime, tmp_path) as client:
            for run, task in (("r12", "t5"), ("12", 5)):
                answer = await client._send("POST", f"/runs/{run}/retry", json={"tasks": [task]})
                assert answer.status_code == 200
            assert [(r.run, r.tasks) for r, _ in runtime.asked if isinstance(r, RetryRun)] == [(12, (5,))] * 2

    asyncio.run(main())


def test_a_request_without_an_id_gets_one(tmp_path: Path) -> None:
    """So that curl needs no uuid."""

    async def main() -> None:
        runtime = FakeRuntime()
        async with serving(runtime, tmp_path) as client:
            await client._send("POST", "/stop", json={})
            assert len(runtime.asked[0][0].request_id) == 32

    asyncio.run(main())


def test_too_large_a_body_is_refused_with_and_without_a_stated_length(tmp_path: Path) -> None:
    """413 beyond 1 MiB; the engine sees nothing of it."""

    async def main() -> None:
        runtime = FakeRuntime()
        async with serving(runtime, tmp_path) as client:
            with pytest.raises(InvalidRequestError, match="1048576"):
                await client.add_command(["x" * 2**20])

            async def pieces() -> Any:
                for _ in range(40):
                    yield b"x" * 32768

            answer = await client._opened().post("/v1/runs", content=pieces())
            assert answer.status_code == 413
            kind = {"Content-Type": "application/json"}
            small = await client._opened().post("/v1/stop", content=_one(b'{"mode": "now"}'), headers=kind)
            assert small.status_code == 200
            assert len(runtime.asked) == 1

    asyncio.run(main())


async def _one(data: bytes) -> Any:
    yield data


def test_a_header_cannot_claim_to_be_somebody(tmp_path: Path) -> None:
    """X-Forwarded-For changes nothing."""

    async def main() -> None:
        runtime = FakeRuntime()
        async with serving(runtime, tmp_path) as client:
            await client._opened().post("/v1/stop", json={}, headers={"X-Forwarded-For": "uid=12345"})
            assert runtime.asked[0][1] == f"uid:{pwd.getpwuid(os.getuid()).pw_name}"

    asyncio.run(main())


def test_another_user_is_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is neither root nor the engine's user gets no answer at all."""
    monkeypatch.setattr("engine.api.peers.may_enter", lambda uid: False)

    async def main() -> None:
        runtime = FakeRuntime()
        async with serving(runtime, tmp_path):
            async with Client(tmp_path) as stranger:
                with pytest.raises(RuntimeError, match="no engine"):
                    await stranger.stop()
            assert runtime.asked == []

    asyncio.run(main())


def test_who_may_enter_and_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root and the engine's own user; a user without a name is a number."""
    from starlette.requests import Request as HttpRequest

    from engine.api.peers import actor_of, may_enter

    assert may_enter(0) and may_enter(os.getuid()) and not may_enter(54321)
    assert actor_of(HttpRequest({"type": "http", "client": ("uid=54321", 1)})) == "uid:54321"
    assert actor_of(HttpRequest({"type": "http"})) == "uid:-1"
