import asyncio

import pytest

from ticker.candles.packed import unpack_open
from ticker.errors import HeldError, StoreUnavailable
from ticker.store import claim as claim_module
from ticker.store import keys
from ticker.store.append import StreamEnd
from ticker.store.claim import Claims, holder_of
from ticker.store.connection import connect
from ticker.store.lease import LEASE_S, Lease

NOON_MS = 1_763_985_600_000


class Ingester:
    """One that claims: its lease and its claims."""

    def __init__(self, client) -> None:
        self.lease = Lease(client)
        self.claims = Claims(client, self.lease)

    async def claim(self, *symbols: str):
        return await self.claims.claim(symbols or ("AAPL",))


@pytest.fixture
def one(redis_client):
    return Ingester(redis_client)


@pytest.fixture
def other(redis_client):
    return Ingester(redis_client)


async def fence(client, symbol="AAPL") -> str:
    return (await client.hget(keys.state(symbol), "fence") or b"").decode()


async def test_a_claim_of_an_empty_store_tells_that_nothing_is_there(one, redis_client):
    """And makes the caller the writer."""
    (claimed,) = await one.claim()
    assert (claimed.epoch, claimed.trades, claimed.quotes, claimed.cursor) == (None, StreamEnd(), StreamEnd(), None)
    assert claimed.fence == f"1-{one.lease.id}" == await fence(redis_client)
    assert holder_of(claimed.fence) == one.lease.id


async def test_a_claim_tells_what_is_stored(writer, tape):
    """Where both streams end, the open candles, the epoch and the cursor."""
    await writer.write(*tape.trades(3), tape.quote(), cursor="c7")
    again = Ingester(writer.client)
    await writer.lease.release()
    (claimed,) = await again.claim()
    assert claimed.epoch == (await writer.client.get("epoch:{AAPL}")).decode()
    assert claimed.trades == StreamEnd(3, tape.ticks[2].time // 1000, tape.ticks[2].time)
    assert claimed.trades.id == f"{tape.ticks[2].time // 1000}-3"
    assert claimed.quotes == StreamEnd(1, tape.time // 1000, tape.time)
    assert claimed.open == unpack_open(await writer.client.hget(keys.state("AAPL"), "open"))
    assert claimed.open["1m"][0].trades == 3
    assert claimed.cursor == "c7"


async def test_a_stream_that_was_emptied_still_tells_its_end(writer, tape):
    """Numbers go on where all ticks were trimmed by age."""
    await writer.write(*tape.trades(3))
    await writer.client.xtrim("trades:{AAPL}", maxlen=0, approximate=False)
    await writer.lease.release()
    (again,) = await Ingester(writer.client).claim()
    assert again.trades == StreamEnd(3, tape.time // 1000, 0)


async def test_as_many_symbols_as_wanted_are_claimed(one):
    """However many round trips that takes."""
    symbols = [f"S{number:05}" for number in range(7_000)]
    claimed = await one.claims.claim(symbols)
    assert len(claimed) == len(symbols)
    assert {found.fence.split("-")[0] for found in claimed} == {"1"}


async def test_while_an_ingester_lives_nobody_else_gets_its_symbols(one, other, redis_client):
    """Not even those of the same claim that are free; the error says who it is."""
    await one.claim("AAPL")
    for _ in range(3):
        with pytest.raises(HeldError, match=rf"AAPL is written by ingester {one.lease.id} \(process \d+ on .+\)"):
            await other.claim("MSFT", "AAPL")
    assert await fence(redis_client) == f"1-{one.lease.id}"
    assert await fence(redis_client, "MSFT") == ""
    (again,) = await one.claim("AAPL")
    assert again.fence == f"2-{one.lease.id}"


async def test_ingesters_with_other_symbols_do_not_mind_each_other(one, other):
    """Both write."""
    await one.claim("AAPL")
    await other.claim("MSFT")
    await one.claim("AAPL")


async def test_a_clean_stop_frees_the_symbols_at_once(one, other):
    """The next claim gets them."""
    await one.claim()
    with pytest.raises(HeldError):
        await other.claim()
    await one.lease.release()
    (claimed,) = await other.claim()
    assert claimed.fence == f"2-{other.lease.id}"


async def test_an_ingester_that_gives_no_sign_of_life_loses_its_symbols(one, other, wait_until):
    """Within a little more than its lease: it is not asked whether it agrees."""
    await one.claim()
    took_s = -asyncio.get_running_loop().time()

    async def taken():
        try:
            await other.claim()
        except HeldError:
            return False
        return True

    await wait_until(taken)
    took_s += asyncio.get_running_loop().time()
    assert LEASE_S - 0.5 < took_s < LEASE_S + 1
    with pytest.raises(HeldError, match=other.lease.id):
        await one.claim()


async def test_fences_only_rise(one, other, redis_client):
    """Also where a claim is given back."""
    await one.claim()
    await one.lease.release()
    await other.claim()
    await other.lease.release()
    await one.claim()
    assert await fence(redis_client) == f"3-{one.lease.id}"


async def test_of_two_that_want_the_same_symbols_one_gets_all_of_them(redis_client):
    """Whoever loses keeps none."""
    symbols = [f"S{number:03}" for number in range(200)]
    for _ in range(5):
        rivals = [Ingester(redis_client) for _ in range(4)]
        results = await asyncio.gather(*(rival.claim(*symbols) for rival in rivals), return_exceptions=True)
        won = [rival for rival, result in zip(rivals, results, strict=True) if isinstance(result, list)]
        lost = [result for result in results if not isinstance(result, list)]
        assert len(won) == 1
        assert all(isinstance(result, HeldError) for result in lost)
        assert {holder_of(await fence(redis_client, symbol)) for symbol in symbols} == {won[0].lease.id}
        for rival in rivals:
            await rival.lease.release()


async def test_what_was_claimed_before_another_was_faster_is_given_back(one, other, redis_client, monkeypatch):
    """All or nothing: two that each hold a part would wait for each other for ever."""
    stale = {symbol: claim_module._Found("", "", "") for symbol in ("AAPL", "IBM", "MSFT")}
    await other.claim("IBM")
    with pytest.raises(HeldError, match=f"its token is 1-{other.lease.id}"):
        await one.claims._take_all("", stale)
    assert await fence(redis_client, "AAPL") == await fence(redis_client, "MSFT") == "1-"
    await other.claim("AAPL", "MSFT")
    assert await fence(redis_client, "AAPL") == f"2-{other.lease.id}"


async def test_after_a_flush_the_living_writer_goes_first(one, other, redis_client, monkeypatch):
    """Nothing says any more that it lives, but it holds ticks that others do not have."""
    monkeypatch.setattr(claim_module, "LEASE_S", 30.0)
    await one.claim()
    with pytest.raises(HeldError):
        await other.claim()
    await redis_client.flushall()
    for _ in range(2):
        with pytest.raises(HeldError, match="goes first"):
            await other.claim()
    await one.claim()
    with pytest.raises(HeldError, match=one.lease.id):
        await other.claim()
    await one.lease.release()
    with pytest.raises(HeldError, match="goes first"):
        await other.claim()
    monkeypatch.setattr(claim_module, "monotonic", lambda: asyncio.get_running_loop().time() + 31)
    await other.claim()


async def test_after_the_store_was_away_the_living_writer_goes_first(one, redis_client, redis_url, monkeypatch):
    """Its sign of life ran out meanwhile."""
    monkeypatch.setattr(claim_module, "LEASE_S", 30.0)
    await one.claim()
    async with connect(redis_url) as client:
        other = Ingester(client)
        with pytest.raises(HeldError):
            await other.claim()
        with monkeypatch.context() as patch:

            async def away(_):
                raise StoreUnavailable("away")

            patch.setattr(other.lease, "living", away)
            with pytest.raises(StoreUnavailable):
                await other.claim()
        await redis_client.delete(keys.writer(one.lease.id))
        with pytest.raises(HeldError, match="goes first"):
            await other.claim()


async def test_a_store_that_is_not_there_is_unavailable(free_port):
    """The error of our own tree."""
    async with connect(f"redis://127.0.0.1:{free_port()}") as client:
        with pytest.raises(StoreUnavailable):
            await Ingester(client).claim()


async def end(ingester, *, clean: bool, symbols=("AAPL",)):
    """Let an ingester stop in order, or die."""
    if clean:
        await ingester.claims.mark_clean({s: await fence(ingester.claims._client, s) for s in symbols})
    await ingester.lease.release()


async def as_if_started_anew(client):
    """What the store knows of the run of the server is of another run."""
    await client.hset(keys.state("AAPL"), "server", "an-earlier-run")


async def test_while_the_server_runs_no_claim_is_doubtful(one, other, redis_client):
    """Whether the ingester before stopped in order or died."""
    (claimed,) = await one.claim()
    run = (await redis_client.info("server"))["run_id"]
    assert (claimed.server, await redis_client.hget(keys.state("AAPL"), "server")) == (run, None)
    await redis_client.hset(keys.state("AAPL"), "server", run)
    await end(one, clean=False)
    (claimed,) = await other.claim()
    assert not claimed.doubtful


async def test_after_a_restart_of_the_server_a_claim_is_doubtful_where_nobody_stopped_in_order(
    one, other, redis_client
):
    """And stays so, however often it is claimed, until an append begins the new epoch."""
    await one.claim()
    await as_if_started_anew(redis_client)
    await end(one, clean=False)
    for ingester in (other, one, other):
        (claimed,) = await ingester.claim()
        assert claimed.doubtful
        assert await redis_client.hget(keys.state("AAPL"), "server") == b"an-earlier-run"
        await end(ingester, clean=False)


async def test_after_a_stop_in_order_no_claim_is_doubtful(one, other, redis_client):
    """The server may have been started anew meanwhile: the claim writes its run down."""
    await one.claim()
    await as_if_started_anew(redis_client)
    await end(one, clean=True)
    (claimed,) = await other.claim()
    assert (claimed.doubtful, claimed.server) == (False, "")
    run = (await redis_client.info("server"))["run_id"]
    assert (await redis_client.hget(keys.state("AAPL"), "server")).decode() == run


async def test_a_stop_in_order_counts_once(one, other, redis_client):
    """Whoever has claimed since and died may have lost something."""
    await one.claim()
    await end(one, clean=True)
    await other.claim()
    await as_if_started_anew(redis_client)
    await end(other, clean=False)
    (claimed,) = await one.claim()
    assert claimed.doubtful


async def test_the_holder_itself_is_not_in_doubt(one, redis_client):
    """It compares what the store has with what it has seen."""
    await one.claim()
    await as_if_started_anew(redis_client)
    (claimed,) = await one.claim()
    assert not claimed.doubtful


async def test_what_was_put_back_is_doubtful_whatever_it_says(one, redis_client):
    """However often this process claims it, until an append begins the new epoch."""
    await one.claim("AAPL", "MSFT")
    run = (await redis_client.info("server"))["run_id"]
    await as_if_started_anew(redis_client)
    await end(one, clean=True, symbols=("AAPL", "MSFT"))
    claims = Claims(redis_client, Lease(redis_client), restored=True)
    for _ in range(2):
        first, second = await claims.claim(["AAPL", "MSFT"])
        assert (first.doubtful, second.doubtful, first.server) == (True, True, run)
    await redis_client.hset(keys.state("AAPL"), "server", run)
    first, second = await claims.claim(["AAPL", "MSFT"])
    assert (first.doubtful, second.doubtful) == (False, True)
