"""What clients do with what they receive, however it is cut, and whether they notice what must not be."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from ledger.book import Book, Count, Topic
from ledger.client import Client, Link, Told, Wish

TRADES = Topic("trades", "AAPL")


def frame(payload: bytes, opcode: int = 1) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    if size < 1 << 16:
        return bytes([0x80 | opcode, 126]) + size.to_bytes(2) + payload
    return bytes([0x80 | opcode, 127]) + size.to_bytes(8) + payload


def trade(seq: int, price: int = 100) -> bytes:
    return b'{"type":"trade","symbol":"AAPL","price":%d,"size":1,"time":1795000000000000,"seq":%d}' % (price, seq)


class Wire:
    """A connection without a network: what the client sends is kept."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    close = abort

    def requests(self) -> list[dict[str, Any]]:
        """The subscriptions that were asked for; the mask is of zeros."""
        return [orjson.loads(data[data.index(b"{") :]) for data in self.sent if b'"op"' in data]


class Rig:
    """One client, and its connection of the moment."""

    def __init__(self) -> None:
        self.book = Book()
        self.told = Told()
        wishes = (Wish("trades", ("AAPL",)),)
        self.client = Client(self.book, "client", 0, wishes, self.told, random.Random(1))

    def connect(self) -> tuple[Link, Wire]:
        link, wire = Link(self.client), Wire()
        link.connection_made(wire)
        link.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        return link, wire

    def subscribed(self, number: int, seq: int, **more: Any) -> bytes:
        position = {"epoch": "e", "seq": seq} | more
        reply = {"type": "subscribed", "id": number, "channel": "trades", "positions": {"AAPL": position}, "errors": []}
        return orjson.dumps(reply)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.client.stop()


async def test_messages_are_read_however_the_bytes_are_cut(rig: Rig) -> None:
    """One byte at a time, in random pieces, all at once."""
    stream = b"".join(frame(payload) for payload in [rig.subscribed(1, 0), *(trade(seq) for seq in range(1, 200))])
    pieces = random.Random(3)
    for size in (1, 7, 200, len(stream)):
        rig = Rig()
        link, _ = rig.connect()
        at = 0
        while at < len(stream):
            step = pieces.randint(1, size)
            link.data_received(stream[at : at + step])
            at += step
        assert rig.client.book.views[TRADES].seq == 199
        assert rig.client.book.deliveries == 199
        assert not rig.book.breaches
        assert rig.client.whole


async def test_it_resumes_from_where_it_stands(rig: Rig) -> None:
    link, wire = rig.connect()
    assert "resume" not in wire.requests()[0]
    link.data_received(frame(rig.subscribed(1, 41)) + frame(trade(42)))
    link.connection_lost(None)
    _, wire = rig.connect()
    assert wire.requests()[0]["resume"] == {"AAPL": {"epoch": "e", "seq": 42}}
    assert not rig.client.whole
    assert rig.told.lost == 1


@pytest.mark.parametrize(
    ("payloads", "count"),
    [
        ([trade(1), trade(3)], Count.SILENT_GAP),
        ([trade(1), trade(1)], Count.DUPLICATED),
        ([trade(1), trade(2), trade(1, 101)], Count.CORRUPT),
        ([trade(1), trade(1)[:-1]], Count.CORRUPT),
        ([trade(1).replace(b"AAPL", b"IBM")], Count.PHANTOM),
        ([b'{"type":"gap","channel":"trades","symbol":"AAPL","from":3,"to":4,"reason":"trimmed"}'], Count.SILENT_GAP),
        ([b'{"type":"reset","channel":"trades","symbol":"AAPL","epoch":"f","seq":2}'], Count.SILENT_GAP),
        ([b'{"type":"error","id":1,"code":"bad_request","message":"no","retry":false}'], Count.CORRUPT),
    ],
)
async def test_what_must_not_be_is_noticed_as_it_comes(rig: Rig, payloads: list[bytes], count: Count) -> None:
    link, _ = rig.connect()
    link.data_received(b"".join(map(frame, [rig.subscribed(1, 0), *payloads])))
    assert count in [breach.kind for breach in rig.book.breaches]


async def test_a_position_keeps_its_epoch_until_it_is_said_what_is_missing(rig: Rig) -> None:
    """Cut off between the reply and the reset, a client must not take the new epoch's name to numbers of the old."""
    link, _ = rig.connect()
    link.data_received(frame(rig.subscribed(1, 0)) + frame(trade(1)))
    link.connection_lost(None)
    link, _ = rig.connect()
    reply = rig.subscribed(2, 7, recovered=False).replace(b'"epoch":"e"', b'"epoch":"f"')
    link.data_received(frame(reply))
    link.connection_lost(None)
    link, wire = rig.connect()
    assert wire.requests()[0]["resume"] == {"AAPL": {"epoch": "e", "seq": 1}}
    reset = b'{"type":"reset","channel":"trades","symbol":"AAPL","epoch":"f","seq":0}'
    link.data_received(frame(reply.replace(b'"id":2', b'"id":3')) + frame(reset) + frame(trade(1, 102)))
    assert not rig.book.breaches
    assert rig.client.book.views[TRADES].epoch == "f"


async def test_pings_are_answered_and_a_farewell_is_kept(rig: Rig) -> None:
    link, wire = rig.connect()
    link.data_received(frame(b"x", 9) + frame((1012).to_bytes(2) + b"restart", 8))
    assert wire.sent[-2:] == [b"\x8a\x81\0\0\0\0x", b"\x88\x82\0\0\0\0" + (1012).to_bytes(2)]
    link.connection_lost(None)
    assert rig.told.codes == {"1012": 1}


async def test_one_process_checks_more_than_60_000_deliveries_a_second() -> None:
    """Hundreds of clients that get the same messages, as from one gateway: an order of magnitude is what is asserted."""
    book, told, clients = Book(), Told(), 100
    links = []
    for number in range(clients):
        client = Client(book, str(number), 0, (Wish("trades", ("AAPL",)),), told, random.Random(1))
        link = Link(client)
        link.connection_made(Wire())
        link.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + frame(Rig().subscribed(1, 0)))
        links.append(link)
    began_s, seq = time.perf_counter(), 0
    for _ in range(100):
        data = b"".join(frame(trade(seq + i)) for i in range(1, 11))
        seq += 10
        for link in links:
            link.data_received(data)
        await asyncio.sleep(0)
    rate = told.deliveries / (time.perf_counter() - began_s)
    print(f"{rate:,.0f} deliveries/s")
    assert told.deliveries == 100_000
    assert not book.breaches
    assert rate > 60_000
