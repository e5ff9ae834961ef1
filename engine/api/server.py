"""The door: the FastAPI application over the engine's surface, and the server that runs it inside the engine's loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from socket import socket

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from engine.api.limits import BodyLimit
from engine.api.listener import Listener
from engine.api.peers import PeerProtocol
from engine.api.protocol import Problem
from engine.api.routes_read import reads
from engine.api.routes_stream import streams
from engine.api.routes_write import writes
from engine.api.surface import EngineSurface
from engine.api.wire import BadIdError
from engine.model.errors import EngineBusyError

BODY_LIMIT = 1024 * 1024
RETRY_AFTER_S = 1
STOP_GRACE_S = 2  # what a client that does not read may hold up the engine's end

_WORDS = {404: "missing", 405: "invalid", 409: "refused", 413: "too_large", 503: "starting"}


def create_app(runtime: EngineSurface) -> FastAPI:
    """The application. `app.state.stopping` ends the streams; the server sets it first when it stops."""
    app = FastAPI(title="Interlock", version="1", openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None)
    app.state.runtime = runtime
    app.state.stopping = asyncio.Event()
    for router in (reads, streams, writes):
        app.include_router(router, prefix="/v1")
    app.add_exception_handler(EngineBusyError, _busy)
    app.add_exception_handler(BadIdError, _invalid)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(BodyLimit, limit=BODY_LIMIT)
    return app


def _problem(code: int, status: str, why: str, headers: dict[str, str] | None = None) -> JSONResponse:
    body = Problem.model_validate({"status": status, "why": why}).model_dump()
    return JSONResponse(body, status_code=code, headers=headers)


async def _busy(_request: Request, error: Exception) -> JSONResponse:
    why = str(error) or "the engine cannot record anything just now; send the same request again"
    return _problem(503, "busy", why, {"Retry-After": str(RETRY_AFTER_S)})


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RequestValidationError):
        faults = (f"{'.'.join(str(p) for p in e['loc'][1:]) or 'body'}: {e['msg']}" for e in error.errors())
        return _problem(422, "invalid", "; ".join(faults))
    return _problem(422, "invalid", str(error))


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, _WORDS.get(error.status_code, "failed"), str(error.detail))


async def _failed(_request: Request, error: Exception) -> JSONResponse:
    return _problem(500, "failed", f"{type(error).__name__}; the engine's log has the rest")


class _Uvicorn(uvicorn.Server):
    """uvicorn as a guest: the engine owns the signals, and wants to know when the door is open."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


class ApiServer:
    """Serves `app` on a socket file in `socket_dir` from start() to stop()."""

    def __init__(self, app: FastAPI, socket_dir: Path) -> None:
        self._app, self._folder = app, socket_dir
        self._listener: Listener | None = None
        self._server: _Uvicorn | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def path(self) -> Path | None:
        return self._listener.path if self._listener is not None else None

    async def start(self) -> None:
        """Binds and answers when it returns. Raises SocketInUseError or OSError if it cannot."""
        self._listener = Listener(self._folder)
        self._server = _Uvicorn(_config(self._app))
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener.socket]), name="api")
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait({up, self._task}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._task.done():
            self._listener.close()
            self._task.result()

    async def stop(self) -> None:
        """Ends the streams, lets answers under way go out, closes, and removes the socket file if it is still ours."""
        if self._task is None or self._server is None or self._listener is None:
            return
        self._app.state.stopping.set()
        self._server.should_exit = True
        await asyncio.wait({self._task})
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()  # a client that neither reads nor leaves
        self._listener.close()
        task, self._task = self._task, None
        task.result()


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=PeerProtocol,
        ws="none",
        lifespan="off",
        loop="none",
        access_log=False,
        log_config=None,
        log_level="error",
        proxy_headers=False,  # else a header could claim to be somebody
        server_header=False,
        timeout_graceful_shutdown=STOP_GRACE_S,
    )
