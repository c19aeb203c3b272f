from ticker.store import keys
from ticker.store.lease import LEASE_S, Lease


async def test_an_ingester_lives_from_its_first_sign_of_life_to_its_end(redis_client):
    """Others see it; of itself it is not told."""
    one, other = Lease(redis_client), Lease(redis_client)
    assert await other.living({one.id}) == {}
    await one.renew()
    found = await other.living([one.id, "", "nobody", one.id])
    assert list(found) == [one.id]
    assert found[one.id].startswith("process ")
    assert await one.living([one.id]) == {}
    await one.release()
    assert await other.living({one.id}) == {}


async def test_a_sign_of_life_runs_out(redis_client):
    """And tells with the next one whether it had."""
    lease = Lease(redis_client)
    answers = []
    for _ in range(3):
        async with redis_client.pipeline(transaction=False) as pipe:
            lease.renew_in(pipe)
            answers += await pipe.execute()
        if len(answers) == 2:
            await redis_client.delete(keys.writer(lease.id))
    assert [answer is None for answer in answers] == [True, False, True]
    assert 0 < await redis_client.pttl(keys.writer(lease.id)) <= 1000 * LEASE_S


def test_each_ingester_has_a_name_of_its_own(redis_client):
    """However many there are on a machine."""
    assert len({Lease(redis_client).id for _ in range(100)}) == 100
