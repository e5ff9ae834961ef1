"""interlock retry: a new round of an ended run."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import RUN, TASK, ask, output_options, root_option, why_option
from engine.cli.render import Output


@click.command("retry", short_help="Run again what failed in a run.")
@click.argument("run", type=RUN)
@click.option("--task", "tasks", type=TASK, multiple=True, help="Only this task (may be repeated).")
@why_option
@output_options
@root_option
def verb(run: int, tasks: tuple[int, ...], why: str, as_json: bool, quiet: bool, root: Path | None) -> None:
    """Run again what failed or was cancelled in RUN, and what was skipped because of it."""
    reply = ask(root, lambda client: client.retry_run(run, tasks, why))
    data = reply["data"]
    Output(as_json, quiet).record(data, f"r{run}", lambda: [f"run r{run}: round {data.get('round', '?')} is queued"])
