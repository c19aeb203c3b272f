from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticker.hub.hub import Hub, Topic

AAPL = Topic("trades", "AAPL")
EVERY = Topic("trades", "*")


class Listener:
    """Keeps what it is offered."""

    def __init__(self, on_offer: Callable[[], None] = lambda: None) -> None:
        self.got: list[str] = []
        self.beats: list[int] = []
        self._on_offer = on_offer

    def offer(self, message: str) -> None:
        self.got.append(message)
        self._on_offer()

    def heartbeat(self, time_us: int) -> None:
        self.beats.append(time_us)


def open_hub():
    """A hub that lets the symbols of these tests into the topics of all symbols."""
    hub = Hub()
    admit_all(hub)
    return hub


def admit_all(hub):
    for channel in ("trades", "quotes"):
        for symbol in ("AAPL", "MSFT", "A", "B"):
            hub.admit(Topic(channel, "*"), symbol)


@pytest.fixture
def hub():
    return open_hub()


def test_a_symbol_reaches_those_who_have_all_once_it_is_admitted():
    """Before that they do not know where its messages begin."""
    hub, listener = Hub(), Listener()
    hub.join(EVERY, listener)
    hub.publish(AAPL, "no")
    hub.admit(EVERY, "AAPL")
    hub.publish(AAPL, "yes")
    assert hub.admitted(EVERY, "AAPL")
    assert not hub.admitted(EVERY, "MSFT")
    assert listener.got == ["yes"]
    hub.leave(EVERY, listener)
    assert not hub.admitted(EVERY, "AAPL")


def test_members_get_what_is_published_to_their_topic(hub):
    """And nothing else: the channel, the symbol and the interval must fit."""
    listener = Listener()
    minutes = Topic("candles", "AAPL", "1m")
    hub.join(minutes, listener)
    for topic in (AAPL, Topic("candles", "AAPL", "5m"), Topic("candles", "MSFT", "1m"), Topic("candles", "AAPL")):
        hub.publish(topic, "no")
    hub.publish(minutes, "yes")
    assert listener.got == ["yes"]


def test_the_topic_of_all_symbols_gets_each_of_them(hub):
    """Of its channel and interval."""
    listener = Listener()
    hub.join(EVERY, listener)
    hub.publish(AAPL, "a")
    hub.publish(Topic("trades", "MSFT"), "m")
    hub.publish(Topic("quotes", "AAPL"), "no")
    assert listener.got == ["a", "m"]
    assert AAPL.everything == EVERY


def test_whoever_named_a_symbol_and_asked_for_all_gets_a_message_once(hub):
    """As named."""
    listener = Listener()
    hub.join(EVERY, listener)
    hub.join(AAPL, listener)
    hub.publish(AAPL, "a")
    assert listener.got == ["a"]
    hub.leave(AAPL, listener)
    hub.publish(AAPL, "b")
    assert listener.got == ["a", "b"]


def test_publishing_to_one_topic_alone_leaves_the_members_of_all_out(hub):
    """What `*` gets in another form must not come twice."""
    named, every = Listener(), Listener()
    hub.join(AAPL, named)
    hub.join(EVERY, every)
    hub.publish_to(AAPL, "a")
    hub.publish_to(EVERY, "b")
    assert (named.got, every.got) == (["a"], ["b"])


def test_joining_twice_is_joining_once(hub):
    """And is undone by leaving once."""
    listener = Listener()
    hub.join(AAPL, listener)
    hub.join(AAPL, listener)
    hub.publish(AAPL, "a")
    assert listener.got == ["a"]
    hub.leave(AAPL, listener)
    assert not hub.wanted(AAPL)


def test_leaving_what_was_not_joined_does_nothing(hub):
    """Nor does departing without having arrived."""
    member, stranger = Listener(), Listener()
    hub.join(AAPL, member)
    hub.leave(AAPL, stranger)
    hub.leave(EVERY, stranger)
    hub.depart(stranger)
    hub.publish(AAPL, "a")
    assert member.got == ["a"]


def test_a_topic_is_wanted_while_somebody_would_get_it(hub):
    """By name or under `*`."""
    listener = Listener()
    assert not hub.wanted(AAPL)
    hub.join(EVERY, listener)
    assert hub.wanted(AAPL)
    assert hub.wanted(EVERY)
    assert not hub.wanted(Topic("quotes", "AAPL"))
    hub.leave(EVERY, listener)
    assert not hub.wanted(AAPL)
    hub.join(AAPL, listener)
    assert hub.wanted(AAPL)
    assert not hub.wanted(EVERY)


def test_topics_of_all_symbols_are_those_with_members(hub):
    """Each once, however many members it has."""
    one, two = Listener(), Listener()
    minutes = Topic("candles", "*", "1m")
    for topic in (AAPL, EVERY, minutes):
        hub.join(topic, one)
        hub.join(topic, two)
    assert hub.topics_of_all() == [EVERY, minutes]
    hub.leave(EVERY, one)
    hub.leave(EVERY, two)
    assert hub.topics_of_all() == [minutes]


def test_what_is_for_everyone_reaches_those_that_have_arrived(hub):
    """With or without a topic, until they depart."""
    listener, idle = Listener(), Listener()
    hub.join(AAPL, listener)
    hub.broadcast("before")
    hub.arrive(listener)
    hub.arrive(idle)
    hub.broadcast("during")
    hub.heartbeat(5)
    assert len(hub) == 2
    hub.depart(listener)
    hub.broadcast("after")
    hub.heartbeat(6)
    assert (listener.got, listener.beats) == (["during"], [5])
    assert (idle.got, idle.beats) == (["during", "after"], [5, 6])
    assert len(hub) == 1


@pytest.mark.parametrize("hand_out", ["publish", "publish_to", "broadcast"])
def test_members_may_come_and_go_while_a_message_is_handed_out(hub, hand_out):
    """One that is cut for being slow leaves right then: the others get the message all the same."""
    newcomer = Listener()

    def upset() -> None:
        for topic in (AAPL, EVERY):
            hub.leave(topic, first)
            hub.join(topic, newcomer)
        hub.depart(first)
        hub.arrive(newcomer)

    first, last, every = Listener(upset), Listener(), Listener()
    for listener in (first, last):
        hub.join(AAPL, listener)
        hub.arrive(listener)
    hub.join(EVERY, first)
    hub.join(EVERY, every)
    hub.broadcast("") if hand_out == "broadcast" else getattr(hub, hand_out)(AAPL, "")
    assert (first.got, last.got) == ([""], [""])
    assert len(newcomer.got) <= 1
    hub.publish(AAPL, "next")
    assert (first.got, last.got[-1], every.got[-1], newcomer.got[-1]) == ([""], "next", "next", "next")


TOPICS = st.builds(Topic, st.sampled_from(["trades", "quotes"]), st.sampled_from(["A", "B", "*"]), st.none())
STEPS = st.lists(st.tuples(st.sampled_from(["join", "leave", "publish"]), TOPICS, st.integers(0, 3)), max_size=40)


@given(STEPS)
def test_each_message_reaches_exactly_those_who_asked_for_it(steps):
    """After any joining and leaving, nobody misses one and nobody gets one twice."""
    hub, listeners = open_hub(), [Listener() for _ in range(4)]
    asked = {n: set() for n in range(4)}
    expected = {n: [] for n in range(4)}
    for number, (step, topic, n) in enumerate(steps):
        if step == "join":
            hub.join(topic, listeners[n])
            admit_all(hub)
            asked[n].add(topic)
        elif step == "leave":
            hub.leave(topic, listeners[n])
            asked[n].discard(topic)
        else:
            hub.publish(topic, str(number))
            for m in range(4):
                if asked[m] & {topic, topic.everything}:
                    expected[m].append(str(number))
        assert hub.wanted(topic) == any(asked[m] & {topic, topic.everything} for m in range(4))
    assert {n: listener.got for n, listener in enumerate(listeners)} == expected
    # Nothing is kept for topics that nobody wants any more.
    assert set(hub._members) == set().union(*asked.values())
