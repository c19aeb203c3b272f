"""The JSON in the docs: requests are accepted, messages and answers look as shown."""

import json
import time
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from ticker.hub.events import gap_message, reset_message
from ticker.hub.service import Service
from ticker.hub.subscriber import OutboxLimits, Subscriber
from ticker.hub.topic import Topic

DEADLINE_S = 20.0
POSITION = {"epoch": "7kzeay", "seq": 6}
TRADES = Topic("trades", "AAPL")


def same_shape(shown: Any, real: Any, *, partly: bool = False) -> bool:
    """The same names and kinds of values, however deep; null may stand for anything, an empty list too."""
    if shown is None or real is None:
        return True
    if isinstance(shown, dict) and isinstance(real, dict):
        if "AAPL" in shown:  # names of symbols
            return all(same_shape(shown["AAPL"], value) for value in real.values())
        names = shown.keys() <= real.keys() if partly else shown.keys() == real.keys()
        return names and all(same_shape(shown[name], real[name], partly=name == "limits") for name in shown)
    if isinstance(shown, list) and isinstance(real, list):
        return all(same_shape(shown[0], value) for value in real) if shown else True
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (shown, real))
    return numbers or type(shown) is type(real)


@pytest.mark.blocks("answer")
def test_answers_look_as_shown(block: Any, docs: Any) -> None:
    """The path that stands behind `json` gives an answer of this shape."""
    assert block.words.startswith(("/v1/", "/readyz"))
    answer = httpx.get(docs.url + block.words)
    assert answer.status_code == 200
    assert same_shape(json.loads(block.text), answer.json()), answer.text


def test_another_shape_is_found() -> None:
    """A name too many, too few, or of another kind."""
    assert same_shape({"a": 1, "b": [{"c": "x"}]}, {"a": 2.5, "b": [{"c": "y"}, {"c": "z"}]})
    assert not same_shape({"a": 1}, {"a": 1, "b": 2})
    assert not same_shape({"a": 1, "b": 2}, {"a": 1})
    assert not same_shape({"a": 1}, {"a": "1"})
    assert not same_shape({"a": True}, {"a": 1})
    assert not same_shape({"a": [{"c": 1}]}, {"a": [{"d": 1}]})


def of_a_slow_client() -> dict[str, Any]:
    """What a client is told whose kernel has taken nothing for a while."""
    written: list[bytes] = []
    transport = SimpleNamespace(write=written.append, get_write_buffer_size=lambda: 60)
    door: Any = SimpleNamespace(transport=transport, heard=True)
    slow = Subscriber(door, OutboxLimits(100, 5), lambda: 0.0, lambda *why: pytest.fail(f"given up: {why}"))
    slow.fill()
    slow.send(b"{}")
    slow.drain()
    told: dict[str, Any] = json.loads(written[0][2 : 2 + written[0][1]])
    return told


@pytest.fixture(scope="module")
def heard(docs: Any, all_blocks: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """Real messages, by type."""
    service = Service(0.0)
    found: dict[str, list[dict[str, Any]]] = {
        "gap": [json.loads(gap_message(TRADES, 1, 2, "trimmed"))],
        "reset": [json.loads(reset_message(TRADES, "7kzeay", 2))],
    }
    found["service"] = [json.loads(text) for text in service.check(60.0, 1, {})]
    found["slow"] = [of_a_slow_client()]
    requests = [
        {"op": "subscribe", "id": 1, "channel": "trades", "symbols": ["AAPL", "MSFT", "ZZZZ"]},
        {"op": "list", "id": 4},
        {"op": "subscribe", "id": 2, "channel": "quotes", "symbols": ["*"]},
        {"op": "subscribe", "id": 3, "channel": "candles", "interval": "1m", "symbols": ["AAPL"]},
        {"op": "ping", "id": 5},
        {"op": "stats", "id": 8},
        {"op": "jump", "id": 6},
        {"op": "unsubscribe", "id": 7, "channel": "trades", "symbols": ["MSFT"]},
        {"op": "subscribe", "id": 9, "channel": "trades", "symbols": ["MSFT"], "resume": {"MSFT": POSITION}},
    ]
    with open_stream(docs) as socket:
        for request in requests:
            socket.send(json.dumps(request))
        deadline = time.monotonic() + DEADLINE_S
        shown = [m for block in all_blocks if block.kind == "message" for m in messages_of(block)]
        wanted = {message["type"] for message in shown if "type" in message}
        while not wanted <= found.keys() and time.monotonic() < deadline:
            message = json.loads(socket.recv(DEADLINE_S))
            if "snapshot" not in message:
                found.setdefault(message["type"], []).append(message)
    return found


def open_stream(docs: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{docs.port}/v1/stream", proxy=None, close_timeout=1)


def messages_of(block: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in block.text.splitlines()]


@pytest.mark.blocks("message")
def test_messages_are_real(block: Any, docs: Any, heard: dict[str, list[dict[str, Any]]]) -> None:
    """Requests are accepted, one after the other; of every reply and event there is a real one of this shape."""
    with open_stream(docs) as socket:
        for message in messages_of(block):
            if "op" in message:
                socket.send(json.dumps(message))
                reply = next(
                    m for m in iter(lambda: json.loads(socket.recv(DEADLINE_S)), None) if m.get("id") == message["id"]
                )
                assert reply["type"] != "error", reply
            else:
                assert any(same_shape(message, real) for real in heard[message["type"]]), message
