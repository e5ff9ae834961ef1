"""interlock status: the engine, its queues, its workers, the files it cannot use, and the newest runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from engine.api.client import Client
from engine.cli.options import ask, output_options, root_option
from engine.cli.render import RUN_COLUMNS, Column, Output, Row, note, plural, when

_RECENT = 5
_EVENTS = 1000
_COLUMNS: tuple[Column, ...] = (
    ("queue", lambda q: q["name"]),
    ("slots", lambda q: q.get("slots")),
    ("running", lambda q: q.get("running")),
    ("ready", lambda q: q.get("ready")),
    ("waiting", lambda q: q.get("waiting")),
    ("switch", lambda q: switch(q) + (f": {q['why']}" if q.get("why") else "")),
)


@click.command("status", short_help="Show the engine and what it is doing.")
@output_options
@root_option
def verb(as_json: bool, quiet: bool, root: Path | None) -> None:
    """Show whether an engine runs here, what it is doing, and which job files are broken."""
    found = ask(root, _status)
    output = Output(as_json, quiet)
    output.record(found, found["state"], lambda: _lines(found))
    if as_json or quiet:
        return
    output.table([{"name": name, **queue} for name, queue in found["queues"].items()], _COLUMNS)
    if found["runs"]:
        output.line("")
        output.table(found["runs"], RUN_COLUMNS)
    for problem in found["problems"]:
        note(f"problem: {problem}")
    for file in found["broken"]:
        first, *more = file.get("problems") or [f"{file['path']}: broken"]
        note(f"broken: {first}" + (f" (and {len(more)} more)" if more else ""))


def switch(queue: Row) -> str:
    return "paused" if queue.get("paused") else "draining" if queue.get("draining") else "open"


async def _status(client: Client) -> Row:
    """With the broken files, and the newest runs and all that run behind them."""
    found = await client.status()
    found["broken"] = [each for each in await client.workflows() if each.get("state") == "broken"]
    newest = await client.runs(limit=_RECENT)
    known = {run["id"] for run in newest}
    found["runs"] = newest + [run for run in await client.runs(state="running") if run["id"] not in known]
    for name, queue in found["queues"].items():
        if switch(queue) != "open" and (why := await _why(client, name, switch(queue))):
            queue["why"] = why
    return found


async def _why(client: Client, queue: str, word: str) -> str:
    """The reason given with the last switch of the queue."""
    since, why = 0, ""
    while page := await client.events(since=since, limit=_EVENTS, kind=f"queue.{word}"):
        since = page[-1]["rev"]
        why = next((e.get("why") or "" for e in reversed(page) if (e.get("data") or {}).get("queue") == queue), why)
    return why


def _lines(found: Row) -> Iterator[str]:
    yield f"engine {found['version']} is {found['state']}, pid {found['pid']}, since {when(found.get('started'))}"
    yield f"root {found['root']}, revision {found['revision']}, {plural(len(found['workers']), 'worker')}"
