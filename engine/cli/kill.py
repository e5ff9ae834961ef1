"""interlock kill: one task."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import DURATION, TASK, ask, output_options, root_option, why_option
from engine.cli.render import Output


@click.command("kill", short_help="Kill or cancel one task.")
@click.argument("task", type=TASK)
@click.option("--grace", type=DURATION, help="From SIGTERM to SIGKILL, such as 10s (default: the job's).")
@why_option
@output_options
@root_option
def verb(task: int, grace: float | None, why: str, as_json: bool, quiet: bool, root: Path | None) -> None:
    """Kill a running task, or cancel it if it has not started. It is not retried."""
    reply = ask(root, lambda client: client.kill_task(task, grace, why))
    Output(as_json, quiet).done(reply, f"t{task}", f"task t{task}: kill is on record")
