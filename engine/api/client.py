"""The way to the engine for everything that is not the engine: HTTP over its Unix socket, answers as plain dicts.
Imports neither server nor database, so that a console or a one-line command starts at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx

from engine.api.client_errors import (
    EngineNotRunningError,
    InvalidRequestError,
    NotFoundError,
    RequestRefusedError,
    refusal,
)
from engine.api.wire import show_id
from engine.model.errors import EngineBusyError

__all__ = [
    "Client",
    "EngineBusyError",
    "EngineNotRunningError",
    "InvalidRequestError",
    "NotFoundError",
    "RequestRefusedError",
    "StreamItem",
]

Answer = dict[str, Any]
SOCKET_NAME = "engine.sock"
_ADDRESS_BYTES = 107  # what a Unix socket address holds
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_SILENCE_S = 20.0  # the stream pings every 5 s; after this it is taken for dead
_BUSY_TRIES = 4


@dataclass(frozen=True)
class StreamItem:
    """`name`: hello, event, progress, gap, ping or bye. `rev` is the event's revision."""

    name: str
    data: Answer
    rev: int | None = None


class Client:
    """One engine's client; `folder` is the state folder (`ROOT/.interlock`). Use as an async context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder_fd: int | None = None
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()
        if self._folder_fd is not None:
            os.close(self._folder_fd)
            self._folder_fd = None

    # Questions

    async def status(self) -> Answer:
        return await self._get("/status")

    async def ready(self) -> bool:
        """Whether the engine takes new work now."""
        try:
            await self._get("/health/ready")
        except EngineBusyError:
            return False
        return True

    async def workflows(self) -> list[Answer]:
        return _items(await self._get("/workflows"))

    async def workflow(self, name: str) -> Answer:
        return await self._get(f"/workflows/{quote(name, safe='')}")

    async def runs(
        self, workflow: str | None = None, state: str | None = None, limit: int = 100, before: str | None = None
    ) -> list[Answer]:
        return _items(await self._get("/runs", workflow=workflow, state=state, limit=limit, before=before))

    async def run(self, run: int) -> Answer:
        return await self._get(f"/runs/{show_id('run', run)}")

    async def run_tasks(
        self, run: int, state: str | None = None, queue: str | None = None, job: str | None = None
    ) -> AsyncIterator[Answer]:
        """Every task of the run, page by page."""
        after: str | None = None
        path = f"/runs/{show_id('run', run)}/tasks"
        while True:
            page = await self._get(path, state=state, queue=queue, job=job, after=after)
            for task in _items(page):
                yield task
            after = page["next"]
            if after is None:
                return

    async def task(self, task: int) -> Answer:
        return await self._get(f"/tasks/{show_id('task', task)}")

    async def events(
        self, since: int = 0, limit: int = 1000, run: int | None = None, kind: str | None = None
    ) -> list[Answer]:
        return _items(await self._get("/events", since=since, limit=limit, run=run, kind=kind))

    async def stream(self, since: int = 0, run: int | None = None) -> AsyncGenerator[StreamItem, None]:
        """Events after revision `since`, then live. Ends when the engine closes it or is lost: ask again from the
        last `rev`. Raises EngineNotRunningError if nothing answers at the start."""
        silence = httpx.Timeout(_TIMEOUT.connect, read=_SILENCE_S)
        params = _given(since=since, run=run)
        with contextlib.suppress(httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError):
            async with self._open("/events/stream", params, silence) as answer:
                async for item in _parse(answer.aiter_lines()):
                    yield item

    async def log(
        self,
        task: int,
        attempt: int | None = None,
        stream: str = "all",
        tail_bytes: int | None = None,
        follow: bool = False,
        whole_lines: bool = False,
    ) -> AsyncGenerator[bytes, None]:
        """The raw bytes of an attempt's output as they come."""
        flags = _given(follow=follow or None, whole_lines=whole_lines or None)
        params = _given(attempt=attempt, stream=stream, tail_bytes=tail_bytes) | flags
        patience = httpx.Timeout(_TIMEOUT.connect, read=None if follow else 30.0)
        path = f"/tasks/{show_id('task', task)}/log"
        try:
            async with self._open(path, params, patience) as answer:
                async for data in answer.aiter_bytes():
                    yield data
        except httpx.TransportError as error:  # cut short: what was read is not all there is
            raise EngineNotRunningError(self._folder, error) from error

    # Requests. Each sends a request_id: the same one again is the same request, and is harmless.

    async def run_workflow(
        self,
        workflow: str | None = None,
        file: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        priority: int | None = None,
        request_id: str | None = None,
    ) -> Answer:
        body = _given(workflow=workflow, file=file, priority=priority)
        return await self._post("/runs", {**body, "parameters": dict(parameters or {})}, request_id)

    async def add_command(
        self,
        argv: Sequence[str],
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        name: str | None = None,
        priority: int = 0,
        after: Sequence[tuple[int, str]] = (),
        request_id: str | None = None,
    ) -> Answer:
        body = _given(argv=list(argv), cwd=cwd, env=dict(env or {}), name=name, priority=priority)
        body["after"] = [{"run": run, "when": when} for run, when in after]
        return await self._post("/commands", body, request_id)

    async def cancel_run(self, run: int, why: str = "", request_id: str | None = None) -> Answer:
        return await self._post(f"/runs/{show_id('run', run)}/cancel", {"why": why}, request_id)

    async def retry_run(
        self, run: int, tasks: Sequence[int] = (), why: str = "", request_id: str | None = None
    ) -> Answer:
        body = {"tasks": list(tasks), "why": why}
        return await self._post(f"/runs/{show_id('run', run)}/retry", body, request_id)

    async def kill_task(
        self, task: int, grace_seconds: float | None = None, why: str = "", request_id: str | None = None
    ) -> Answer:
        body = _given(grace_seconds=grace_seconds, why=why)
        return await self._post(f"/tasks/{show_id('task', task)}/kill", body, request_id)

    async def set_queue(self, queue: str, verb: str, why: str = "", request_id: str | None = None) -> Answer:
        """`verb`: pause, resume or drain."""
        return await self._post(f"/queues/{quote(queue, safe='')}/{verb}", {"why": why}, request_id)

    async def stop(self, mode: str = "drain", why: str = "", request_id: str | None = None) -> Answer:
        return await self._post("/stop", {"mode": mode, "why": why}, request_id)

    # The wire

    async def _get(self, path: str, **params: Any) -> Answer:
        return _read(await self._send("GET", path, params=_given(**params) or None))

    async def _post(self, path: str, body: Answer, request_id: str | None) -> Answer:
        body = {**body, "request_id": request_id or uuid4().hex}
        for _ in range(_BUSY_TRIES - 1):
            answer = await self._send("POST", path, json=body)
            if answer.status_code != 503:
                return _read(answer)
            await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
        return _read(await self._send("POST", path, json=body))

    async def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Sends, and once again if the connection broke: every request may be repeated."""
        for last in (False, True):
            try:
                return await self._opened().request(method, "/v1" + path, **more)
            except httpx.TimeoutException as error:
                raise EngineBusyError("the engine has not answered in time") from error
            except httpx.ConnectError as error:
                raise EngineNotRunningError(self._folder, error) from error
            except httpx.TransportError as error:
                if last:
                    raise EngineNotRunningError(self._folder, error) from error
        raise AssertionError

    @contextlib.asynccontextmanager
    async def _open(self, path: str, params: Answer, patience: httpx.Timeout) -> AsyncIterator[httpx.Response]:
        try:
            async with self._opened().stream("GET", "/v1" + path, params=params, timeout=patience) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    _read(answer)
                yield answer
        except httpx.ConnectError as error:
            raise EngineNotRunningError(self._folder, error) from error

    def _opened(self) -> httpx.AsyncClient:
        if self._http is None:
            transport = httpx.AsyncHTTPTransport(uds=self._address())
            self._http = httpx.AsyncClient(
                transport=transport, base_url="http://engine", timeout=_TIMEOUT, trust_env=False
            )
        return self._http

    def _address(self) -> str:
        path = str(self._folder.absolute() / SOCKET_NAME)
        if len(os.fsencode(path)) <= _ADDRESS_BYTES:
            return path
        try:
            self._folder_fd = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise EngineNotRunningError(self._folder, error) from error
        return f"/proc/self/fd/{self._folder_fd}/{SOCKET_NAME}"


def _given(**values: Any) -> Answer:
    return {key: value for key, value in values.items() if value is not None}


def _items(page: Answer) -> list[Answer]:
    items: list[Answer] = page["items"]
    return items


def _read(answer: httpx.Response) -> Answer:
    if answer.status_code == 200:
        body: Answer = answer.json()
        return body
    raise refusal(answer.status_code, answer.text)


async def _parse(lines: AsyncIterator[str]) -> AsyncIterator[StreamItem]:
    """Server-sent events as our server writes them: one data line each, a blank line ends one."""
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            rev = int(fields["id"]) if "id" in fields else None
            yield StreamItem(fields.get("event", "event"), json.loads(fields.get("data", "{}")), rev)
            fields = {}
