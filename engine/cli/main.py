"""The `interlock` command: finds the verb's module, and turns errors into messages and exit codes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from engine.api.client_errors import ClientError, EngineNotRunningError, InvalidRequestError
from engine.cli import options, render
from engine.model.errors import EngineBusyError

# Verb by module, in the order --help shows them. Loaded only when used, so that one verb costs one verb.
VERBS = {
    "engine": "engine_",
    "run": "run",
    "add": "add",
    "check": "check",
    "schema": "schema",
    "status": "status",
    "runs": "runs",
    "show": "show",
    "logs": "logs",
    "kill": "kill",
    "cancel": "cancel",
    "retry": "retry",
    "pause": "pause",
    "resume": "resume",
    "stop": "stop",
}

EXIT_CODES = """\b
Exit codes:
  0    done; the run succeeded
  1    the run failed, or a problem was found
  2    the command line is wrong
  3    the run was cancelled
  4    refused, or there is no such thing
  69   no engine is running
  75   the engine is busy, or another one holds the folder
  130  interrupted
"""


class Verbs(click.Group):
    """Loads a verb when it is called, and knows what each error means to a shell."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        found: click.Command = import_module(f"engine.cli.{VERBS[cmd_name]}").verb
        return found

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ClientError, EngineBusyError) as error:
            render.note(f"interlock: {error}")
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            render.note("interlock: interrupted")
            ctx.exit(options.INTERRUPTED)


def exit_code(error: Exception) -> int:
    if isinstance(error, EngineNotRunningError):
        return options.NO_ENGINE
    if isinstance(error, EngineBusyError):
        return options.BUSY
    return options.USAGE if isinstance(error, InvalidRequestError) else options.REFUSED


@click.group(cls=Verbs, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="interlock")
def main() -> None:
    """A durable job engine: drop a job file into jobs.d/, it runs, and you can see why."""


if __name__ == "__main__":
    main()
