"""The users of the store that docs/streams.md describes: what they may do, and what not."""

import json
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def users(docs_store: Redis, the_block: Callable[[str, str], str]) -> Iterator[Callable[[str], Redis]]:
    """Makes the user that a block describes, and gives a client that is logged in as such."""
    made: list[tuple[str, Redis]] = []

    def make(name: str) -> Redis:
        docs_store.execute_command(*shlex.split(the_block("redis", name)))
        port = docs_store.connection_pool.connection_kwargs["port"]
        client = Redis(port=port, username=name, password="change-me", decode_responses=True)
        made.append((name, client))
        return client

    yield make
    for name, client in made:
        client.close()
        docs_store.execute_command("ACL", "DELUSER", name)


def test_a_tapper_may_read_and_nothing_else(users: Callable[[str], Redis], docs_store: Redis) -> None:
    """Everything that the page lists, and no other command, key or channel."""
    tapper = users("tapper")
    (entry,) = tapper.xread({"trades:{AAPL}": "0"}, count=1)[0][1]
    assert tapper.xrange("trades:{AAPL}", count=1)[0][1] == entry[1]
    assert tapper.xrevrange("quotes:{AAPL}", count=1)
    assert tapper.xlen("trades:{AAPL}")
    assert tapper.xinfo_stream("trades:{AAPL}")["length"]
    assert tapper.get("schema") == "1"
    assert tapper.get("epoch:{AAPL}")
    assert json.loads(tapper.hget("symbols", "AAPL"))["symbol"] == "AAPL"
    assert "MSFT" in tapper.hgetall("symbols")
    with tapper.pubsub() as channel:
        channel.subscribe("trades:{AAPL}")
        channel.psubscribe("quotes:*")
        live = next(m for m in channel.listen() if m["type"] == "message")
        assert json.loads(live["data"])["type"] == "trade"
    refused: list[tuple[Any, ...]] = [
        ("XADD", "trades:{AAPL}", "*", "price", "1"),
        ("XTRIM", "trades:{AAPL}", "MAXLEN", "0"),
        ("DEL", "trades:{AAPL}"),
        ("XGROUP", "CREATE", "trades:{AAPL}", "g", "0"),
        ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "trades:{AAPL}", ">"),
        ("SET", "schema", "2"),
        ("HSET", "symbols", "AAPL", "x"),
        ("HGETALL", "ticker:state:{AAPL}"),
        ("PUBLISH", "trades:{AAPL}", "x"),
        ("SUBSCRIBE", "ticker:heartbeat"),
        ("PSUBSCRIBE", "trades:{A*"),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("CONFIG", "GET", "*"),
        ("EVAL", "return 1", "0"),
        ("FLUSHALL",),
        ("INFO",),
        ("ACL", "LIST"),
    ]
    for command in refused:
        with pytest.raises(NoPermissionError):
            tapper.execute_command(*command)


def test_ticker_tap_needs_one_right_more(
    users: Callable[[str], Redis], docs: Any, docs_store: Redis, start: Callable[..., Any]
) -> None:
    """As the page says: INFO."""
    users("tapper")
    command = f"ticker tap AAPL --from 0 --redis-url redis://tapper:change-me@127.0.0.1:{docs.redis_port}"
    refused = subprocess.run(
        ["sh", "-c", command], env=docs.environment(), cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert "lacks a right" in refused.stderr
    docs_store.execute_command("ACL", "SETUSER", "tapper", "+info")
    running = start(f"exec {command}", docs.environment())
    lines = running.lines(1)
    code, errors = running.end()
    assert (code, len(lines)) == (0, 1), errors


def test_a_member_of_a_group_may_use_that_stream_only(users: Callable[[str], Redis]) -> None:
    """It makes the group, reads, confirms; it neither adds nor cuts, and sees no other stream."""
    member, stream = users("member"), "trades:{AAPL}"
    member.xgroup_create(stream, "tested", id="0")
    entries = member.xreadgroup("tested", "one", {stream: ">"}, count=2)[0][1]
    assert member.xpending(stream, "tested")["pending"] == 2
    assert member.xack(stream, "tested", *[entry_id for entry_id, _ in entries]) == 2
    assert member.xautoclaim(stream, "tested", "two", 0)[1] == []
    for command in (
        ("XADD", stream, "*", "price", "1"),
        ("XTRIM", stream, "MAXLEN", "0"),
        ("DEL", stream),
        ("XGROUP", "DESTROY", stream, "tested"),
        ("XREADGROUP", "GROUP", "tested", "one", "STREAMS", "trades:{MSFT}", ">"),
        ("GET", "epoch:{AAPL}"),
    ):
        with pytest.raises(NoPermissionError):
            member.execute_command(*command)
