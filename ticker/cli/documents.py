"""Commands that print what is in force: `config`."""

from pathlib import Path

import click

from ticker.cli.options import config_option, configured
from ticker.store.address import public_address


@click.command(name="config")
@config_option
def show_config(config_file: Path | None) -> None:
    """Print the configuration in force, without secrets."""
    click.echo(configured(config_file).as_yaml(public_address), nl=False)
