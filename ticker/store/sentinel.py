"""Connects to whichever server Sentinel says is the primary, and follows when it says another.

redis-py asks the sentinels whenever a connection is made. That alone would leave a connection where it is for as long as the
old primary keeps it open, as one does that the sentinels can no longer reach: so they are asked every second too, and
every connection to another server is cut off, those of live messages included. Whoever was waiting on one learns of it as
of any lost connection, and the next command goes to the new primary.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from ticker.places import host_and_port
from ticker.store.address import Address, Place
from ticker.store.cancellable import cancellable
from ticker.store.explain import NoPrimary, one_line

log = logging.getLogger(__name__)

ANSWER_S = 0.5
"""A sentinel that takes longer is passed over: there are others."""
FOLLOW_S = 1.0
"""How often the sentinels are asked whether another server has become the primary."""
CONNECTIONS = 4
"""To each sentinel; the commands of one client that lost the primary together ask together."""
STEPPED_DOWN = ("READONLY", "NOREPLICAS", "MASTERDOWN")
"""What a server answers that is no primary any more, or one whose replicas are gone because another is."""


class _Steps:
    """A connection that is given up where its server has stepped down, so that the sentinels are asked before the next."""

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """The answer; `ConnectionError` where it is that the server does not take writes."""
        try:
            # Not redis-py's own, which knows only one of these answers.
            return await super(SentinelManagedConnection, self).read_response(*args, **options)  # type: ignore[misc]
        except ResponseError as error:
            if not isinstance(error, ReadOnlyError) and not str(error).startswith(STEPPED_DOWN):
                raise
            await self.disconnect()  # type: ignore[attr-defined]
            raise RedisConnectionError(f"the server takes no writes: {one_line(error)}") from error


def _following(kind: type) -> type:
    return cancellable(type(f"Following{kind.__name__}", (_Steps, kind), {}))


class Sentinels(Sentinel):
    """The sentinels of a URL: asked in turn, the one that knew last first, each only once and not for long."""

    def __init__(self, address: Address, name: str | None) -> None:
        super().__init__([])  # type: ignore[no-untyped-call]
        options: dict[str, Any] = {key: given for key, given in address.options.items() if key.startswith("ssl_")}
        options |= address.sentinel_login | {
            "connection_class": cancellable(SSLConnection if address.is_tls else Connection),
            "max_connections": CONNECTIONS,
            "timeout": ANSWER_S,
            "socket_timeout": ANSWER_S,
            "socket_connect_timeout": ANSWER_S,
            # By default each is tried eleven times, which takes four seconds where one is down.
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "client_name": name,
        }
        self.sentinels = [
            Redis.from_pool(BlockingConnectionPool(host=host, port=port, **options)) for host, port in address.sentinels
        ]

    async def discover_master(self, service_name: str) -> Place:
        """Host and port of the primary; `NoPrimary` says of each sentinel why it did not tell."""
        told = []
        for sentinel in tuple(self.sentinels):
            try:
                states: Any = await sentinel.sentinel_masters()
            except (RedisError, OSError) as error:
                told.append((sentinel, _no_answer(error)))
                continue
            state = states.get(service_name)
            if state is None:
                known = ", ".join(sorted(states)) or "none"
                told.append((sentinel, f"knows no service {service_name!r}; those it watches: {known}"))
            elif not self.check_master_state(state, service_name):
                told.append((sentinel, "says that it is down"))
            else:
                self.sentinels.remove(sentinel)
                self.sentinels.insert(0, sentinel)
                return state["ip"], state["port"]
        raise NoPrimary("; ".join(f"sentinel {_place(sentinel)} {why}" for sentinel, why in told))


def _no_answer(error: Exception) -> str:
    if isinstance(error, AuthenticationError):
        return f"refuses the login ({one_line(error)}): check sentinel_username and sentinel_password"
    if isinstance(error, ResponseError):
        return f"is no sentinel ({one_line(error)})"
    return f"does not answer ({one_line(error)})"


def _place(sentinel: Redis) -> str:
    options = sentinel.connection_pool.connection_kwargs
    return host_and_port(options["host"], options["port"])


class SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the primary: as many as allowed, waited for where all are in use, and never to another server."""

    def __init__(self, address: Address, **options: Any) -> None:
        kind = SentinelManagedSSLConnection if address.is_tls else SentinelManagedConnection
        sentinels = Sentinels(address, options.get("client_name"))
        options |= {"connection_class": _following(kind)}
        super().__init__(address.service, sentinels, **options)  # type: ignore[no-untyped-call]
        self.shown = address.shown
        self._made: WeakSet[Any] = WeakSet()
        """Also those that were taken out of the pool for live messages."""
        self._is_lost = False
        self._follower: asyncio.Task[None] | None = None

    def make_connection(self) -> Any:
        """One more, which asks for its server when it connects."""
        connection = super().make_connection()  # type: ignore[no-untyped-call]
        self._made.add(connection)
        return connection

    async def get_master_address(self) -> Place:
        """Ask the sentinels; where they name another server than before, let go of that one."""
        place = await self._discover()
        before, self.master_address = self.master_address, place
        if before and before != place:
            log.warning("the store's primary is %s now, %s before", host_and_port(*place), host_and_port(*before))
        for connection in tuple(self._made):
            if connection.is_connected and (connection.host, connection.port) != place:
                # Whoever uses it finds it lost, and not changed under their hands.
                connection._writer.transport.abort()  # noqa: SLF001
        if self._follower is None:
            self._follower = asyncio.create_task(self._follow())
        return place

    async def _discover(self) -> Place:
        try:
            place: Place = await self.sentinel_manager.discover_master(self.service_name)
        except NoPrimary as error:
            # Each command that needs a connection asks; one line for all of them, and none where it is the first.
            if self.master_address and not self._is_lost:
                self._is_lost = True
                log.warning("the store has no primary: %s", error)
            raise
        self._is_lost = False
        return place

    async def aclose(self) -> None:
        """Close all connections, those to the sentinels too."""
        if self._follower:
            self._follower.cancel()
            with suppress(asyncio.CancelledError):
                await self._follower
            self._follower = None
        await super().aclose()
        await self.sentinel_manager.aclose()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_S)
            # While the sentinels are silent or at odds, what is connected stays so.
            with suppress(NoPrimary):
                await self.get_master_address()
