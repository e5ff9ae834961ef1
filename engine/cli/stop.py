"""interlock stop: ends the engine and waits until it has gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import click

from engine.api.client import Client, EngineNotRunningError
from engine.cli.options import ask, output_options, root_option, why_option
from engine.cli.render import Output, Row

_POLL_S = 0.1


@click.command("stop")
@click.option("--drain", "mode", flag_value="drain", default="drain", help="Let running tasks finish (the default).")
@click.option("--now", "mode", flag_value="now", help="Kill running tasks.")
@click.option("--detach", "mode", flag_value="detach", help="Leave running tasks to the next engine.")
@why_option
@output_options
@root_option
def verb(mode: str, why: str, as_json: bool, quiet: bool, root: Path | None) -> None:
    """Stop the engine and wait until it has gone."""
    reply = ask(root, lambda client: _stop(client, mode, why))
    Output(as_json, quiet).done(reply, None, "the engine has stopped")


async def _stop(client: Client, mode: str, why: str) -> Row:
    pid = int((await client.status())["pid"])
    # Held before the request: the descriptor means this very process, whoever gets its number later.
    process: int | None = None
    with contextlib.suppress(OSError):
        process = os.pidfd_open(pid)
    reply = await client.stop(mode, why)
    if process is None:
        await _until_silent(client)
    else:
        await _until_ended(process)
    return reply


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
