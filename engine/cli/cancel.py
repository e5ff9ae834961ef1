"""interlock cancel: a whole run."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import RUN, ask, root_option, why_option
from engine.cli.render import note


@click.command("cancel")
@click.argument("run", type=RUN)
@why_option
@root_option
def verb(run: int, why: str, root: Path | None) -> None:
    """Cancel a run: what runs is killed, what waits never starts."""
    ask(root, lambda client: client.cancel_run(run, why))
    note(f"run r{run}: cancel is on record")
