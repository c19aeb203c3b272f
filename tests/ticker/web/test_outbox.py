import asyncio

import pytest

from ticker.web import outbox as module
from ticker.web.outbox import Outbox


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock, in the test's hands."""
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


async def test_messages_leave_in_order():
    """All that waits is taken at once."""
    outbox = Outbox(1000, 5)
    for text in ("a", "b", "c"):
        outbox.offer(text)
    await asyncio.wait_for(outbox.wait(), 1)
    assert [message for message, _ in outbox.take()] == ["a", "b", "c"]
    assert outbox.take() == []


async def test_waiting_ends_with_the_next_message():
    """And not before."""
    outbox = Outbox(1000, 5)
    waiting = asyncio.create_task(outbox.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.offer("a")
    await asyncio.wait_for(waiting, 1)


def test_what_was_taken_still_waits_until_the_transport_has_it():
    """Bytes count from the offer to `done`."""
    outbox = Outbox(10, 5)
    outbox.offer("12345")
    outbox.offer("67890")
    for _, counted in outbox.take():
        assert not outbox.overflow.is_set()
        outbox.done(counted)
    assert (outbox.queued_bytes, outbox.sent) == (0, 2)
    outbox.offer("1234567890")
    assert not outbox.overflow.is_set()


def test_one_byte_too_many_is_an_overflow():
    """While the transport takes nothing: what waits is let go of, and nothing is taken in any more."""
    outbox = Outbox(10, 5)
    outbox.offer("12345")
    outbox.take()
    outbox.offer("67890")
    assert not outbox.overflow.is_set()
    outbox.offer("1")
    assert outbox.overflow.is_set()
    outbox.offer("2")
    assert outbox.take() == []


def test_a_burst_before_the_writer_had_its_turn_is_nobodys_fault():
    """It may be larger, but not without bound."""
    outbox = Outbox(10, 5)
    for _ in range(module.BURST_MOST):
        outbox.offer("1234567890")
    assert not outbox.overflow.is_set()
    outbox.offer("1")
    assert outbox.overflow.is_set()


def test_what_the_client_has_asked_for_does_not_count():
    """A reply and its snapshots may be as large as they are."""
    outbox = Outbox(10, 5)
    outbox.take()
    outbox.offer_uncounted("1" * 10_000)
    outbox.take()
    outbox.offer("1234567890")
    assert not outbox.overflow.is_set()
    assert outbox.waiting == 2


def test_what_waits_too_long_is_an_overflow(clock):
    """A client that takes nothing is found out also where little is sent; one that takes a little now and then is not."""
    outbox = Outbox(1000, 5)
    outbox.offer("a")
    clock[0] += 5
    outbox.offer("b")
    assert not outbox.overflow.is_set()
    outbox.done(outbox.take()[0][1])
    clock[0] += 5
    outbox.offer("c")
    assert not outbox.overflow.is_set()
    clock[0] += 0.1
    outbox.offer("d")
    assert outbox.overflow.is_set()


def test_a_quiet_time_is_no_waiting(clock):
    """Nothing waits, so nothing waits too long."""
    outbox = Outbox(1000, 5)
    outbox.offer("a")
    outbox.done(outbox.take()[0][1])
    clock[0] += 60
    outbox.offer("b")
    assert not outbox.overflow.is_set()
