"""interlock runs: the newest runs, of one workflow or in one state."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import ask, output_options, root_option
from engine.cli.render import RUN_COLUMNS, Output
from engine.model.lifecycle import RunState


@click.command("runs", short_help="List the newest runs.")
@click.option("--workflow", "-w", help="Only this workflow's.")
@click.option("--state", type=click.Choice([str(state) for state in RunState]), help="Only those in this state.")
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many.")
@output_options
@root_option
def verb(workflow: str | None, state: str | None, limit: int, as_json: bool, quiet: bool, root: Path | None) -> None:
    """List runs, the newest first."""
    found = ask(root, lambda client: client.runs(workflow=workflow, state=state, limit=limit))
    Output(as_json, quiet).rows(found, RUN_COLUMNS, lambda run: run["id"])
