"""interlock cancel: a whole run."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import RUN, ask, output_options, root_option, why_option
from engine.cli.render import Output


@click.command("cancel", short_help="Cancel a whole run.")
@click.argument("run", type=RUN)
@why_option
@output_options
@root_option
def verb(run: int, why: str, as_json: bool, quiet: bool, root: Path | None) -> None:
    """Cancel a run: what runs is killed, what waits never starts."""
    reply = ask(root, lambda client: client.cancel_run(run, why))
    Output(as_json, quiet).done(reply, f"r{run}", f"run r{run}: cancel is on record")
