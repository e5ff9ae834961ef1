"""interlock stop: ends the engine and waits until it has gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import click

from engine.api.client import Client, EngineNotRunningError
from engine.cli.options import ask, root_option, why_option
from engine.cli.render import note

_POLL_S = 0.1


@click.command("stop")
@click.option("--drain", "mode", flag_value="drain", default="drain", help="Let running tasks finish (the default).")
@click.option("--now", "mode", flag_value="now", help="Kill running tasks.")
@click.option("--detach", "mode", flag_value="detach", help="Leave running tasks to the next engine.")
@why_option
@root_option
def verb(mode: str, why: str, root: Path | None) -> None:
    """Stop the engine and wait until it has gone."""
    ask(root, lambda client: _stop(client, mode, why))
    note("the engine has stopped")


async def _stop(client: Client, mode: str, why: str) -> None:
    pid = int((await client.status())["pid"])
    # Held before the request: the descriptor means this very process, whoever gets its number later.
    process: int | None = None
    with contextlib.suppress(OSError):
        process = os.pidfd_open(pid)
    await client.stop(mode, why)
    if process is None:
        await _until_silent(client)
    else:
        await _until_ended(process)


async def _until_ended(process: int) -> None:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(process, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process)
        os.close(process)


async def _until_silent(client: Client) -> None:
    with contextlib.suppress(EngineNotRunningError):
        while True:
            await client.status()
            await asyncio.sleep(_POLL_S)
