"""Commands that print what is in force: `config`; and the documents of the interface: `openapi`, `asyncapi`."""

import json
from pathlib import Path

import click

from ticker.cli.options import config_option, configured
from ticker.store.address import public_address


@click.command(name="config")
@config_option
def show_config(config_file: Path | None) -> None:
    """Print the configuration in force, without secrets."""
    click.echo(configured(config_file).as_yaml(public_address), nl=False)


@click.command(name="openapi")
@config_option
def show_openapi(config_file: Path | None) -> None:
    """Print the OpenAPI document of REST, with the limits of the configuration in force."""
    from ticker.web import openapi

    click.echo(json.dumps(openapi.document(configured(config_file).limits), indent=2))


@click.command(name="asyncapi")
@config_option
def show_asyncapi(config_file: Path | None) -> None:
    """Print the AsyncAPI document of the WebSocket."""
    from ticker.web import asyncapi

    click.echo(json.dumps(asyncapi.document(configured(config_file)), indent=2))
