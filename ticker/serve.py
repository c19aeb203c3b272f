"""Runs uvicorn the one way in which the gateway works: our WebSocket class, sockets bound beforehand, bounded shutdown."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette
from uvicorn.supervisors import Multiprocess

from feeds.feed import Feed
from ticker import logs
from ticker.app import Part, create_app
from ticker.config import Config
from ticker.errors import ConfigError
from ticker.web.uvicorn_websocket import IMPORT_STRING

WORKER_CONFIG = "_TICKER_WORKER_CONFIG"
"""How a worker process gets its configuration: it is started anew and inherits only the environment."""
WORKER_PARENT = "_TICKER_WORKER_PARENT"
"""And who started it: by the time it could ask, that process may be gone."""
SHUTDOWN_S = 2
BACKLOG = 2_048
PARENT_WATCH_S = 0.25


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises `ConfigError` where it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        sock.close()
        reason = error.strerror if isinstance(error, OSError) else error
        hint = "set server.port (or --port) to a free one, 0 takes any" if port else "check server.host (or --host)"
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}; {hint}") from None
    return sock


class Server(uvicorn.Server):
    """uvicorn, which tells when it serves."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self._announce()


def options(config: Config) -> dict[str, Any]:
    """What uvicorn is told."""
    return {
        "ws": IMPORT_STRING,
        "http": "httptools",
        "ws_max_size": config.limits.frame_bytes,
        "ws_per_message_deflate": False,
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": SHUTDOWN_S,
    }


def run_all(
    config: Config, feeds: Sequence[Feed], sock: socket.socket, announce: Callable[[], None], *also: Part
) -> None:
    """Ingester and gateway in this process, and `also` beside them, until a signal ends it."""
    _run(Server(uvicorn.Config(create_app(config, feeds, *also), **options(config)), announce), sock)


def run_gateway(config: Config, sock: socket.socket, announce: Callable[[], None]) -> None:
    """Gateways, until a signal ends them: in this process, or in as many workers as the configuration wants."""
    if config.server.workers == 1:
        _run(Server(uvicorn.Config(create_app(config), **options(config)), announce), sock)
        return
    os.environ[WORKER_CONFIG] = config.model_dump_json(by_alias=True, exclude_unset=True)
    os.environ[WORKER_PARENT] = str(os.getpid())
    worker = uvicorn.Config("ticker.serve:worker_app", factory=True, workers=config.server.workers, **options(config))
    supervisor = Multiprocess(worker, [sock])
    announce()
    supervisor.run()


def worker_app() -> Starlette:
    """The gateway of one worker process, which ends when the process that started it is gone."""
    logs.set_up()
    return create_app(Config.model_validate_json(os.environ[WORKER_CONFIG]), None, _end_with_parent)


async def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers, and they would keep its port."""
    parent = int(os.environ[WORKER_PARENT])
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells of it on every system
        await asyncio.sleep(PARENT_WATCH_S)
    signal.raise_signal(signal.SIGTERM)


def _run(server: uvicorn.Server, sock: socket.socket) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(sockets=[sock]))
