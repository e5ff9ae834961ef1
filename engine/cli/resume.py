"""interlock resume: one of the two queues."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import QUEUE, ask, root_option, why_option
from engine.cli.render import note


@click.command("resume")
@click.argument("queue", type=QUEUE)
@why_option
@root_option
def verb(queue: str, why: str, root: Path | None) -> None:
    """Let a paused or draining queue start work again."""
    ask(root, lambda client: client.set_queue(queue, "resume", why))
    note(f"queue {queue}: resumed")
