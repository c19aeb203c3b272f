import os
import signal

import pytest

from ticker.errors import AppendConflict, StoreUnavailable
from ticker.store.append import Append
from ticker.store.connection import connect
from ticker.store.embedded import EmbeddedServer
from ticker.store.script_calls import BYTES_PER_TRIP, BYTES_PER_WRITE, REPLIES_AT_ONCE, ScriptCalls


def call(number, filler=0):
    """An append to a symbol that nobody has claimed: its answer is an error that names it."""
    return Append(f"S{number}", "1-me", 1, 1000, None, event="x" * filler).arguments()


def numbers(replies):
    """Which symbols the answers are about."""
    assert {type(reply) for reply in replies} <= {AppendConflict}
    return [int(str(reply).split("{S")[1].split("}")[0]) for reply in replies]


@pytest.mark.parametrize("count", [0, 1, REPLIES_AT_ONCE - 1, REPLIES_AT_ONCE, REPLIES_AT_ONCE + 1, 500])
async def test_every_call_gets_its_own_answer(redis_client, count):
    """In their order, however many there are."""
    calls = ScriptCalls(redis_client, "append.lua", "append")
    assert numbers(await calls.run(call(number) for number in range(count))) == list(range(count))


async def test_what_a_trip_does_not_hold_is_left(redis_client):
    """And taken by the next."""
    calls = ScriptCalls(redis_client, "append.lua", "append")
    left = iter([call(number, filler=BYTES_PER_TRIP // 10) for number in range(25)])
    first = numbers(await calls.run(left))
    assert 1 < len(first) < 25
    assert first + numbers(await calls.run_all(left)) == list(range(25))


@pytest.mark.limit("store_timeout_s")
async def test_a_store_that_stalls_among_its_answers_is_noticed(tmp_path, free_port):
    """What was sent is in doubt then; the next trip gets its own answers, and none of those."""
    with EmbeddedServer(tmp_path / "data", free_port()) as server:
        async with connect(server.url, timeout_s=0.5) as client:
            calls = ScriptCalls(client, "append.lua", "append")
            count = 3 * REPLIES_AT_ONCE

            def stalling():
                for number in range(count):
                    if number == 2 * REPLIES_AT_ONCE:
                        os.kill(server.pid, signal.SIGSTOP)
                    yield call(number, filler=2 * BYTES_PER_WRITE // REPLIES_AT_ONCE)

            try:
                with pytest.raises(StoreUnavailable, match="does not answer"):
                    await calls.run(stalling())
            finally:
                os.kill(server.pid, signal.SIGCONT)
            assert numbers(await calls.run(call(number) for number in range(1000, 1000 + count))) == list(
                range(1000, 1000 + count)
            )
