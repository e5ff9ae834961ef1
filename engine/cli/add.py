"""interlock add: an ad-hoc command as a run of its own."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import RUN, ask, output_options, root_option
from engine.cli.render import Output


@click.command("add", short_help="Queue a command and return at once.")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED)
@click.option("--after", type=RUN, multiple=True, help="Start when this run has succeeded (may be repeated).")
@click.option("--priority", type=int, default=0, help="Higher is sooner.")
@click.option("--name", help="What to call it (default: the program's name).")
@click.option("--cwd", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where to run it.")
@output_options
@root_option
def verb(
    command: tuple[str, ...],
    after: tuple[int, ...],
    priority: int,
    name: str | None,
    cwd: Path | None,
    as_json: bool,
    quiet: bool,
    root: Path | None,
) -> None:
    """Queue COMMAND... (write -- before it) and return at once."""
    _refuse_odd_bytes(command)
    place = str((cwd or Path.cwd()).absolute())
    needed = [(run, "succeeded") for run in after]
    reply = ask(root, lambda client: client.add_command(command, cwd=place, name=name, priority=priority, after=needed))
    data = reply["data"]
    Output(as_json, quiet).record(data, data.get("run"), lambda: [f"run {data.get('run')} is queued"])


def _refuse_odd_bytes(command: tuple[str, ...]) -> None:
    """The record is text: bytes that are none cannot be kept, and so not be run again."""
    for word in command:
        try:
            word.encode()
        except UnicodeEncodeError:
            shown = word.encode(errors="surrogateescape").decode(errors="backslashreplace")
            raise click.UsageError(f"{shown} is not UTF-8 text; put the command into a script and add that") from None
