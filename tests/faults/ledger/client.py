"""WebSocket clients by the hundred in one process: each keeps its book, comes back when it is cut off, and resumes."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from ledger.book import Book, Breach, ClientBook, Count, Topic

TEXT, CLOSE, PING = 1, 8, 9
FIN = 0x80
BACK_S = (0.05, 0.25)
"""How long a client waits before it comes back, at random between these."""
AGAIN_S = 0.2
"""And before it asks again for what it was refused."""
HANDSHAKE_S = 5.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client subscribes to."""

    channel: str
    symbols: tuple[str, ...]
    interval: str = ""
    snapshot: bool = False

    def topic(self, symbol: str) -> Topic:
        """Under which name the book has it."""
        return Topic(f"candles:{self.interval}" if self.interval else self.channel, symbol)


@dataclass(slots=True)
class Told:
    """What all clients of a swarm were told and went through, to see whether a fault was noticed."""

    opened: int = 0
    lost: int = 0
    deliveries: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    service: Counter[str] = field(default_factory=Counter)
    """`stale store`, `live feed` ..."""
    resumed: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    newest_s: float = field(default_factory=monotonic)
    silence_s: float = 0.0
    """The longest time without any tick or candle since somebody asked."""


class Client:
    """One subscriber: a book, and the connection of the moment."""

    def __init__(
        self, book: Book, name: str, port: int, wishes: tuple[Wish, ...], told: Told, dice: random.Random
    ) -> None:
        self.book = ClientBook(book, name)
        self.told = told
        self.wishes = wishes
        self.port = port
        self._dice = dice
        self._link: Link | None = None
        self._asked: dict[int, tuple[Wish, tuple[str, ...], bool]] = {}
        self._next_id = 0
        self._missing: set[tuple[Wish, str]] = set()
        self._stopping = False
        self._timers: set[asyncio.TimerHandle] = set()
        self._connecting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, and for ever again."""
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def stop(self) -> None:
        """Connect no more."""
        self._stopping = True
        for timer in self._timers:
            timer.cancel()
        if self._connecting:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._link:
            self._link.abort()

    @property
    def whole(self) -> bool:
        """Everything is subscribed."""
        return self._link is not None and self._link.upgraded and not self._missing and not self._asked

    def cut(self) -> None:
        """Lose the connection, as if the network had."""
        if self._link:
            self._link.abort()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            try:
                async with asyncio.timeout(HANDSHAKE_S):
                    _, link = await loop.create_connection(lambda: Link(self), "127.0.0.1", self.port)
                    await link.ready.wait()
            except (OSError, TimeoutError):
                await asyncio.sleep(self._dice.uniform(*BACK_S))
                continue
            if link.upgraded:
                return
            link.abort()
            await asyncio.sleep(self._dice.uniform(*BACK_S))

    def arrived(self, link: "Link") -> None:
        """The handshake is over."""
        self.told.opened += 1
        self._link = link
        self._asked.clear()
        self._missing = {(wish, symbol) for wish in self.wishes for symbol in wish.symbols}
        for wish in self.wishes:
            self._ask(wish, wish.symbols)

    def departed(self, link: "Link", code: str) -> None:
        """The connection is gone."""
        if link is self._link:
            self._link = None
            self.told.lost += 1
            self.told.codes[code] += 1
            if not self._stopping:
                self._later(self._dice.uniform(*BACK_S), self.start)

    def act(self, message: dict[str, Any]) -> None:
        """What is not for the book."""
        kind = message["type"]
        if kind == "subscribed":
            self._subscribed(message)
        elif kind == "service":
            self.told.service[f"{message['state']} {message['reason']}"] += 1
        elif kind == "error":
            self._refused(message)

    def _ask(self, wish: Wish, symbols: tuple[str, ...]) -> None:
        """Subscribe: where the book has a position, resume from it."""
        at = {symbol: position for symbol in symbols if (position := self._position(wish, symbol))}
        fresh = tuple(symbol for symbol in symbols if symbol not in at)
        for some, resume in ((tuple(at), at), (fresh, None)):
            if some and self._link:
                self._next_id += 1
                self._asked[self._next_id] = wish, some, resume is not None
                request: dict[str, Any] = {"op": "subscribe", "id": self._next_id, "channel": wish.channel}
                request |= {"symbols": some}
                request |= {"interval": wish.interval} if wish.interval else {}
                request |= {"resume": resume} if resume else {"snapshot": wish.snapshot}
                self._link.send(TEXT, json.dumps(request).encode())

    def _position(self, wish: Wish, symbol: str) -> dict[str, Any] | None:
        books: Any = self.book.candles if wish.interval else self.book.views
        view = books.get(wish.topic(symbol))
        return {"epoch": view.epoch, "seq": view.seq} if view else None

    def _subscribed(self, message: dict[str, Any]) -> None:
        asked = self._asked.pop(message.get("id", 0), None)
        if asked is None:
            return
        wish, _, resumed = asked
        for position in message["positions"].values():
            self.told.resumed[str(position.get("recovered"))] += 1
        again = tuple(self.book.subscribed(message, resumed=resumed))
        for symbol in message["positions"]:
            self._missing.discard((wish, symbol))
        if again:
            self.told.errors["unknown_symbol"] += len(again)
            self._later(AGAIN_S, lambda link=self._link: self._ask_again(link, wish, again))

    def _refused(self, message: dict[str, Any]) -> None:
        self.told.errors[message["code"]] += 1
        asked = self._asked.pop(message.get("id", 0), None)
        if asked is None or not message.get("retry", False):
            # A request of ours that is wrong is a mistake, here or there.
            breach = Breach(Count.CORRUPT, self.book.name, Topic("", ""), f"refused: {message}")
            self.book.book.breaches.append(breach)
            return
        wish, symbols, _ = asked
        self._later(AGAIN_S, lambda link=self._link: self._ask_again(link, wish, symbols))

    def _ask_again(self, link: "Link | None", wish: Wish, symbols: tuple[str, ...]) -> None:
        if link is self._link:
            self._ask(wish, symbols)

    def _later(self, after_s: float, call: Any) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(after_s, run)
        self._timers.add(timer)


class Link(asyncio.Protocol):
    """One connection: reads frames and hands their messages to the client's book, as many a second as it can."""

    def __init__(self, client: Client) -> None:
        self.ready = asyncio.Event()
        self.upgraded = False
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._code = "cut"

    def connection_made(self, transport: Any) -> None:
        """Ask for the upgrade."""
        self._transport = transport
        transport.write(
            f"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1:{self._client.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bGVkZ2VyIG9mIHRpY2tzIQ==\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self.ready.set()
        self._client.departed(self, self._code)

    def abort(self) -> None:
        """Without a farewell."""
        if self._transport:
            self._transport.abort()

    def send(self, opcode: int, payload: bytes) -> None:
        """A frame with a mask of zeros, which changes nothing."""
        size = len(payload)
        head = bytes([FIN | opcode, FIN | size]) if size < 126 else bytes([FIN | opcode, FIN | 126]) + size.to_bytes(2)
        if self._transport and not self._transport.is_closing():
            self._transport.write(head + b"\0\0\0\0" + payload)

    def data_received(self, data: bytes) -> None:
        """Frames, or what is there of them."""
        if self._rest:
            data = self._rest + data
        if not self.upgraded:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            self._rest = b""
            if not head.startswith(b"HTTP/1.1 101"):
                self._code = head[9:12].decode("ascii", "replace")
                self.abort()
                return
            self.upgraded = True
            self._client.arrived(self)
            self.ready.set()
        before = self._client.book.deliveries
        used = self._read(data)
        self._rest = data[used:]
        self._count(before)

    def _read(self, data: bytes) -> int:
        """Whole frames; how many bytes they took. The common case, a tick that continues its run, is done right here."""
        client, at, end = self._client, 0, len(data)
        known, views, take, act = client.book.book.known, client.book.views, client.book.take, client.act
        ticks = 0
        while end - at >= 2:
            size = data[at + 1]
            begin = at + 2
            if size > 125:
                begin += 2 if size == 126 else 8
                if begin > end:
                    break
                size = int.from_bytes(data[at + 2 : begin])
            if begin + size > end:
                break
            payload = data[begin : begin + size]
            opcode = data[at]
            at = begin + size
            if opcode != FIN | TEXT:
                self._control(opcode, payload)
                continue
            if row := known.get(payload):
                topic, seq, payload = row
                view = views.get(topic)
                if (
                    view is not None
                    and seq == view.seq + 1
                    and view.lane.payloads.get(seq) is payload
                    and not view.owed
                ):
                    view.seq = seq
                    ticks += 1
                    continue
            if message := take(payload):
                act(message)
        client.book.deliveries += ticks
        return at

    def _count(self, before: int) -> None:
        told, came = self._client.told, self._client.book.deliveries - before
        if came:
            now = monotonic()
            told.deliveries += came
            told.silence_s = max(told.silence_s, now - told.newest_s)
            told.newest_s = now

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == FIN | PING:
            self.send(10, payload)
        elif opcode == FIN | CLOSE:
            self._code = str(int.from_bytes(payload[:2])) if payload else "1005"
            self.send(CLOSE, payload[:2])
            if self._transport:
                self._transport.close()
        elif opcode != FIN | 10:
            self._client.book.book.breaches.append(
                Breach(Count.CORRUPT, self._client.book.name, Topic("", ""), f"a frame that begins with {opcode:#x}")
            )
