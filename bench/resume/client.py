"""A client that checks every number that it gets, and goes on from its positions when it was cut off."""

import asyncio
import base64
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TICK = re.compile(rb'"type":"([tq][a-z]+","symbol":"[^"]+)"[^}]*"seq":(\d+)\}')
"""A stream, and the number; decoding each message would cost more than sending it."""
CLOSE = b"\x88"
"""How a frame begins with which a server ends a connection."""
PONG = b"\x8a\x80" + bytes(4)
TYPES = {"trades": "trade", "quotes": "quote"}


@dataclass(slots=True)
class Tally:
    """What the clients of one process have found."""

    wrong: int = 0
    """Numbers that are not the one before + 1: lost, repeated or out of order."""
    announced: int = 0
    not_recovered: int = 0
    refused: int = 0
    errors: list[str] = field(default_factory=list)
    ages: list[tuple[float, float]] = field(default_factory=list)
    """When something was read, and how old its newest tick was, in milliseconds."""


def stream_key(channel: str, symbol: str) -> bytes:
    """How `TICK` finds it."""
    return f'{TYPES[channel]}","symbol":"{symbol}'.encode()


class Client(asyncio.Protocol):
    """One client; `on_lost` hears when it was cut off."""

    def __init__(self, symbols: Sequence[str], channels: Sequence[str], tally: Tally, *, probing: bool = False) -> None:
        self.symbols, self.channels, self.tally, self.probing = symbols, channels, tally, probing
        self.at: dict[bytes, int] = {}
        self.served = 0
        """How often a gateway took it; one that is being killed may still take connections, which count for nothing."""
        self.whole_s = 0.0
        """When it had everything up to the positions of its replies; 0 before."""
        self.deferring = False
        """Whether what comes on the next connection is only kept, with its moment, until `catch_up`."""
        self.on_lost: Callable[[], None] = lambda: None
        self._epochs: dict[str, dict[str, str | None]] = {channel: {} for channel in channels}
        self._goals: dict[bytes, int] = {}
        self._replies = 0
        self._rest = b""
        self._upgraded = False
        self._defers = False
        self._kept: list[tuple[float, bytes]] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._rest, self._replies, self._upgraded, self.whole_s = b"", 0, False, 0.0
        self._defers = self.deferring
        self._goals.clear()
        transport.write(
            b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % base64.b64encode(os.urandom(16))
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        # The positions to go on from are those of the last message that came whole.
        self.catch_up()
        if self._rest.startswith(CLOSE):
            self.tally.errors.append(self._rest[4:].decode(errors="replace"))
        self.on_lost()

    def data_received(self, data: bytes) -> None:
        moment = time.monotonic()
        if not self._upgraded:
            data = self._upgrade(data)
        if self._defers:
            self._kept.append((moment, data))
        elif data:
            self._check(moment, data)

    def live(self) -> None:
        """Show that it does."""
        if self.transport is not None and self._upgraded:
            self.transport.write(PONG)

    def catch_up(self) -> None:
        """Check what was only kept, and from now on what comes."""
        kept, self._kept, self._defers = self._kept, [], False
        for moment, data in kept:
            self._check(moment, data)

    def behind(self, positions: Mapping[str, Mapping[str, int]]) -> int:
        """How many of its streams are not at these numbers."""
        wanted = {stream_key(channel, s): seq for channel, seqs in positions.items() for s, seq in seqs.items()}
        return sum(wanted[key] != seq for key, seq in self.at.items())

    def _upgrade(self, data: bytes) -> bytes:
        """Subscribe once the connection is a WebSocket; what came behind that."""
        head, found, rest = (self._rest + data).partition(b"\r\n\r\n")
        if not found:
            self._rest = head
            return b""
        self._rest, self._upgraded = b"", True
        assert self.transport is not None
        if b" 101 " not in head[:20]:
            self.tally.refused += 1
            self.transport.abort()
            return b""
        self.served += 1
        requests = (json.dumps(self._request(channel)).encode() for channel in self.channels)
        self.transport.write(b"".join(map(client_frame, requests)))
        return rest

    def _request(self, channel: str) -> dict[str, Any]:
        request = {"op": "subscribe", "channel": channel, "symbols": self.symbols, "snapshot": False}
        epochs = self._epochs[channel]
        if epochs:
            resume = {s: {"epoch": epoch, "seq": self.at[stream_key(channel, s)]} for s, epoch in epochs.items()}
            request["resume"] = resume
        return request

    def _check(self, moment: float, data: bytes) -> None:
        data = self._rest + data
        if self._replies < len(self.channels):
            data = self._answers(data)
        if self._replies == len(self.channels):
            data = self._ticks(moment, data)
            if not self.whole_s and all(self.at[key] >= goal for key, goal in self._goals.items()):
                self.whole_s = moment
        self._rest = data

    def _answers(self, data: bytes) -> bytes:
        """Read frame by frame until every subscription is answered; what is left."""
        at = 0
        while self._replies < len(self.channels) and (found := server_frame(data, at)) is not None:
            payload, at = found
            if b'"type":"subscribed"' in payload:
                self._answer(json.loads(payload))
            elif b'"type":"error"' in payload:
                self.tally.errors.append(payload.decode())
            else:
                self._ticks(0.0, payload)
        return data[at:]

    def _answer(self, reply: dict[str, Any]) -> None:
        self._replies += 1
        channel = reply["channel"]
        for symbol, position in reply["positions"].items():
            key = stream_key(channel, symbol)
            if "recovered" not in position:
                self.at[key] = position["seq"]
            elif not position["recovered"]:
                self.tally.not_recovered += 1
            self._epochs[channel][symbol], self._goals[key] = position["epoch"], position["seq"]

    def _ticks(self, moment: float, data: bytes) -> bytes:
        """Check all ticks that have come whole; what is left."""
        at = self.at
        for key, number in TICK.findall(data):
            seq = int(number)
            if seq != at[key] + 1:
                self.tally.wrong += 1
            at[key] = seq
        if b'"type":"gap"' in data or b'"type":"reset"' in data:
            self.tally.announced += 1
        end = data.rfind(b"}") + 1
        if self.probing and moment and end:
            newest = data[:end].rpartition(b'"time":')[2].partition(b",")[0]
            if newest.isdigit():
                self.tally.ages.append((moment, time.time() * 1000 - int(newest) / 1000))
        return data[end:]


def client_frame(payload: bytes) -> bytes:
    """A masked text frame; the mask is 0."""
    size = len(payload)
    if size < 126:
        head = bytes((0x81, 0x80 | size))
    elif size < 65_536:
        head = b"\x81\xfe" + size.to_bytes(2)
    else:
        head = b"\x81\xff" + size.to_bytes(8)
    return head + bytes(4) + payload


def server_frame(data: bytes, at: int) -> tuple[bytes, int] | None:
    """The payload of the frame that begins here, and where the next one does; None where it has not come whole."""
    if len(data) < at + 2:
        return None
    length, begin = data[at + 1], at + 2
    if length >= 126:
        width = 2 if length == 126 else 8
        if len(data) < begin + width:
            return None
        length, begin = int.from_bytes(data[begin : begin + width]), begin + width
    return (data[begin : begin + length], begin + length) if len(data) >= begin + length else None
