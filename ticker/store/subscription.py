"""Live messages from Redis pub/sub, a whole socket read at a time.

redis-py makes the connection (address, AUTH, TLS, database); then its transport is handed to a protocol of our own that
feeds hiredis straight from the socket, since redis-py spends several microseconds and a dozen coroutine calls on every
message. A server that stalls keeps its socket open, so the connection is asked for a sign of life all the time.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, cast

import hiredis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ticker import metrics
from ticker.errors import StoreUnavailable

log = logging.getLogger(__name__)

PING_S = 0.25
SILENCE_S = 0.9
"""Without a byte for this long the connection is given up."""
SECOND_LOOK_S = 0.02
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.05, 0.5
CHANNELS_PER_COMMAND = 500

Messages = list[tuple[bytes, bytes]]


class _Reader(asyncio.Protocol):
    """The far end of the connection: parses what arrives and hands over all messages of one read together."""

    def __init__(self, owner: "Subscription") -> None:
        self._owner = owner
        self._reader = hiredis.Reader()
        self.heard = monotonic()
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.heard = monotonic()
        messages: Messages = []
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                # Under RESP2 everything on such a connection is a list that opens with what it is.
                if isinstance(reply, hiredis.ReplyError):
                    raise reply
                if reply[0] == b"message":
                    messages.append((reply[1], reply[2]))
                elif reply[0] == b"subscribe":
                    self._owner.confirmed(reply[1])
        except hiredis.HiredisError as error:
            log.error("live messages: %s", error)
            self.connection_lost(error)
        if messages:
            self._owner.deliver(messages)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(exc)


class Subscription:
    """The channels that somebody wants, kept subscribed over every loss of the connection."""

    def __init__(
        self,
        client: Redis,
        deliver: Callable[[Messages], None],
        changed: Callable[[bool], None],
        always: Iterable[str] = (),
    ) -> None:
        """`deliver` gets all messages of a read; `changed` hears of every gain (all channels confirmed) and loss.

        `always` are channels that are wanted from the beginning.
        """
        self._client = client
        self.deliver = deliver
        self._changed = changed
        self._wanted: dict[bytes, None] = dict.fromkeys(map(str.encode, always))
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._transport: asyncio.Transport | None = None
        self.connected = False

    async def ensure(self, channels: Iterable[str]) -> None:
        """Subscribe to channels; returns once the server has confirmed each. Raises `StoreUnavailable` without it."""
        if not self.connected or self._transport is None:
            raise StoreUnavailable("the store does not answer: no connection for live messages")
        names = [name.encode() for name in channels]
        fresh = [name for name in names if name not in self._wanted]
        self._ask(fresh)
        waiting = [self._waiting[name] for name in names if name in self._waiting]
        try:
            await self._confirmation(waiting)
        except BaseException:
            # Nobody holds these yet; another caller that waits for the same ones fails likewise.
            for name in fresh:
                self._wanted.pop(name, None)
            raise

    def release(self, channels: Iterable[str]) -> None:
        """Nobody wants these any more."""
        names = [name for name in map(str.encode, channels) if self._wanted.pop(name, True) is None]
        if self.connected:
            self._send(b"UNSUBSCRIBE", names)

    def confirmed(self, channel: bytes) -> None:
        """The server has confirmed one."""
        future = self._waiting.pop(channel, None)
        if future is not None and not future.done():
            future.set_result(None)

    async def run(self) -> None:
        """Connect, and connect again whenever that is lost, until cancelled."""
        backoff_s = BACKOFF_FIRST_S
        while True:
            try:
                await self._session()
                backoff_s = BACKOFF_FIRST_S
            except (RedisError, OSError, StoreUnavailable) as error:
                log.debug("live messages: %s", error)
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_MOST_S)

    async def _session(self) -> None:
        """One connection, from its making to its loss."""
        pool: Any = self._client.connection_pool
        connection = pool.make_connection()
        await connection.connect()
        # The one place where redis-py's private parts are touched; the pinned version and a test hold it in place.
        transport = cast("asyncio.Transport", connection._writer.transport)  # noqa: SLF001
        reader = _Reader(self)
        transport.set_protocol(reader)
        self._transport = transport
        metrics.STORE_CONNECTS.inc()
        try:
            self._ask(list(self._wanted))
            await self._confirmation(list(self._waiting.values()))
            self.connected = True
            self._changed(True)
            while not reader.lost.done():
                transport.write(hiredis.pack_command((b"PING",)))
                await asyncio.wait((reader.lost,), timeout=PING_S)
                if monotonic() - reader.heard > SILENCE_S:
                    # If it was we who did not look, what has arrived meanwhile is read in the next turn of the loop.
                    await asyncio.sleep(SECOND_LOOK_S)
                    if monotonic() - reader.heard > SILENCE_S:
                        raise StoreUnavailable("no sign of life")
        finally:
            self._transport = None
            transport.abort()
            await connection.disconnect(nowait=True)
            if self.connected:
                self.connected = False
                self._changed(False)
            for future in self._waiting.values():
                future.cancel()
            self._waiting.clear()

    def _ask(self, names: Sequence[bytes]) -> None:
        """Send the subscription of channels; each has a future until it is confirmed."""
        loop = asyncio.get_running_loop()
        for name in names:
            self._wanted[name] = None
            self._waiting[name] = loop.create_future()
        self._send(b"SUBSCRIBE", names)

    async def _confirmation(self, waiting: Sequence[asyncio.Future[None]]) -> None:
        """Until all of these are confirmed."""
        if waiting:
            done, late = await asyncio.wait(waiting, timeout=2 * SILENCE_S)
            if late or any(future.cancelled() for future in done):
                raise StoreUnavailable("the store does not answer: channels were not confirmed")

    def _send(self, command: bytes, names: Sequence[bytes]) -> None:
        transport: Any = self._transport
        for first in range(0, len(names), CHANNELS_PER_COMMAND):
            words: Any = (command, *names[first : first + CHANNELS_PER_COMMAND])
            transport.write(hiredis.pack_command(words))
