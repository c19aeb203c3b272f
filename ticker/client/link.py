"""One WebSocket to a gateway: opened, welcomed, and watched for silence."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from ticker import codec
from ticker.client.errors import ClientError, NotTicker, Refused, from_problem, kind_of

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
SILENT_BEATS = 2.5
"""A connection on which nothing comes for so many heartbeats is dead."""
QUEUE_MESSAGES = 1_024
"""Messages that may wait to be read; beyond, nothing is taken from the socket, and the gateway sees a slow client."""
MESSAGE_BYTES_MAX = 1 << 24
"""The largest message is the answer to a subscription of all symbols, some 60 bytes each."""
NO_CLOSE = 1006
OURS = frozenset({1002, 1003, 1007, 1009, 1010, 4400, 4401, 4403})
"""Close codes that say that we would meet the same end again."""
TOO_MANY = 4429
BUSY = frozenset({1013, TOO_MANY})


class Lost(Exception):
    """There is no connection, or no more; one is to be had later.

    `code`: the close code where there was one; `busy`: the gateway has too much to do; `error`: what to raise where it
    was the first attempt, or at once where that is `fatal`.
    """

    def __init__(
        self,
        reason: str,
        code: int | None = None,
        *,
        busy: bool = False,
        error: ClientError | None = None,
        fatal: bool = False,
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.busy = busy
        self.error = error
        self.fatal = fatal
        self.retry_after_s = retry_after_s


class Link:
    """An open connection; `welcome` is what the gateway said first."""

    def __init__(self, socket: ClientConnection, asked: str, welcome: Mapping[str, Any]) -> None:
        self.welcome = welcome
        self.since_s = asyncio.get_running_loop().time()
        self._socket = socket
        self._asked = asked
        self._silent_s = SILENT_BEATS * welcome["heartbeat_ms"] / 1000
        self._waits_since_s: float | None = None
        self._silent = False
        self._watch = self._look_in(self._silent_s)

    @classmethod
    async def open(cls, url: str, headers: Mapping[str, str], asked: str) -> "Link":
        """Connect and wait for the welcome; raises `Lost`."""
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                socket = await connect(
                    url,
                    additional_headers=headers,
                    compression=None,
                    open_timeout=None,
                    ping_interval=None,  # heartbeats tell as much
                    close_timeout=CLOSE_TIMEOUT_S,
                    max_queue=(QUEUE_MESSAGES, QUEUE_MESSAGES // 4),
                    max_size=MESSAGE_BYTES_MAX,
                )
                try:
                    welcome = _read(await socket.recv(decode=False), asked)
                    if welcome["type"] != "welcome" or not isinstance(welcome.get("heartbeat_ms"), int):
                        raise NotTicker(
                            f"{asked}: the first message is of type {welcome['type']!r}, expected a welcome"
                        )
                    return cls(socket, asked, welcome)
                except BaseException:
                    socket.transport.abort()
                    raise
        except TimeoutError:
            raise Lost(f"no answer within {OPEN_TIMEOUT_S:g} s") from None
        except InvalidStatus as refusal:
            raise _refused(refusal, asked) from None
        except (InvalidURI, NotTicker) as error:
            wrong = error if isinstance(error, NotTicker) else NotTicker(f"{asked}: {error}")
            raise Lost(str(wrong), error=wrong, fatal=True) from None
        except ConnectionClosed as closed:
            raise _closed(closed, asked) from None
        except (OSError, InvalidHandshake) as error:
            raise Lost(_reason(error)) from None

    async def receive(self) -> dict[str, Any]:
        """The next message; raises `Lost`. May be cancelled: nothing is lost by that."""
        self._waits_since_s = self._now_s()
        try:
            data = await self._socket.recv(decode=False)
        except ConnectionClosed as closed:
            if self._silent:
                raise Lost(f"nothing heard for {self._silent_s:g} s", NO_CLOSE) from None
            raise _closed(closed, self._asked) from None
        finally:
            self._waits_since_s = None
        try:
            return _read(data, self._asked)
        except NotTicker as error:
            raise Lost(str(error), error=error, fatal=True) from None

    async def send(self, request: Mapping[str, Any]) -> None:
        """One request; raises `Lost`."""
        try:
            await self._socket.send(codec.to_json(request), text=True)
        except ConnectionClosed as closed:
            raise _closed(closed, self._asked) from None

    async def close(self) -> None:
        """Say goodbye, and wait for the answer a little."""
        self._watch.cancel()
        await self._socket.close()

    def abort(self) -> None:
        """Cut it off at once."""
        self._watch.cancel()
        with suppress(RuntimeError):  # the loop may have ended before
            self._socket.transport.abort()

    def _now_s(self) -> float:
        return self._socket.loop.time()

    def _look_in(self, delay_s: float) -> asyncio.TimerHandle:
        return self._socket.loop.call_later(delay_s, self._look)

    def _look(self) -> None:
        """Whether somebody has waited in vain; who does not wait may have been sent much."""
        since_s = self._waits_since_s
        waited_s = 0.0 if since_s is None else self._now_s() - since_s
        if waited_s >= self._silent_s:
            self._silent = True
            self._socket.transport.abort()
        else:
            self._watch = self._look_in(self._silent_s - waited_s)


def _read(data: bytes, asked: str) -> dict[str, Any]:
    try:
        message = codec.from_json(data)
    except ValueError:
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise NotTicker(f"{asked}: found {data[:60]!r}, expected a JSON object with a type")
    return message


def _reason(error: Exception) -> str:
    """A system's error without its number and the addresses that were tried."""
    if isinstance(error, OSError) and error.strerror:
        return "connection refused" if isinstance(error, ConnectionRefusedError) else error.strerror.lower()
    return str(error)


def _closed(closed: ConnectionClosed, asked: str) -> Lost:
    """What a close code means for us."""
    if closed.rcvd is None:
        return Lost("the connection was cut", NO_CLOSE)
    code, reason = closed.rcvd.code, closed.rcvd.reason or "no reason given"
    name = "unauthorized" if code == 4401 else "closed"
    error = kind_of(0, name)(asked, code, name, reason)
    busy = code in BUSY
    return Lost(reason, code, busy=busy, fatal=code in OURS, error=error if code in OURS or code == TOO_MANY else None)


def _refused(refusal: InvalidStatus, asked: str) -> Lost:
    """What an answer other than the upgrade means: not now, or never."""
    response = refusal.response
    status = response.status_code
    try:
        problem = codec.from_json(bytes(response.body or b""))
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": response.reason_phrase}
    retry_after = response.headers.get("Retry-After")
    error: Refused = from_problem(asked, status, problem, retry_after)
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        return Lost(f"{status} {error.detail}", busy=True, retry_after_s=getattr(error, "retry_after_s", None) or 0.0)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Lost(f"{status} {error.detail}", error=error)
    return Lost(str(error), error=error, fatal=True)
