"""interlock schema: the job file's JSON Schema, for editors."""

from __future__ import annotations

import click

from engine.cli.render import Output


@click.command("schema")
def verb() -> None:
    """Print the JSON Schema of job files."""
    from engine.jobfiles.jsonschema import json_schema

    Output().json(json_schema())
