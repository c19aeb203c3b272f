"""Commands that follow what is live: `tap` in Redis, `watch` at a gateway."""

from collections.abc import Sequence
from pathlib import Path

import click

import ticker.client
from ticker import codec
from ticker.cli.options import config_option, configured, redis_option, url_option
from ticker.cli.running import ended_by_signals, known_symbols, mistakes_of_the_caller, run_to_end, until_signal
from ticker.errors import ConfigError
from ticker.store.connection import check_server, connect
from ticker.tap import follow
from ticker.watch import Watch


@click.command()
@click.argument("symbols", nargs=-1, required=True)
@click.option("--quotes", is_flag=True, help="Quotes instead of trades.")
@click.option(
    "--from", "start", default="$", help="Stream id to begin after; 0 is the oldest kept [default: only new ones]."
)
@click.option("--json", "as_json", is_flag=True, help="The messages as they are, one a line.")
@config_option
@redis_option
def tap(
    symbols: Sequence[str], quotes: bool, start: str, as_json: bool, config_file: Path | None, redis_url: str | None
) -> None:
    """Follow the Redis streams of SYMBOLS."""
    config = configured(config_file, redis_url=redis_url)

    async def forever() -> None:
        async with connect(config.redis.address, name="ticker-tap") as client:
            await check_server(client)
            await known_symbols(client, symbols)
            async for symbol, entry_id, message in follow(client, "quotes" if quotes else "trades", symbols, start):
                click.echo(message if as_json else f"{entry_id}  {symbol}  {_short(message)}")

    with ended_by_signals():
        run_to_end(until_signal(forever()))


@click.command()
@click.argument("symbols", nargs=-1, required=True)
@click.option("--quotes", is_flag=True, help="Quotes instead of trades.")
@click.option("--candles", "interval", metavar="INTERVAL", help="Candles of this interval instead of trades.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON, one object a line.")
@url_option
def watch(symbols: Sequence[str], quotes: bool, interval: str | None, as_json: bool, url: str) -> None:
    """Follow SYMBOLS (`*`: all) at a gateway; says when the connection is lost, and what was resumed."""
    if quotes and interval:
        raise ConfigError("--quotes and --candles exclude each other")
    channel = "candles" if interval else "quotes" if quotes else "trades"
    said = Watch(click.echo, as_json=as_json)

    async def forever() -> None:
        async with ticker.client.connect(url) as market:
            await said.follow(market.subscribe(channel, symbols, interval, on_notice=said.notice))

    with ended_by_signals(), mistakes_of_the_caller():
        run_to_end(until_signal(forever()))
        said.sum_up()


def _short(message: str) -> str:
    """A tick for people: without what stands beside it already."""
    row = codec.from_json(message)
    return "  ".join(f"{name} {value}" for name, value in row.items() if name not in ("type", "symbol"))
