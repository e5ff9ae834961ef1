"""interlock engine: the headless engine, in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import root_of, root_option


@click.command("engine")
@root_option
@click.option("--only", is_flag=True, help="Run only what is asked for, then leave.")
@click.pass_context
def verb(ctx: click.Context, root: Path | None, only: bool) -> None:
    """Run the engine for this folder until it is told to stop."""
    found = root_of(root)
    from engine.daemon import main

    ctx.exit(main(found, only))
