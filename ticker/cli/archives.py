"""Commands on the archive: `archive now`, `archive list`, `archive verify`, and `import`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ticker.candles.interval import INTERVALS
from ticker.cli.options import config_option, configured, redis_option
from ticker.cli.running import NOTHING_CHECKABLE, known_symbols, run_to_end
from ticker.ingest.ingester import wall_us
from ticker.store.connection import check_server, connect

if TYPE_CHECKING:
    from ticker.archive.verify import Report


@click.command(name="import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--symbol", help="Whose rows these are, where the files have no column for it.")
@click.option(
    "--interval",
    type=click.Choice(["1s", "1m", "1d"]),
    default="1m",
    show_default=True,
    help="Of candles in the files.",
)
@click.option("--column", "columns", multiple=True, metavar="OURS=THEIRS", help="Which column of the files is ours.")
@click.option(
    "--time-unit",
    type=click.Choice(["s", "ms", "us", "ns"]),
    default="us",
    show_default=True,
    help="Of times that are numbers.",
)
@click.option("--time-zone", help="Of times without an offset.")
@click.option("--dry-run", is_flag=True, help="Say what would be added, and add nothing.")
@click.option("--strict", is_flag=True, help="Stop at the first bad row.")
@config_option
@redis_option
def import_files(
    files: Sequence[Path],
    symbol: str | None,
    interval: str,
    columns: Sequence[str],
    time_unit: str,
    time_zone: str | None,
    dry_run: bool,
    strict: bool,
    config_file: Path | None,
    redis_url: str | None,
) -> None:
    """Load trades, quotes or candles of before the live record, and of its outages, from FILES, CSV or Parquet.

    A second run goes on where the first was stopped. Exit code 1: there were bad rows, the others are in.
    """
    from ticker.archiving import needed_archive
    from ticker.importing.counting import Result
    from ticker.importing.existing import days_free_before, holes, tell
    from ticker.importing.filling import fill
    from ticker.importing.importer import Importer
    from ticker.importing.rows import Options, look_at
    from ticker.importing.told import columns_of, import_text, zone_of
    from ticker.importing.values import Timing

    config = configured(config_file, redis_url=redis_url)
    archive = needed_archive(config)
    timing = Timing(time_unit, zone_of(time_zone), config.market.zone)
    options = Options(timing, INTERVALS[interval], symbol, columns_of(columns))
    sources = [look_at(path, options) for path in files]

    async def load() -> Result:
        async with connect(config.redis.address, name="ticker-import") as client:
            await check_server(client)
            limits = await days_free_before(client, archive)
            late_us = config.candles.grace_ms * 1_000 + config.candles.lateness_s * 1_000_000
            now = wall_us()
            missing = await holes(client, late_us, now)
            times = {symbol: found.times for symbol, found in missing.items()}
            importer = Importer(archive, options.interval, limits, now, dry_run=dry_run, strict=strict, outages=times)
            for source in sources:
                with click.progressbar(
                    length=source.path.stat().st_size, label=source.path.name, file=sys.stderr
                ) as bar:
                    importer.take(source, lambda at, bar=bar: bar.update(at - bar.pos))  # type: ignore[misc]
            result = importer.finish()
            if not dry_run:
                await tell(client, result.symbols)
            for missed in importer.missed.found:
                await fill(client, missed, missing[missed.symbol].final, archive.zone, result, dry_run=dry_run)
            return result

    result = run_to_end(load())
    click.echo(import_text(result, dry_run=dry_run))
    sys.exit(1 if result.bad else 0)


@click.group(name="archive")
def archive_group() -> None:
    """What has aged out of Redis, as Parquet files."""


@archive_group.command()
@click.argument("symbols", nargs=-1)
@config_option
@redis_option
def now(symbols: Sequence[str], config_file: Path | None, redis_url: str | None) -> None:
    """Archive SYMBOLS (or all) at once, as the ingester does every archive.every."""
    from ticker.archiving import archive_now, needed_archive

    config = configured(config_file, redis_url=redis_url)
    archive = needed_archive(config)

    async def write() -> None:
        async with connect(config.redis.address, name="ticker-archive") as client:
            await check_server(client)
            async for symbol, rows in archive_now(client, config, archive, await known_symbols(client, symbols)):
                click.echo(f"{symbol}: {rows} rows")

    run_to_end(write())


@archive_group.command(name="list")
@click.argument("symbols", nargs=-1)
@config_option
def list_archive(symbols: Sequence[str], config_file: Path | None) -> None:
    """Say what the archive has of SYMBOLS (or all): files, rows, first and last time."""
    from ticker.archiving import archived_symbols, listed, needed_archive

    archive = needed_archive(configured(config_file))
    head = ["symbol", "kind", "files", "rows", "from", "to"]
    found = [row for symbol in archived_symbols(archive, symbols) for row in listed(archive, symbol)]
    click.echo(_table([head, *found]))


@archive_group.command(name="verify")
@click.argument("symbols", nargs=-1)
@config_option
def verify_archive(symbols: Sequence[str], config_file: Path | None) -> None:
    """Check the files of SYMBOLS (or all): checksums, rows, numbers without a hole, candles against their ticks.

    Exit code 0: all is as it should be, 1: something is not, 3: there is nothing.
    """
    from ticker.archive.verify import verify
    from ticker.archiving import archived_symbols, needed_archive

    archive = needed_archive(configured(config_file))
    names = archived_symbols(archive, symbols)
    wrong = False
    for symbol in names:
        for report in verify(archive, symbol):
            click.echo(_report_text(report))
            for line in report.wrong:
                click.echo(f"  {symbol} {line}")
            wrong |= bool(report.wrong)
    sys.exit(1 if wrong else 0 if names else NOTHING_CHECKABLE)


def _table(cells: Sequence[Sequence[str]]) -> str:
    """Lines of cells below each other."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _report_text(report: "Report") -> str:
    checked = f", {report.equal} equal to their ticks" if report.equal else ""
    why = "".join(f"; {count} unchecked: {reason}" for reason, count in report.unchecked.items())
    wrong = f"{len(report.wrong)} wrong" if report.wrong else "none wrong"
    return f"{report.symbol} {report.kind}: {report.files} files, {report.rows} rows{checked}, {wrong}{why}"
