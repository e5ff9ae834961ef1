"""interlock status: the engine, its queues and its workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from engine.cli.options import ask, output_options, root_option
from engine.cli.render import Column, Output, Row, note, when

_COLUMNS: tuple[Column, ...] = (
    ("queue", lambda q: q["name"]),
    ("slots", lambda q: q.get("slots")),
    ("running", lambda q: q.get("running")),
    ("ready", lambda q: q.get("ready")),
    ("waiting", lambda q: q.get("waiting")),
    ("switch", lambda q: "paused" if q.get("paused") else "draining" if q.get("draining") else "open"),
)


@click.command("status")
@output_options
@root_option
def verb(as_json: bool, quiet: bool, root: Path | None) -> None:
    """Show whether an engine runs here and what it is doing."""
    found = ask(root, lambda client: client.status())
    output = Output(as_json, quiet)
    output.record(found, found["state"], lambda: _lines(found))
    if not (as_json or quiet):
        output.table([{"name": name, **queue} for name, queue in found["queues"].items()], _COLUMNS)
        for problem in found["problems"]:
            note(f"problem: {problem}")


def _lines(found: Row) -> Iterator[str]:
    yield f"engine {found['version']} is {found['state']}, pid {found['pid']}, since {when(found.get('started'))}"
    yield f"root {found['root']}, revision {found['revision']}, {len(found['workers'])} workers"
