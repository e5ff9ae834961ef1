"""The socket file: whose it is, who may open it, what stands in its way, and what a client says when there is none."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from fake_runtime import FakeRuntime, serving

from engine.api.client import Client, EngineBusyError, EngineNotRunningError
from engine.api.client_errors import ClientError, refusal
from engine.api.listener import Listener, SocketInUseError
from engine.api.server import ApiServer, create_app


def test_the_socket_is_its_owners_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    """0600 in a 0700 folder, whatever the umask."""
    folder = tmp_path / "state"

    async def main() -> None:
        before = os.umask(0)
        try:
            async with serving(FakeRuntime(), folder):
                assert stat.S_IMODE((folder / "engine.sock").stat().st_mode) == 0o600
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        finally:
            os.umask(before)
        assert list(folder.iterdir()) == []

    asyncio.run(main())


def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    """Both sides go through the folder's descriptor."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)

    async def main() -> None:
        async with serving(FakeRuntime(), deep) as client:
            assert (await client.status())["pid"] == 4242
        async with Client(deep / "missing") as client:
            with pytest.raises(EngineNotRunningError, match="interlock engine"):
                await client.status()

    asyncio.run(main())


def test_a_stale_socket_is_removed_and_a_living_one_is_not(tmp_path: Path) -> None:
    """Only one that nobody answers on is stale."""
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "engine.sock"))
    dead.close()
    first = Listener(tmp_path)
    with pytest.raises(SocketInUseError):
        Listener(tmp_path)
    first.close()
    assert not (tmp_path / "engine.sock").exists()


def test_a_successors_socket_is_left_alone(tmp_path: Path) -> None:
    """At the stop the file is removed only if it is the one we made."""
    first = Listener(tmp_path)
    (tmp_path / "engine.sock").rename(tmp_path / "away")
    second = Listener(tmp_path)
    first.close()
    assert (tmp_path / "engine.sock").exists()
    second.close()
    second.close()


def test_a_folder_that_cannot_hold_a_socket_is_an_error_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bind's own error reaches the caller, and stop() afterwards is harmless."""
    (tmp_path / "engine.sock").mkdir()
    with pytest.raises(IsADirectoryError):
        Listener(tmp_path)

    async def main() -> None:
        server = ApiServer(create_app(FakeRuntime()), tmp_path)
        with pytest.raises(IsADirectoryError):
            await server.start()
        assert server.path is None
        await server.stop()

    asyncio.run(main())


def test_the_servers_guest_leaves_the_signals_to_the_engine(tmp_path: Path) -> None:
    """uvicorn's own handlers are not installed."""

    async def main() -> None:
        before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
        async with serving(FakeRuntime(), tmp_path):
            assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before

    asyncio.run(main())


def test_a_client_that_neither_reads_nor_leaves_does_not_hold_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the grace its connection is cut."""
    monkeypatch.setattr("engine.api.server.STOP_GRACE_S", 0.05)

    async def main() -> None:
        runtime = FakeRuntime()
        runtime.commit(*({"kind": "k" * 1000} for _ in range(5000)))
        server = ApiServer(create_app(runtime), tmp_path)
        await server.start()
        assert server.path is not None
        reader, writer = await asyncio.open_unix_connection(server.path, limit=1)
        writer.write(b"GET /v1/events/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.read(1)
        async with asyncio.timeout(5):
            await server.stop()
        writer.close()

    asyncio.run(main())


def test_a_client_loads_neither_database_nor_server() -> None:
    """Neither SQLAlchemy nor FastAPI nor Textual nor pydantic, so a command starts at once."""
    code = (
        "import engine.api.client, engine.cli.main, engine.cli.status, sys; "
        "heavy = {'sqlalchemy', 'fastapi', 'starlette', 'uvicorn', 'textual', 'pydantic'} & set(sys.modules); "
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_engine_is_said_with_the_way_to_start_one(tmp_path: Path) -> None:
    """Also when a stale socket stands there."""

    async def main() -> None:
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(str(tmp_path / "engine.sock"))
        dead.close()
        async with Client(tmp_path) as client:
            with pytest.raises(EngineNotRunningError, match=f"interlock engine --root {tmp_path.parent}"):
                await client.stop()

    asyncio.run(main())


def test_a_broken_connection_is_tried_once_more_and_a_slow_answer_is_busy(tmp_path: Path) -> None:
    """A request may be repeated; its id makes that harmless."""
    calls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request.url.path)
        if request.url.path == "/v1/status" and len(calls) == 1:
            raise httpx.ReadError("cut")
        if request.url.path == "/v1/workflows":
            raise httpx.ReadTimeout("slow")
        return httpx.Response(200, json={"items": []})

    async def main() -> None:
        async with Client(tmp_path) as client:
            client._http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://engine")
            assert await client.status() == {"items": []}
            assert len(calls) == 2
            with pytest.raises(EngineBusyError):
                await client.workflows()

    asyncio.run(main())


def test_an_answer_that_is_not_ours_is_still_an_error_with_its_text() -> None:
    """Unknown codes and bodies do not hide what was said."""
    assert str(refusal(500, "plain")) == "plain" and isinstance(refusal(500, "plain"), ClientError)
    assert "502" in str(refusal(502, ""))
    assert str(refusal(404, "[]")) == "[]"
