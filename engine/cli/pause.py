"""interlock pause: one of the two queues."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import QUEUE, ask, output_options, root_option, why_option
from engine.cli.render import Output


@click.command("pause")
@click.argument("queue", type=QUEUE)
@why_option
@output_options
@root_option
def verb(queue: str, why: str, as_json: bool, quiet: bool, root: Path | None) -> None:
    """Start nothing more from a queue; what runs goes on."""
    reply = ask(root, lambda client: client.set_queue(queue, "pause", why))
    Output(as_json, quiet).done(reply, queue, f"queue {queue}: paused")
