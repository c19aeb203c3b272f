"""How a command runs: on one loop, until it has ended or a signal ends it, and what it tells its caller."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVar

import uvloop

from ticker.app import FAILED
from ticker.client import ClientError
from ticker.errors import ConfigError
from ticker.store import catalog

T = TypeVar("T")

EXIT_CONFIG = 2
"""What the caller has asked for cannot be."""
NOTHING_CHECKABLE = 3


def run_to_end(task: Coroutine[Any, Any, T]) -> T:
    """Run it on a loop of its own; its result."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(task)


async def until_signal(task: Coroutine[Any, Any, None]) -> None:
    """Run until a signal ends it: between two steps of the loop, so that connections are given back in order."""
    running = asyncio.ensure_future(task)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with suppress(asyncio.CancelledError):
        await running
    if FAILED.is_set():
        raise SystemExit(1)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and Ctrl-C end the block in order, with exit code 0; uvicorn raises them once more when it has ended."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(1 if FAILED.is_set() else 0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    yield


@contextmanager
def mistakes_of_the_caller() -> Iterator[None]:
    """What a gateway refuses, or where there is none, is what the caller asked for: exit code 2."""
    try:
        yield
    except ClientError as error:
        raise ConfigError(str(error)) from None


async def known_symbols(client: Any, symbols: Sequence[str]) -> list[str]:
    """The symbols that were asked for, or all; refuses those that the store does not know."""
    found = await catalog.read(client)
    if unknown := [symbol for symbol in symbols if symbol not in found]:
        known = ", ".join(list(found)[:10]) + (" ..." if len(found) > 10 else "")
        raise ConfigError(f"symbol {unknown[0]!r} is not in the store; it has {known or 'none'}")
    return list(symbols or found)
