"""The command line: every command, its options, and what it says."""

import sys

import click

from feeds.feed import FeedError
from ticker import __version__, logs
from ticker.cli import archives, documents, followers, history, servers
from ticker.cli.running import EXIT_CONFIG
from ticker.errors import ConfigError, TickerError
from ticker.redact import without_secrets


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Self-hosted market-data server: live ticks over WebSocket, history over REST, one exact record in Redis."""


for _command in (
    servers.run,
    servers.serve,
    servers.ingest,
    followers.tap,
    followers.watch,
    history.candles,
    history.check,
    archives.import_files,
    archives.archive_group,
    documents.show_config,
    documents.show_openapi,
    documents.show_asyncapi,
):
    cli.add_command(_command)


def main() -> None:
    """The program. A mistake of whoever calls it is one line on standard error and exit code 2."""
    logs.set_up()
    try:
        cli(standalone_mode=True)
    except (TickerError, FeedError) as error:
        click.echo(f"ticker: {without_secrets(str(error))}", err=True)
        sys.exit(EXIT_CONFIG if isinstance(error, ConfigError | FeedError) else 1)
