"""Commands on stored candles: `candles` shows them, `check` recomputes them."""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

import ticker.client
from ticker import candle_text
from ticker.check import Checker, Finding
from ticker.cli.options import config_option, configured, redis_option, url_option
from ticker.cli.running import NOTHING_CHECKABLE, known_symbols, mistakes_of_the_caller, run_to_end
from ticker.client import Candle, Progress, Rows
from ticker.store.connection import check_server, connect


@click.command()
@click.argument("symbol")
@click.option("--interval", default="1m", show_default=True)
@click.option("--start", help="Microseconds, RFC 3339 or a date.")
@click.option("--end", help="Likewise.")
@click.option("--limit", type=click.IntRange(min=1), help="How many [default: 500; all there are, with --start].")
@click.option("--format", "shape", type=click.Choice(candle_text.SHAPES), default="table", show_default=True)
@url_option
def candles(
    symbol: str, interval: str, start: str | None, end: str | None, limit: int | None, shape: str, url: str
) -> None:
    """History of SYMBOL from a gateway."""

    async def ask() -> Rows[Candle]:
        async with ticker.client.connect(url) as market:
            return await market.candles(symbol, interval, start, end, limit, forming=True, progress=_progress())

    with mistakes_of_the_caller():
        rows = run_to_end(ask())
    if shape == "json":
        click.echo(candle_text.as_json(symbol, interval, rows))
    elif shape == "csv":
        click.echo(candle_text.as_csv(rows))
    elif shape == "chart":
        width = shutil.get_terminal_size().columns
        click.echo(candle_text.as_chart(rows, width, lambda text, colour: click.style(text, fg=colour)))
    else:
        click.echo(candle_text.as_table(rows))


@click.command()
@click.argument("symbols", nargs=-1)
@config_option
@redis_option
def check(symbols: Sequence[str], config_file: Path | None, redis_url: str | None) -> None:
    """Recompute the candles of SYMBOLS (or all) from their ticks: exit code 0 equal, 1 different, 3 nothing to check."""
    config = configured(config_file, redis_url=redis_url)

    async def compare() -> list[Finding]:
        async with connect(config.redis.address, name="ticker-check") as client:
            await check_server(client)
            names = await known_symbols(client, symbols)
            checker = Checker(client, config.market.zone)
            return [finding for symbol in names for finding in await checker.check(symbol)]

    findings = run_to_end(compare())
    for finding in findings:
        click.echo(_finding_text(finding))
        for line in finding.different:
            click.echo(f"  {finding.symbol} {line}")
    if any(finding.different for finding in findings):
        sys.exit(1)
    sys.exit(0 if any(finding.equal for finding in findings) else NOTHING_CHECKABLE)


def _progress() -> Callable[[Progress], None] | None:
    """Says on a terminal how far a long answer has come."""
    if not sys.stderr.isatty():
        return None

    def say(progress: Progress) -> None:
        share = "" if progress.share is None else f", {progress.share:.0%}"
        click.echo(f"\r{progress.rows} candles{share} ", nl=False, err=True)
        if progress.share == 1:
            click.echo("\r\x1b[K", nl=False, err=True)

    return say


def _finding_text(finding: Finding) -> str:
    why = "".join(f"; {count} unchecked: {reason}" for reason, count in finding.unchecked.items())
    different = f"{len(finding.different)} differ" if finding.different else "none differ"
    return f"{finding.symbol} {finding.interval}: {finding.equal} equal, {different}{why}"
