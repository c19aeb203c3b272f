import pytest

from ticker.hub.subscriber import SLICE_BYTES
from ticker.hub.topic import Delivery, Topic

AAPL = Topic("trades", "AAPL")
LATEST = Delivery(100)


def trade(seq):
    return b'{"seq":%d}' % seq


def numbers(got):
    return [message["seq"] for message in got if isinstance(message, dict) and "seq" in message]


def test_what_the_kernel_does_not_take_waits_and_comes_in_order(hub, make_client):
    """However little is taken at a time, and in pieces that are counted while they wait."""
    client = make_client(hub, room=5, outbox_bytes=1 << 20)
    client.join(AAPL)
    count = 3 * SLICE_BYTES // len(trade(10_000))
    for seq in range(10_000, 10_000 + count):
        hub.publish(AAPL, trade(seq))
        client.loop.turn()
    assert client.subscriber.full
    assert client.subscriber.queued_bytes == count * (len(trade(10_000)) + 2) - 5
    for _ in range(9):
        client.door.take(SLICE_BYTES // 3)
    assert client.subscriber.full
    client.door.take(float("inf"))
    assert numbers(client.got) == list(range(10_000, 10_000 + count))
    assert (client.subscriber.full, client.subscriber.queued_bytes) == (False, 0)


def test_of_the_latest_only_one_message_of_a_slot_waits(hub, make_client):
    """A client that stands still costs no more than it has symbols."""
    client = make_client(hub, room=0)
    client.join(AAPL, delivery=LATEST)
    for seq in range(1, 500):
        hub.publish(AAPL, trade(seq))
        client.loop.advance(0.1)
    assert client.subscriber.queued_bytes < 40
    client.door.take(float("inf"))
    assert client.got == [{"seq": 1, "skipped": 0}, {"seq": 499, "skipped": 497}]
    assert client.slow == []


def test_a_client_hears_once_that_it_is_slow_before_it_is_given_up(hub, make_client):
    """At half of what may wait; and again only after it has caught up."""
    client = make_client(hub, room=0, outbox_bytes=400)
    client.join(AAPL)
    for _ in range(2):
        for seq in range(30):
            hub.publish(AAPL, trade(seq))
            client.loop.turn()
        assert client.slow == []
        client.door.take(float("inf"))
        client.door.room = 0
    warnings = [message for message in client.got if message.get("type") == "slow"]
    assert [w["action"] for w in warnings] == ["closing", "closing"]
    # Ahead of most of what waits: a client that is too slow will not see the end of that.
    assert client.got.index(warnings[0]) < 3
    assert all(200 < w["queued_bytes"] <= 400 for w in warnings)
    assert client.subscriber.sent == len(client.got)


def test_too_many_bytes_give_a_client_up(hub, make_client):
    """Then nothing more is kept or written, and it is said once."""
    client, other = make_client(hub, room=0, outbox_bytes=100), make_client(hub)
    for each in (client, other):
        each.join(AAPL)
    for seq in range(50):
        hub.publish(AAPL, trade(seq))
        client.loop.turn()
    ((limit, why),) = client.slow
    assert limit == "outbox_bytes"
    assert "bytes wait, allowed are 100" in why
    assert client.subscriber.bytes_held == 0
    client.door.take(float("inf"))
    assert len(client.got) < 12
    assert numbers(other.got) == list(range(50))


@pytest.mark.parametrize("delivery", [Delivery(), LATEST])
def test_a_client_that_takes_nothing_is_given_up_in_time(hub, make_client, delivery):
    """From the moment when the kernel did not take a byte, warned halfway."""
    client = make_client(hub, room=0, outbox_bytes=10_000, wait_s=5)
    client.join(AAPL, delivery=delivery)
    hub.publish(AAPL, trade(1))
    client.loop.turn()
    for _ in range(50):
        client.loop.advance(0.1)
        hub.look()
        assert client.slow == []
    assert client.subscriber.warned
    client.loop.advance(0.1)
    hub.look()
    assert client.slow == [("outbox_ms", "the oldest message has waited for 5.1 s, allowed are 5 s")]


def test_a_client_that_trickles_is_given_up_too(hub, make_client):
    """It takes a little all the time, and is further behind than allowed."""
    client = make_client(hub, room=0, outbox_bytes=100_000, wait_s=5)
    client.join(AAPL)
    for seq in range(80):
        hub.publish(AAPL, trade(seq))
        client.loop.advance(0.1)
        client.door.take(1)
        hub.look()
    assert len(client.slow) == 1


def test_a_client_that_takes_all_in_time_is_kept(hub, make_client):
    """It may fall behind for a moment as often as it likes."""
    client = make_client(hub, room=0, outbox_bytes=100_000, wait_s=5)
    client.join(AAPL)
    for seq in range(300):
        hub.publish(AAPL, trade(seq))
        client.loop.advance(0.1)
        hub.look()
        if seq % 40 == 39:
            client.door.take(float("inf"))
            client.door.room = 0
    assert client.slow == []


def test_what_a_client_has_asked_for_may_be_as_large_as_it_is(hub, make_client):
    """While it goes on taking it, for however long; live messages behind it count as ever."""
    client = make_client(hub, room=0, outbox_bytes=300_000, wait_s=5)
    for _ in range(200):
        client.subscriber.send(b"x" * 50_000, counted=False)
    for _ in range(40):
        client.loop.advance(1)
        client.door.take(SLICE_BYTES * 4)
        hub.look()
    assert client.slow == []
    assert len(client.got) > 180
    client.subscriber.send(b"x" * 50_000, counted=False)
    client.door.room = 0
    client.subscriber.send(b"x" * 50_000, counted=False)
    client.loop.advance(6)
    hub.look()
    assert len(client.slow) == 1


def test_one_that_was_given_up_takes_nothing_more(hub, make_client):
    """Its door may still call back."""
    client = make_client(hub, room=0, outbox_bytes=10)
    client.join(AAPL)
    for seq in range(5):
        hub.publish(AAPL, trade(seq))
        client.loop.turn()
    assert len(client.slow) == 1
    client.door.on_full()
    client.subscriber.send(b"answer")
    client.door.on_room()
    assert client.subscriber.bytes_held == 0
    assert len(client.slow) == 1
