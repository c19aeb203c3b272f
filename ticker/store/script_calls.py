"""Sends calls of one script as they are made, many in a round trip, and takes each answer for what it is."""

import asyncio
import math
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ticker.errors import AppendConflict, FencedError, StoreUnavailable
from ticker.store.connection import Part, answers

BYTES_PER_WRITE = 1 << 16
"""What is packed before it is sent: the server works on it while the next is packed."""
BYTES_PER_TRIP = 1 << 20
"""What is sent before answers are read: bounds what the server must hold, and what is in doubt after a loss."""
REPLIES_AT_ONCE = 64
"""Answers that are waited for under one timeout: to set one for each takes longer than to read it."""


class ScriptCalls:
    """One script on one client; it is loaded anew wherever the server has lost it."""

    def __init__(self, client: Redis, file: str, part: Part) -> None:
        """`file`: its name in this folder."""
        self._client = client
        self._text = files("ticker.store").joinpath(file).read_text("utf-8")
        self._part = part
        self._sha: str | None = None

    async def run(self, calls: Iterator[list[Any]]) -> list[Any]:
        """One round trip of at most about `BYTES_PER_TRIP`: what is left in `calls` then was not asked for.

        What the server refused is among the answers, as an error. Raises `StoreUnavailable` where no answer came.
        """
        with answers(self._part):
            if self._sha is None:
                self._sha = str(await self._client.script_load(self._text))
            replies = await self._trip(self._sha, calls)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            # A server that was started anew has forgotten it; none of the calls has run.
            self._sha = None
            raise StoreUnavailable("the store was started anew")
        return replies

    async def run_all(self, calls: Iterator[list[Any]]) -> list[Any]:
        """The same in as many round trips as that takes."""
        replies: list[Any] = []
        while trip := await self.run(calls):
            replies += trip
        return replies

    async def _trip(self, sha: str, calls: Iterator[list[Any]]) -> list[Any]:
        pool: Any = self._client.connection_pool
        connection = await pool.get_connection()
        try:
            count = sent = 0
            waiting: list[bytes] = []
            waiting_bytes = 0
            for call in calls:
                # hiredis packs in C what redis-py's asyncio side packs in Python (redis-py issue 4176).
                waiting.append(hiredis.pack_command(("EVALSHA", sha, *call)))
                waiting_bytes += len(waiting[-1])
                count += 1
                if waiting_bytes > BYTES_PER_WRITE:
                    await connection.send_packed_command(waiting)
                    sent += waiting_bytes
                    waiting, waiting_bytes = [], 0
                    if sent > BYTES_PER_TRIP:
                        break
            if waiting:
                await connection.send_packed_command(waiting)
            replies: list[Any] = []
            while len(replies) < count:
                replies += await _replies(connection, min(count - len(replies), REPLIES_AT_ONCE))
            return replies
        except BaseException:
            # Answers may still be under way: this connection must not be used again.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)


async def _replies(connection: Any, count: int) -> list[Any]:
    """The next answers, all within the time that the store has for one."""
    try:
        async with asyncio.timeout(connection.socket_timeout):
            return [await _reply(connection) for _ in range(count)]
    except TimeoutError:
        raise RedisTimeoutError("Timeout reading from socket") from None


async def _reply(connection: Any) -> Any:
    """The next answer; what the server refused is returned, not raised, so that the answers behind it are read too."""
    try:
        return await connection.read_response(disable_decoding=True, timeout=math.inf)
    except NoScriptError as error:
        return error
    except (RedisConnectionError, RedisTimeoutError):
        raise
    except RedisError as error:
        text = str(error)
        if text.startswith("FENCED"):
            return FencedError(text.removeprefix("FENCED "))
        if text.startswith("CONFLICT"):
            return AppendConflict(text.removeprefix("CONFLICT "))
        if isinstance(error, ResponseError):
            return StoreUnavailable(f"the store refuses to write: {text}")
        raise
