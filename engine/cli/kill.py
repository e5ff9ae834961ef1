"""interlock kill: one task."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import TASK, ask, root_option, why_option
from engine.cli.render import note


@click.command("kill")
@click.argument("task", type=TASK)
@click.option("--grace", type=click.FloatRange(min=0), help="Seconds from SIGTERM to SIGKILL (default: the job's).")
@why_option
@root_option
def verb(task: int, grace: float | None, why: str, root: Path | None) -> None:
    """Kill a running task, or cancel it if it has not started. It is not retried."""
    ask(root, lambda client: client.kill_task(task, grace, why))
    note(f"task t{task}: kill is on record")
