"""The command line: every command, its options, and what it says."""

import asyncio
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click
import uvloop

import ticker.client
from feeds.feed import FeedError
from ticker import __version__, candle_text, codec, logs
from ticker.app import FAILED, check_store, ingesting_apart, make_feeds
from ticker.candles.interval import INTERVALS
from ticker.check import Checker, Finding
from ticker.client import Candle, ClientError, Progress, Rows
from ticker.config import Config, load_config
from ticker.errors import ConfigError, TickerError
from ticker.ingest.ingester import wall_us
from ticker.redact import without_secrets
from ticker.serve import answering, listen, run_all, run_gateway
from ticker.store import catalog
from ticker.store.address import public_address
from ticker.store.connection import check_server, connect
from ticker.store.embedded import EmbeddedServer
from ticker.tap import follow
from ticker.watch import Watch

if TYPE_CHECKING:
    from ticker.archive.verify import Report

T = TypeVar("T")

EXIT_CONFIG = 2
NOTHING_CHECKABLE = 3
STORE_WATCH_S = 0.25

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="Configuration file [default: ./config.yaml, if there].",
)
redis_option = click.option("--redis-url", help="Redis or Valkey URL, or `embedded` [default: redis.url].")
host_option = click.option("--host", help="Address to listen on [default: server.host].")
url_option = click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The gateway.")
restored_option = click.option(
    "--restored",
    is_flag=True,
    help="The store was put back to an earlier copy: begin new epochs, as clients may have seen later numbers.",
)
port_option = click.option("--port", type=int, help="Port to listen on [default: server.port].")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Self-hosted market-data server: live ticks over WebSocket, history over REST, one exact record in Redis."""


@cli.command()
@config_option
@host_option
@port_option
@redis_option
@restored_option
def run(config_file: Path | None, host: str | None, port: int | None, redis_url: str | None, restored: bool) -> None:
    """Everything in one process: feeds, store, WebSocket and REST."""
    config = _config(config_file, host=host, port=port, redis_url=redis_url)
    with _ended_by_signals(), ExitStack() as stack:
        sock = stack.enter_context(listen(config.server.host, config.server.port))
        also = []
        if config.redis.url == "embedded":
            server = EmbeddedServer(config.redis.data_dir, config.redis.port)
            stack.callback(server.stop)
            server.start()
            restored = restored or not server.as_left
            also.append(partial(_keep_running, server))
        asyncio.run(_stored_symbols(config))
        feeds = make_feeds(config)
        symbols = [listing.symbol for feed in feeds for listing in feed.symbols()]
        run_all(config, feeds, sock, partial(_announce, config, sock, symbols), *also, restored=restored)


@cli.command()
@config_option
@host_option
@port_option
@redis_option
@click.option("--workers", type=int, help="Gateway processes [default: server.workers].")
def serve(
    config_file: Path | None, host: str | None, port: int | None, redis_url: str | None, workers: int | None
) -> None:
    """Gateways only: WebSocket and REST from a store that somebody else fills."""
    config = _config(config_file, host=host, port=port, redis_url=redis_url, workers=workers)
    with _ended_by_signals(), listen(config.server.host, config.server.port) as sock:
        symbols = asyncio.run(_stored_symbols(config))
        run_gateway(config, sock, partial(_announce, config, sock, symbols))


@cli.command()
@config_option
@redis_option
@restored_option
def ingest(config_file: Path | None, redis_url: str | None, restored: bool) -> None:
    """Feeds and scheduler only: fills a store for gateways elsewhere."""
    config = _config(config_file, redis_url=redis_url)

    async def forever(sock: socket.socket | None) -> None:
        async with AsyncExitStack() as stack:
            ingester, app = await stack.enter_async_context(ingesting_apart(config, feeds, restored=restored))
            if sock:
                await stack.enter_async_context(answering(app, sock))
                click.echo(f"health   {_address(sock)}/readyz")
            count = sum(len(runner.listings()) for runner in ingester.runners)
            click.echo(f"ingesting {count} symbols into {public_address(config.redis.address)}; Ctrl-C stops")
            await asyncio.get_running_loop().create_future()

    with _ended_by_signals(), ExitStack() as stack:
        place = config.ingest
        sock = None if place.port is None else stack.enter_context(listen(place.host, place.port, "ingest"))
        feeds = make_feeds(config)
        _run(_until_signal(forever(sock)))


@cli.command()
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
    config = _config(config_file, redis_url=redis_url)

    async def forever() -> None:
        async with connect(config.redis.address, name="ticker-tap") as client:
            await check_server(client)
            await _known(client, symbols)
            async for symbol, entry_id, message in follow(client, "quotes" if quotes else "trades", symbols, start):
                click.echo(message if as_json else f"{entry_id}  {symbol}  {_short(message)}")

    with _ended_by_signals():
        _run(_until_signal(forever()))


@cli.command()
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

    with _ended_by_signals(), _mistakes_of_the_caller():
        _run(_until_signal(forever()))
        said.sum_up()


@cli.command()
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

    with _mistakes_of_the_caller():
        rows = _run(ask())
    if shape == "json":
        click.echo(candle_text.as_json(symbol, interval, rows))
    elif shape == "csv":
        click.echo(candle_text.as_csv(rows))
    elif shape == "chart":
        width = shutil.get_terminal_size().columns
        click.echo(candle_text.as_chart(rows, width, lambda text, colour: click.style(text, fg=colour)))
    else:
        click.echo(candle_text.as_table(rows))


@cli.command()
@click.argument("symbols", nargs=-1)
@config_option
@redis_option
def check(symbols: Sequence[str], config_file: Path | None, redis_url: str | None) -> None:
    """Recompute the candles of SYMBOLS (or all) from their ticks: exit code 0 equal, 1 different, 3 nothing to check."""
    config = _config(config_file, redis_url=redis_url)

    async def compare() -> list[Finding]:
        async with connect(config.redis.address, name="ticker-check") as client:
            await check_server(client)
            names = await _known(client, symbols)
            checker = Checker(client, config.market.zone)
            return [finding for symbol in names for finding in await checker.check(symbol)]

    findings = _run(compare())
    for finding in findings:
        click.echo(_finding_text(finding))
        for line in finding.different:
            click.echo(f"  {finding.symbol} {line}")
    if any(finding.different for finding in findings):
        sys.exit(1)
    sys.exit(0 if any(finding.equal for finding in findings) else NOTHING_CHECKABLE)


@cli.command(name="import")
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
    """Load trades, quotes or candles of before the live record from FILES, CSV or Parquet, into the archive.

    A second run goes on where the first was stopped. Exit code 1: there were bad rows, the others are in.
    """
    from ticker.archiving import needed_archive
    from ticker.importing.existing import days_free_before, tell
    from ticker.importing.importer import Importer, Result
    from ticker.importing.rows import Options, look_at
    from ticker.importing.told import columns_of, import_text, zone_of
    from ticker.importing.values import Timing

    config = _config(config_file, redis_url=redis_url)
    archive = needed_archive(config)
    timing = Timing(time_unit, zone_of(time_zone), config.market.zone)
    options = Options(timing, INTERVALS[interval], symbol, columns_of(columns))
    sources = [look_at(path, options) for path in files]

    async def load() -> Result:
        async with connect(config.redis.address, name="ticker-import") as client:
            await check_server(client)
            limits = await days_free_before(client, archive)
            importer = Importer(archive, options.interval, limits, wall_us(), dry_run=dry_run, strict=strict)
            for source in sources:
                with click.progressbar(
                    length=source.path.stat().st_size, label=source.path.name, file=sys.stderr
                ) as bar:
                    importer.take(source, lambda at, bar=bar: bar.update(at - bar.pos))  # type: ignore[misc]
            result = importer.finish()
            if not dry_run:
                await tell(client, result.symbols)
            return result

    result = _run(load())
    click.echo(import_text(result, dry_run=dry_run))
    sys.exit(1 if result.bad else 0)


@cli.group(name="archive")
def archive_group() -> None:
    """What has aged out of Redis, as Parquet files."""


@archive_group.command()
@click.argument("symbols", nargs=-1)
@config_option
@redis_option
def now(symbols: Sequence[str], config_file: Path | None, redis_url: str | None) -> None:
    """Archive SYMBOLS (or all) at once, as the ingester does every archive.every."""
    from ticker.archiving import archive_now, needed_archive

    config = _config(config_file, redis_url=redis_url)
    archive = needed_archive(config)

    async def write() -> None:
        async with connect(config.redis.address, name="ticker-archive") as client:
            await check_server(client)
            async for symbol, rows in archive_now(client, config, archive, await _known(client, symbols)):
                click.echo(f"{symbol}: {rows} rows")

    _run(write())


@archive_group.command(name="list")
@click.argument("symbols", nargs=-1)
@config_option
def list_archive(symbols: Sequence[str], config_file: Path | None) -> None:
    """Say what the archive has of SYMBOLS (or all): files, rows, first and last time."""
    from ticker.archiving import archived_symbols, listed, needed_archive

    archive = needed_archive(_config(config_file))
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

    archive = needed_archive(_config(config_file))
    names = archived_symbols(archive, symbols)
    wrong = False
    for symbol in names:
        for report in verify(archive, symbol):
            click.echo(_report_text(report))
            for line in report.wrong:
                click.echo(f"  {symbol} {line}")
            wrong |= bool(report.wrong)
    sys.exit(1 if wrong else 0 if names else NOTHING_CHECKABLE)


@cli.command(name="config")
@config_option
def show_config(config_file: Path | None) -> None:
    """Print the configuration in force, without secrets."""
    click.echo(_config(config_file).as_yaml(public_address), nl=False)


def main() -> None:
    """The program. A mistake of whoever calls it is one line on standard error and exit code 2."""
    logs.set_up()
    try:
        cli(standalone_mode=True)
    except (TickerError, FeedError) as error:
        click.echo(f"ticker: {without_secrets(str(error))}", err=True)
        sys.exit(EXIT_CONFIG if isinstance(error, ConfigError | FeedError) else 1)


def _config(file: Path | None, *, redis_url: str | None = None, **server: Any) -> Config:
    """The configuration with a command's flags in it."""
    given = {name: value for name, value in server.items() if value is not None}
    flags: dict[str, Any] = {"server": given} if given else {}
    if redis_url:
        flags["redis"] = {"url": redis_url}
    config = load_config(file, flags)
    logs.set_up(**config.log_options)
    return config


@contextmanager
def _mistakes_of_the_caller() -> Iterator[None]:
    """What a gateway refuses, or where there is none, is what the caller asked for: exit code 2."""
    try:
        yield
    except ClientError as error:
        raise ConfigError(str(error)) from None


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


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and Ctrl-C end the block in order, with exit code 0; uvicorn raises them once more when it has ended."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(1 if FAILED.is_set() else 0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    yield


def _run(task: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(task)


async def _until_signal(task: Coroutine[Any, Any, None]) -> None:
    """Run until a signal ends it: between two steps of the loop, so that connections are given back in order."""
    running = asyncio.ensure_future(task)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with suppress(asyncio.CancelledError):
        await running
    if FAILED.is_set():
        raise SystemExit(1)


async def _keep_running(server: EmbeddedServer) -> None:
    """Start the embedded server again where something has ended it; its data is as of its last write."""
    while True:
        await asyncio.sleep(STORE_WATCH_S)
        if not server.is_running():
            server.start()


async def _stored_symbols(config: Config) -> list[str]:
    """The symbols in the store; says what is wrong with it before anything is started."""
    async with connect(config.redis.address, name="ticker-serve") as client:
        await check_store(client)
        return list(await catalog.read(client))


async def _known(client: Any, symbols: Sequence[str]) -> list[str]:
    """The symbols that were asked for, or all; refuses those that the store does not know."""
    found = await catalog.read(client)
    if unknown := [symbol for symbol in symbols if symbol not in found]:
        known = ", ".join(list(found)[:10]) + (" ..." if len(found) > 10 else "")
        raise ConfigError(f"symbol {unknown[0]!r} is not in the store; it has {known or 'none'}")
    return list(symbols or found)


def _announce(config: Config, sock: socket.socket, symbols: Sequence[str]) -> None:
    """Where everything is, as lines to paste; without symbols there is nothing to show but the page."""
    url = _address(sock)
    lines = [("page", f"{url}/")]
    for symbol in symbols[:1]:
        lines += [
            (
                "live",
                f"{_program('websockets')} '{url.replace('http', 'ws', 1)}/v1/stream?channel=trades&symbols={symbol}'",
            ),
            ("history", f"curl '{url}/v1/candles/{symbol}?interval=1m&limit=3'"),
            ("streams", f"{_program('ticker')} tap {symbol} --redis-url {public_address(config.redis.address)}"),
        ]
    lines.append(("stop", "Ctrl-C"))
    click.echo("\n".join(f"{name:8} {text}" for name, text in lines))


def _address(sock: socket.socket) -> str:
    """The URL under which a listening socket is found from this machine."""
    host, port = sock.getsockname()[:2]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104 - not bound here
    return f"http://{shown}:{port}"


def _program(name: str) -> str:
    """How to call a program of this environment from here: it may not be on the PATH."""
    path = Path(sys.executable).parent / name
    if shutil.which(name) == str(path) or not path.exists():
        return name
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _short(message: str) -> str:
    """A tick for people: without what stands beside it already."""
    row = codec.from_json(message)
    return "  ".join(f"{name} {value}" for name, value in row.items() if name not in ("type", "symbol"))


def _table(cells: Sequence[Sequence[str]]) -> str:
    """Lines of cells below each other."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _finding_text(finding: Finding) -> str:
    why = "".join(f"; {count} unchecked: {reason}" for reason, count in finding.unchecked.items())
    different = f"{len(finding.different)} differ" if finding.different else "none differ"
    return f"{finding.symbol} {finding.interval}: {finding.equal} equal, {different}{why}"


def _report_text(report: "Report") -> str:
    checked = f", {report.equal} equal to their ticks" if report.equal else ""
    why = "".join(f"; {count} unchecked: {reason}" for reason, count in report.unchecked.items())
    wrong = f"{len(report.wrong)} wrong" if report.wrong else "none wrong"
    return f"{report.symbol} {report.kind}: {report.files} files, {report.rows} rows{checked}, {wrong}{why}"
