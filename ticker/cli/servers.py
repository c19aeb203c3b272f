"""Commands that serve or fill a store until they are stopped: `run`, `serve`, `ingest`."""

import asyncio
import shutil
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path

import click

from ticker.app import check_store, ingesting_apart, make_feeds
from ticker.cli.options import config_option, configured, host_option, port_option, redis_option, restored_option
from ticker.cli.running import ended_by_signals, run_to_end, until_signal
from ticker.config import Config
from ticker.places import from_here
from ticker.serve import answering, listen, run_all, run_gateway
from ticker.store import catalog
from ticker.store.address import public_address
from ticker.store.connection import connect
from ticker.store.embedded import EmbeddedServer

STORE_WATCH_S = 0.25


@click.command()
@config_option
@host_option
@port_option
@redis_option
@restored_option
def run(config_file: Path | None, host: str | None, port: int | None, redis_url: str | None, restored: bool) -> None:
    """Everything in one process: feeds, store, WebSocket and REST."""
    config = configured(config_file, host=host, port=port, redis_url=redis_url)
    with ended_by_signals(), ExitStack() as stack:
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


@click.command()
@config_option
@host_option
@port_option
@redis_option
@click.option("--workers", type=int, help="Gateway processes [default: server.workers].")
def serve(
    config_file: Path | None, host: str | None, port: int | None, redis_url: str | None, workers: int | None
) -> None:
    """Gateways only: WebSocket and REST from a store that somebody else fills."""
    config = configured(config_file, host=host, port=port, redis_url=redis_url, workers=workers)
    with ended_by_signals(), listen(config.server.host, config.server.port) as sock:
        symbols = asyncio.run(_stored_symbols(config))
        run_gateway(config, sock, partial(_announce, config, sock, symbols))


@click.command()
@config_option
@redis_option
@restored_option
def ingest(config_file: Path | None, redis_url: str | None, restored: bool) -> None:
    """Feeds and scheduler only: fills a store for gateways elsewhere."""
    config = configured(config_file, redis_url=redis_url)

    async def forever(sock: socket.socket | None) -> None:
        async with AsyncExitStack() as stack:
            ingester, app = await stack.enter_async_context(ingesting_apart(config, feeds, restored=restored))
            if sock:
                await stack.enter_async_context(answering(app, sock))
                click.echo(f"health   {_address(sock)}/readyz")
            count = sum(len(runner.listings()) for runner in ingester.runners)
            click.echo(f"ingesting {count} symbols into {public_address(config.redis.address)}; Ctrl-C stops")
            await asyncio.get_running_loop().create_future()

    with ended_by_signals(), ExitStack() as stack:
        place = config.ingest
        sock = None if place.port is None else stack.enter_context(listen(place.host, place.port, "ingest"))
        feeds = make_feeds(config)
        run_to_end(until_signal(forever(sock)))


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
    return f"http://{from_here(*sock.getsockname()[:2])}"


def _program(name: str) -> str:
    """How to call a program of this environment from here: it may not be on the PATH."""
    path = Path(sys.executable).parent / name
    if shutil.which(name) == str(path) or not path.exists():
        return name
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
