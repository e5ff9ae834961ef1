"""interlock run: one workflow or job file, now, to its end. With no engine here it starts one that runs only this."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from engine.api.client import Client, EngineNotRunningError
from engine.api.client_errors import ClientError
from engine.api.wire import parse_id
from engine.cli.attend import Attendant, listening
from engine.cli.follow import Follower
from engine.cli.options import OK, STATE_FOLDER, output_options, root_of, root_option
from engine.cli.outcome import tell_outcome
from engine.cli.progress import view_for
from engine.cli.render import Output, Row, note
from engine.cli.spawn import ensure_engine
from engine.model.errors import EngineBusyError

_FILE_SUFFIXES = (".yaml", ".yml", ".toml")
_START_TRIES = 3


@click.command("run", short_help="Run a workflow or a file to its end.")
@click.argument("what", metavar="WORKFLOW|FILE")
@click.option("--param", "-p", "params", multiple=True, metavar="K=V", help="A parameter: K=text, or K:=JSON.")
@click.option("--detach", is_flag=True, help="Return as soon as the run is on record.")
@click.option("--priority", type=int, help="Higher is sooner (default: the workflow's).")
@output_options
@root_option
@click.pass_context
def verb(
    ctx: click.Context,
    what: str,
    params: tuple[str, ...],
    detach: bool,
    priority: int | None,
    as_json: bool,
    quiet: bool,
    root: Path | None,
) -> None:
    """Run WORKFLOW or job FILE to its end; the exit code says how it went."""
    asked = {**_source(what), "parameters": _parameters(params), "priority": priority, "request_id": uuid4().hex}
    ctx.exit(asyncio.run(_run(root_of(root), asked, detach, Output(as_json, quiet))))


async def _run(root: Path, asked: dict[str, Any], detach: bool, output: Output) -> int:
    async with Client(root / STATE_FOLDER) as client:
        await ensure_engine(client, root)
        with listening() as interrupts:
            made = await _start(client, root, asked)
            await _warn_if_broken(client, asked.get("workflow"))
            if detach:
                output.record(made, made["run"], lambda: [f"run {made['run']} is queued"])
                return OK
            return await _follow(client, made, output, interrupts)


async def _start(client: Client, root: Path, asked: dict[str, Any]) -> Row:
    """The run, on record. An engine that was just leaving when we found it is replaced; the request id stays."""
    for _ in range(_START_TRIES - 1):
        await ensure_engine(client, root)
        try:
            return _made(await client.run_workflow(**asked))
        except EngineNotRunningError:
            continue
    await ensure_engine(client, root)
    return _made(await client.run_workflow(**asked))


async def _warn_if_broken(client: Client, name: str | None) -> None:
    """Says so when the file is broken and its last good version is what runs."""
    if name is None:
        return
    with suppress(ClientError, EngineBusyError):
        found = await client.workflow(name)
        if found.get("state") == "broken":
            first = next(iter(found.get("problems") or ()), "")
            note(f"warning: {found.get('path')} is broken, its last good version runs: {first}")


def _made(reply: Row) -> Row:
    data: Row = reply["data"]
    return data


async def _follow(client: Client, made: Row, output: Output, interrupts: asyncio.Queue[None]) -> int:
    run, round_ = parse_id("run", made["run"]), int(made.get("round", 1))
    view = view_for(output.as_json or output.quiet)
    follower = Follower(client, run, round_, view)

    async def at_end(state: str) -> int:
        view.pause()
        return await tell_outcome(client, run, state, output)

    cancel = partial(client.cancel_run, run, "interrupted")
    attendant = Attendant(view, cancel, sys.stdin.isatty(), interrupts)
    return await attendant.wait(asyncio.create_task(follower.follow(at_end)))


def _source(what: str) -> dict[str, str]:
    """A workflow's name, or a file: what looks like a path is one."""
    path = Path(what)
    if "/" not in what and path.suffix not in _FILE_SUFFIXES:
        return {"workflow": what}
    if not path.is_file():
        raise click.UsageError(f"there is no file {what}")
    return {"file": str(path.absolute())}


def _parameters(given: tuple[str, ...]) -> dict[str, Any]:
    return dict(_parameter(one) for one in given)


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.rstrip(":"):
        raise click.UsageError(f"--param {text}: write NAME=TEXT or NAME:=JSON")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], json.loads(value)
    except ValueError as error:
        raise click.UsageError(f"--param {text}: {error}") from None
