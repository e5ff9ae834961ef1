"""interlock resume: one of the two queues."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import QUEUE, ask, output_options, root_option, why_option
from engine.cli.render import Output


@click.command("resume", short_help="Let a queue start work again.")
@click.argument("queue", type=QUEUE)
@why_option
@output_options
@root_option
def verb(queue: str, why: str, as_json: bool, quiet: bool, root: Path | None) -> None:
    """Let a paused or draining queue start work again."""
    reply = ask(root, lambda client: client.set_queue(queue, "resume", why))
    Output(as_json, quiet).done(reply, queue, f"queue {queue}: resumed")
