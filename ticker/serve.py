"""Runs uvicorn the one way in which the gateway works: our protocol classes, sockets bound beforehand, bounded shutdown."""

import asyncio
import gc
import logging
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette
from uvicorn.supervisors import Multiprocess

from feeds.feed import Feed
from ticker import codec, logs, metrics
from ticker.app import Part, create_app
from ticker.config import Config
from ticker.errors import ConfigError
from ticker.web import uvicorn_http, uvicorn_websocket
from ticker.web.uvicorn_config import LimitedConfig

WORKER_CONFIG = "_TICKER_WORKER_CONFIG"
"""How a worker process gets its configuration: it is started anew and inherits only the environment."""
WORKER_PARENT = "_TICKER_WORKER_PARENT"
"""And who started it: by the time it could ask, that process may be gone."""
SHUTDOWN_S = 2
BACKLOG = 2_048
OBJECTS_A_COLLECTION = 50_000
PARENT_WATCH_S = 0.25


def listen(host: str, port: int, section: str = "server") -> socket.socket:
    """A listening socket; raises `ConfigError`, which names the section of the settings, where it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        sock.close()
        reason = error.strerror if isinstance(error, OSError) else error
        flags = {"port": " (or --port)", "host": " (or --host)"} if section == "server" else {"port": "", "host": ""}
        hint = f"check {section}.host{flags['host']}"
        if port:
            hint = f"set {section}.port{flags['port']} to a free one, 0 takes any"
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}; {hint}") from None
    return sock


def settle() -> None:
    """Have the garbage collector look no more at what is here to stay, and less often at what is new.

    A collection of all that is alive stops every client for as long as it takes, some 20 ms once everything is imported.
    Hardly anything here is ever part of a cycle: looking after each 700 objects, as Python does, costs a tenth of what a
    thousand clients that come back at once do.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_A_COLLECTION, *gc.get_threshold()[1:])


class Server(uvicorn.Server):
    """uvicorn, which tells when it serves."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        settle()
        self._announce()


class Beside(uvicorn.Server):
    """uvicorn in a process whose signals somebody else takes."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


_HTTP_OPTIONS: dict[str, Any] = {
    "http": "httptools",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "timeout_graceful_shutdown": SHUTDOWN_S,
}


def options(config: Config) -> dict[str, Any]:
    """What uvicorn is told."""
    return _HTTP_OPTIONS | {
        "ws": uvicorn_websocket.IMPORT_STRING,
        "http": uvicorn_http.IMPORT_STRING,
        "ws_max_size": config.limits.frame_bytes,
        "ws_per_message_deflate": False,
        "lifespan": "on",
    }


def uvicorn_config(app: Any, config: Config, **more: Any) -> LimitedConfig:
    """What uvicorn is told, with `more` of it, and the limits that our own classes keep."""
    return LimitedConfig(app, config.limits, **options(config) | more)


def run_all(
    config: Config,
    feeds: Sequence[Feed],
    sock: socket.socket,
    announce: Callable[[], None],
    *also: Part,
    restored: bool = False,
) -> None:
    """Ingester and gateway in this process, and `also` beside them, until a signal ends it."""
    app = create_app(config, feeds, *also, restored=restored)
    _run(Server(uvicorn_config(app, config), announce), sock)


def run_gateway(config: Config, sock: socket.socket, announce: Callable[[], None]) -> None:
    """Gateways, until a signal ends them: in this process, or in as many workers as the configuration wants."""
    if config.server.workers == 1:
        _run(Server(uvicorn_config(create_app(config), config), announce), sock)
        return
    os.environ[WORKER_CONFIG] = config.model_dump_json(by_alias=True, exclude_unset=True)
    os.environ[WORKER_PARENT] = str(os.getpid())
    worker = uvicorn_config("ticker.serve:worker_app", config, factory=True, workers=config.server.workers)
    # That a worker has died and another takes its place, uvicorn tells at this level.
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
    with _shared_metrics():
        supervisor = Multiprocess(worker, [sock])
        announce()
        supervisor.run()


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """A folder in which the workers' metrics lie, so that a scrape gets all of them and not those of one at random."""
    try:
        folder = TemporaryDirectory(prefix="ticker-metrics-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ConfigError(f"server.workers: no folder for the workers' metrics: {error}; set TMPDIR to one") from None
    with folder:
        os.environ[metrics.SHARED_FOLDER] = folder.name
        yield


@asynccontextmanager
async def answering(app: Starlette, sock: socket.socket) -> AsyncIterator[None]:
    """Serve a small application beside what else the block does, which keeps its own signals."""
    server = Beside(uvicorn.Config(app, **_HTTP_OPTIONS, lifespan="off"))
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


def configured() -> Config:
    """The configuration that the process which started this one has left for it."""
    # Not as JSON all the way: pydantic then refuses defaults that JSON has no type for, such as a path.
    return Config.model_validate(codec.from_json(os.environ[WORKER_CONFIG]))


def worker_app() -> Starlette:
    """The gateway of one worker process, which ends when the process that started it is gone."""
    config = configured()
    logs.set_up(**config.log_options)
    return create_app(config, None, _settle, _end_with_parent)


async def _settle() -> None:
    """The first thing that runs once everything is built."""
    settle()


async def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers, and they would keep its port."""
    parent = int(os.environ[WORKER_PARENT])
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells of it on every system
        await asyncio.sleep(PARENT_WATCH_S)
    signal.raise_signal(signal.SIGTERM)
    # It cannot clear away what it has left, either.
    shutil.rmtree(os.environ[metrics.SHARED_FOLDER], ignore_errors=True)


def _run(server: uvicorn.Server, sock: socket.socket) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(sockets=[sock]))
