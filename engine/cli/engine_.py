"""interlock engine: the headless engine, in the foreground."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

import click

from engine.cli.options import STATE_FOLDER, root_of, root_option
from engine.cli.starting import STARTING


@click.command("engine")
@root_option
@click.option("--only", is_flag=True, help="Run only what is asked for, then leave.")
@click.pass_context
def verb(ctx: click.Context, root: Path | None, only: bool) -> None:
    """Run the engine for this folder until it is told to stop."""
    found = root_of(root)
    with contextlib.suppress(OSError):  # what is wrong with the folder, the engine itself says better
        announce(found / STATE_FOLDER)
    from engine.daemon import main

    ctx.exit(main(found, only))


def announce(folder: Path) -> None:
    """Lets clients know that an engine is on its way, long before it has loaded what it needs to take the folder's own
    lock. Held until this process ends. Raises BlockingIOError if another engine has announced itself."""
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / STARTING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
