"""What bench/resume makes of what it sees: a client's numbers, shares of cores, and when an aim is missed."""

import json
import math
import sys
from dataclasses import replace

import pytest
from resume import stage
from resume.client import Client, Tally, client_frame, server_frame
from resume.options import Options
from resume.processors import share
from resume.sample import AIMS, Sample, percentile
from resume.tables import report

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
SAMPLE = Sample(
    load=0.1,
    away_s=1.2,
    whole_p50_s=0.8,
    whole_last_s=1.5,
    before_ms=8.0,
    away_ms=9.0,
    meanwhile_ms=14.0,
    cores={"A": 0.5, "clients": 0.4},
    replay={"messages": 1_000.0, "blocks_read": 20.0, "blocks_shared": 900.0},
)


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.written += b"(aborted)"


def framed(*messages: dict[str, object]) -> bytes:
    payloads = [json.dumps(message, separators=(",", ":")).encode() for message in messages]
    return b"".join(
        bytes((0x81, len(p))) + p if len(p) < 126 else b"\x81\x7e" + len(p).to_bytes(2) + p for p in payloads
    )


def trade(seq: int, symbol: str = "AAPL") -> dict[str, object]:
    return {"type": "trade", "symbol": symbol, "price": 1.5, "size": 10, "time": 1_764_000_000_000_000, "seq": seq}


def reply(seq: int, **more: object) -> dict[str, object]:
    positions = {"AAPL": {"epoch": "e1", "seq": seq, **more}}
    return {"type": "subscribed", "id": 1, "channel": "trades", "positions": positions}


@pytest.fixture
def client() -> Client:
    """It has the trades up to 10, and is connected again."""
    made = Client(["AAPL"], ["trades"], Tally())
    connect(made)
    made.data_received(framed(reply(9), trade(10)))
    assert (made.at, made.tally) == ({b'trade","symbol":"AAPL': 10}, Tally())
    made.connection_lost(None)
    return made


def connect(client: Client) -> Wire:
    wire = Wire()
    client.connection_made(wire)
    client.data_received(UPGRADED)
    return wire


def test_a_client_goes_on_from_where_it_stood(client: Client) -> None:
    wire = connect(client)
    requested = wire.written.partition(b"\r\n\r\n")[2]
    asked = json.loads(requested[requested.index(b"{") :])
    assert asked["resume"] == {"AAPL": {"epoch": "e1", "seq": 10}}
    client.data_received(framed(reply(12, recovered=True), trade(11)))
    assert not client.whole_s
    client.data_received(framed(trade(12)))
    assert client.whole_s
    assert client.tally == Tally()
    assert client.behind({"trades": {"AAPL": 12, "MSFT": 5}}) == 0
    assert client.behind({"trades": {"AAPL": 13}}) == 1


def test_what_is_only_kept_counts_from_when_it_came(client: Client) -> None:
    """Wherever the bytes are cut."""
    client.deferring = True
    connect(client)
    for byte in framed(reply(12, recovered=True), trade(11), trade(12), trade(13)):
        client.data_received(bytes((byte,)))
    moments = [moment for moment, _ in client._kept]
    assert not client.whole_s
    client.catch_up()
    assert moments[0] < client.whole_s < moments[-1]
    assert client.at[b'trade","symbol":"AAPL'] == 13
    assert client.tally == Tally()


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ([reply(12, recovered=True), trade(12)], Tally(wrong=1)),
        ([reply(11, recovered=True), trade(11), trade(11)], Tally(wrong=1)),
        ([reply(12, recovered=True), trade(12), trade(11)], Tally(wrong=2)),
        ([reply(11, recovered=False), trade(11)], Tally(not_recovered=1)),
        ([reply(10, recovered=True), {"type": "gap", "channel": "trades", "from": 11, "to": 12}], Tally(announced=1)),
        ([{"type": "error", "code": "unavailable"}], Tally(errors=['{"type":"error","code":"unavailable"}'])),
    ],
)
def test_what_is_not_as_it_should_be_is_counted(
    client: Client, messages: list[dict[str, object]], found: Tally
) -> None:
    connect(client)
    client.data_received(framed(*messages))
    assert client.tally == found


def test_a_client_shows_that_it_lives_where_it_is_connected() -> None:
    made, wire = Client(["AAPL"], ["trades"], Tally()), Wire()
    made.live()
    made.connection_made(wire)
    made.live()
    assert b"\x8a" not in wire.written
    made.data_received(UPGRADED)
    made.live()
    assert wire.written.endswith(b"\x8a\x80" + bytes(4))


def test_a_client_that_is_refused_says_so(client: Client) -> None:
    wire = Wire()
    client.connection_made(wire)
    client.data_received(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    assert client.tally == Tally(refused=1)
    assert wire.written.endswith(b"(aborted)")


def test_why_a_server_has_ended_a_connection_is_kept(client: Client) -> None:
    connect(client)
    client.data_received(framed(reply(10, recovered=True)) + b"\x88\x0a\x11\x9ctoo slow")
    client.connection_lost(None)
    assert client.tally == Tally(errors=["too slow"])


@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536])
def test_frames_of_any_length_are_made_and_read(size: int) -> None:
    frame = client_frame(b"x" * size)
    assert frame[1] & 0x80
    assert frame.endswith(b"x" * size)
    masked = 2 if size < 126 else 4 if size < 65_536 else 10
    unmasked = bytes((frame[0], frame[1] & 0x7F)) + frame[2:masked] + frame[masked + 4 :]
    assert server_frame(unmasked, 0) == (b"x" * size, len(unmasked))
    assert server_frame(unmasked[:-1], 0) is None


def test_shares_of_cores_are_those_of_the_time_asked_for() -> None:
    seen = [(0.0, 0.0), (1.0, 0.0), (2.0, 1.0), (3.0, 1.5)]
    assert share(seen, 1.0, 2.0) == 1.0
    assert share(seen, 0.0, 3.0) == 0.5
    assert share(seen, 1.5, 2.5) == 0.75
    assert share(seen, 2.0, 2.0) == 0.0


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, []),
        ({"whole_last_s": 3.01}, [0]),
        ({"wrong": 1}, [1]),
        ({"behind": 1}, [1]),
        ({"errors": ("x",)}, [1]),
        ({"meanwhile_ms": 24.9}, []),
        ({"meanwhile_ms": 25.0}, [2]),
        ({"meanwhile_ms": 59.0, "before_ms": 30.0}, []),
        ({"meanwhile_ms": 60.0, "before_ms": 30.0}, [2]),
        ({"meanwhile_ms": math.nan}, [2]),
    ],
)
def test_an_aim_is_missed_by_one_kill(changes: dict[str, float], missed: list[int]) -> None:
    one = replace(SAMPLE, **changes)  # type: ignore[arg-type]
    assert [number for number, (_, _, holds, _) in enumerate(AIMS) if not holds(one)] == missed
    text, reached = report([SAMPLE, one], 2)
    assert reached is (not missed)
    assert ("missed 1 x" in text) is bool(missed)


def test_what_must_not_be_believed_is_said() -> None:
    text, _ = report([replace(SAMPLE, cores={"A": 0.1, "clients": 1.9}, before_ms=900.0)], 2)
    assert "The clients may be the limit" in text
    assert "did not keep up" in text
    assert math.isnan(percentile([], 0.5))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processor times are read from /proc")
@pytest.mark.parametrize("channels", [("trades",), ("trades", "quotes")])
def test_a_small_kill(channels: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Real programs: everybody is whole again, with every number."""
    for name, seconds in {"BEFORE_S": 0.5, "WINDOW_S": 0.5, "CALM_S": 1.0}.items():
        monkeypatch.setattr(stage, name, seconds)
    options = Options(clients=6, each=3, symbols=10, ticks_per_s=200.0, probes=1, channels=channels)
    sample = stage.measure(options, 1)
    assert sample.faults == {}
    assert sample.errors == ()
    assert sample.whole_last_s > 0
    assert sample.replay["messages"] > 0
    assert set(sample.cores) == {"A", "B", "clients", "ingester", "store"}
