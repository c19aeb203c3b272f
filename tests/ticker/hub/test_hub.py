import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ticker.hub.hub import SLOTS
from ticker.hub.topic import EVERY_MESSAGE, Delivery, Topic

AAPL, MSFT = Topic("trades", "AAPL"), Topic("trades", "MSFT")
EVERY = Topic("trades", "*")
MINUTES = Topic("candles", "AAPL", "1m")
LATEST = Delivery(100)


def trade(seq, symbol="A"):
    return b'{"symbol":"%b","seq":%d}' % (symbol.encode(), seq)


def seqs(got):
    return [message["seq"] for message in got]


def test_a_symbol_reaches_those_who_have_all_once_it_is_admitted(make_hub, make_client):
    """Before that they do not know where its messages begin."""
    hub = make_hub()
    client = make_client(hub)
    client.join(EVERY)
    hub.publish(AAPL, b"no")
    hub.admit(EVERY, "AAPL")
    hub.publish(AAPL, b"yes")
    assert hub.admitted(EVERY, "AAPL")
    assert not hub.admitted(EVERY, "MSFT")
    assert client.got == ["yes"]
    client.leave(EVERY)
    assert not hub.admitted(EVERY, "AAPL")


def test_members_get_what_is_published_to_their_topic(hub, make_client):
    """And nothing else: the channel, the symbol and the interval must fit."""
    client = make_client(hub)
    client.join(MINUTES)
    for topic in (AAPL, MINUTES._replace(interval="5m"), MINUTES._replace(symbol="MSFT"), Topic("candles", "AAPL")):
        hub.publish(topic, b"no")
    hub.publish(MINUTES, b"yes")
    assert client.got == ["yes"]


def test_the_topic_of_all_symbols_gets_each_of_them(hub, make_client):
    """Of its channel and interval."""
    client = make_client(hub)
    client.join(EVERY)
    hub.publish(AAPL, b"a")
    hub.publish(MSFT, b"m")
    hub.publish(Topic("quotes", "AAPL"), b"no")
    assert client.got == ["a", "m"]
    assert AAPL.everything == EVERY


def test_whoever_named_a_symbol_and_asked_for_all_gets_a_message_once(hub, make_client):
    """As named; and symbols stay admitted while it changes what it has."""
    client = make_client(hub)
    client.join(EVERY)
    client.join(AAPL)
    hub.publish(AAPL, b"a")
    assert client.got == ["a"]
    client.leave(AAPL)
    hub.publish(AAPL, b"b")
    assert client.got == ["a", "b"]


def test_a_named_symbol_comes_as_named_and_not_also_through_all(hub, make_client):
    """Here the latest of it, and every message of the others."""
    client = make_client(hub)
    client.join(EVERY)
    client.join(AAPL, delivery=LATEST)
    for seq in (1, 2, 3):
        hub.publish(AAPL, trade(seq, "AAPL"))
        hub.publish(MSFT, trade(seq, "MSFT"))
    assert [m["seq"] for m in client.got if m["symbol"] == "MSFT"] == [1, 2, 3]
    assert [m for m in client.got if m["symbol"] == "AAPL"] == [{"symbol": "AAPL", "seq": 3, "skipped": 2}]


def test_what_is_for_one_topic_alone_leaves_the_members_of_others_out(hub, make_client):
    """What `*` gets in another form must not come twice."""
    named, every, latest = make_client(hub), make_client(hub), make_client(hub)
    named.join(AAPL)
    every.join(EVERY)
    latest.join(EVERY, delivery=LATEST)
    hub.control_to(AAPL, b"a")
    hub.control_to(EVERY, b"b")
    assert (named.got, every.got, latest.got) == (["a"], ["b"], ["b"])


def test_joining_twice_is_joining_once(hub, make_client):
    """And is undone by leaving once."""
    client = make_client(hub)
    client.join(AAPL)
    client.join(AAPL)
    hub.publish(AAPL, b"a")
    assert client.got == ["a"]
    client.leave(AAPL)
    assert not hub.wanted(AAPL)


def test_joining_again_changes_how_it_is_delivered(hub, make_client):
    """From the next message on."""
    client = make_client(hub)
    client.join(AAPL)
    hub.publish(AAPL, trade(1))
    client.join(AAPL, delivery=LATEST)
    hub.publish(AAPL, trade(2))
    hub.publish(AAPL, trade(3))
    client.join(AAPL)
    hub.publish(AAPL, trade(4))
    assert client.got == [
        {"symbol": "A", "seq": 1},
        {"symbol": "A", "seq": 3, "skipped": 1},
        {"symbol": "A", "seq": 4},
    ]


def test_leaving_what_was_not_joined_does_nothing(hub, make_client):
    """Nor does departing twice."""
    member, stranger = make_client(hub), make_client(hub)
    member.join(AAPL)
    stranger.leave(AAPL, EVERY)
    hub.depart(stranger.subscriber)
    hub.depart(stranger.subscriber)
    hub.publish(AAPL, b"a")
    assert member.got == ["a"]


def test_a_topic_is_wanted_while_somebody_would_get_it(hub, make_client):
    """By name or under `*`."""
    client = make_client(hub)
    assert not hub.wanted(AAPL)
    client.join(EVERY)
    assert hub.wanted(AAPL)
    assert hub.wanted(EVERY)
    assert not hub.wanted(Topic("quotes", "AAPL"))
    client.leave(EVERY)
    assert not hub.wanted(AAPL)
    client.join(AAPL)
    assert hub.wanted(AAPL)
    assert not hub.wanted(EVERY)


def test_a_recording_outlives_its_last_holder_for_a_while(hub):
    """Who comes right behind finds all since then; what nobody has needed between two looks goes."""
    first = hub.record(AAPL)
    hub.publish(AAPL, b"a")
    hub.unrecord(AAPL)
    hub.publish(AAPL, b"b")
    hub.sweep()
    again = hub.record(AAPL)
    assert again is first
    assert len(again.newest(2, 10)) == 2
    hub.sweep()
    hub.sweep()
    assert hub.record(AAPL) is first
    for _ in range(2):
        hub.unrecord(AAPL)
    hub.sweep()
    assert hub.wanted(AAPL)
    hub.sweep()
    assert not hub.wanted(AAPL)
    assert hub.record(AAPL) is not first


def test_topics_of_all_symbols_are_those_with_members(hub, make_client):
    """Each once, however many members it has."""
    one, two = make_client(hub), make_client(hub)
    minutes = Topic("candles", "*", "1m")
    for client in (one, two):
        client.join(AAPL, EVERY, minutes)
    assert set(hub.topics_of_all()) == {EVERY, minutes}
    one.leave(EVERY)
    two.leave(EVERY)
    assert hub.topics_of_all() == [minutes]


def test_what_is_for_everyone_reaches_those_that_have_arrived(hub, make_client):
    """With or without a topic, until they depart."""
    client, idle = make_client(hub), make_client(hub)
    client.join(AAPL)
    hub.broadcast(b"during")
    hub.depart(client.subscriber)
    hub.broadcast(b"after")
    assert client.got == ["during"]
    assert idle.got == ["during", "after"]
    assert len(hub) == 1


def test_a_turn_of_the_loop_leaves_in_one_write(hub, make_client):
    """Whatever was published in it, to every client of the same set; clients with another set get theirs."""
    same = [make_client(hub) for _ in range(3)]
    other = make_client(hub)
    for client in same:
        client.join(AAPL, MSFT)
    other.join(AAPL)
    for seq in range(5):
        hub.publish(AAPL, trade(seq, "AAPL"))
        hub.publish(MSFT, trade(seq, "MSFT"))
    assert [len(client.got) for client in (*same, other)] == [10, 10, 10, 5]
    assert [client.door.writes for client in (*same, other)] == [1, 1, 1, 1]
    assert (len(hub), hub.subscriptions(), hub.cohorts) == (4, {"trades": 7}, 2)
    assert (hub.delivered.messages, hub.delivered.skipped) == (35, 0)
    assert hub.delivered.bytes == 35 * len(trade(1, "AAPL")) + 2 * 35


def test_messages_may_be_collected_for_longer(make_hub, make_client, loop):
    """`websocket.flush_ms`: more of them in fewer writes."""
    hub = make_hub(flush_s=0.01)
    client = make_client(hub)
    client.join(AAPL)
    hub.publish(AAPL, trade(1))
    loop.advance(0.009)
    hub.publish(AAPL, trade(2))
    assert client.got == []
    loop.advance(0.001)
    assert seqs(client.got) == [1, 2]
    assert client.door.writes == 1


def test_what_is_for_one_client_comes_behind_what_was_published_before(hub, make_client):
    """Although that is only collected so far."""
    client = make_client(hub)
    client.join(AAPL)
    hub.publish(AAPL, b"tick")
    client.subscriber.send(b"answer")
    hub.publish(AAPL, b"tock")
    assert client.got == ["tick", "answer", "tock"]


def test_whoever_joins_gets_nothing_of_before(hub, make_client):
    """Not even what the others of its cohort are about to get in this turn."""
    early, late = make_client(hub), make_client(hub)
    early.join(AAPL)
    hub.publish(AAPL, trade(1))
    late.join(AAPL)
    hub.publish(AAPL, trade(2))
    assert (seqs(early.got), seqs(late.got)) == ([1, 2], [2])


def test_one_whose_transport_was_closed_under_it_does_not_keep_the_others_from_theirs(hub, make_client):
    """It is about to say so itself."""
    clients = [make_client(hub) for _ in range(3)]
    for client in clients:
        client.join(AAPL)
    clients[1].door.closed = True
    hub.publish(AAPL, b"a")
    assert [client.got for client in clients] == [["a"], [], ["a"]]


def test_nothing_is_written_to_one_that_is_gone(hub, make_client):
    """Neither what was collected nor what it has asked for itself."""
    client = make_client(hub)
    client.join(AAPL)
    client.door.on_gone()
    hub.publish(AAPL, b"a")
    client.subscriber.send(b"answer")
    assert client.got == []
    assert not hub.wanted(AAPL)
    assert len(hub) == 0


def test_arrivals_do_not_change_whose_turn_it_is(make_hub, make_client):
    """In a storm of them clients would be pinged again and again at once, and be cut off before they can answer."""
    hub = make_hub()
    clients = [make_client(hub) for _ in range(SLOTS)]
    for _ in range(SLOTS):
        hub.beat(lambda sent: b"beat")
        for _ in range(SLOTS - 1):
            make_client(hub)
    assert [client.got for client in clients] == [["beat"]] * SLOTS


def test_heartbeats_count_what_was_sent_before_them(hub, make_client):
    """Over every change of what a client has, and in parts of the interval."""
    client = make_client(hub)
    client.subscriber.send(b"welcome")
    client.join(AAPL)
    for seq in range(3):
        hub.publish(AAPL, trade(seq))
    client.join(MSFT)
    hub.publish(MSFT, trade(1))
    client.leave(AAPL)
    hub.publish(AAPL, trade(3))
    client.join(MSFT, delivery=LATEST)
    for seq in (2, 3, 4):
        hub.publish(MSFT, trade(seq))
    client.loop.turn()
    for _ in range(20):
        hub.beat(lambda sent: b'{"sent":%d}' % sent)
    assert client.got[-1] == {"sent": 6}
    assert len(client.got) == 7
    assert client.subscriber.sent == 7
    assert client.subscriber.total_skipped == 2


def test_one_that_never_answers_is_cut_off(hub, make_client):
    """Two heartbeats after a ping, without a byte from it."""
    dead, alive = make_client(hub), make_client(hub)
    for _ in range(3 * 20):
        hub.beat(lambda sent: b"beat")
    assert not dead.door.aborted
    for _ in range(20):
        alive.door.heard = True
        hub.beat(lambda sent: b"beat")
    assert (dead.door.aborted, alive.door.aborted) == (True, False)
    assert len(alive.got) == 4


def test_the_latest_comes_at_most_once_in_its_time_and_ends_on_the_newest(hub, make_client, loop):
    """The first at once, what comes meanwhile at the end of the time, with how many gave way."""
    client = make_client(hub)
    client.join(AAPL, delivery=LATEST)
    hub.publish(AAPL, trade(1))
    assert client.got == [{"symbol": "A", "seq": 1, "skipped": 0}]
    for seq in (2, 3, 4):
        loop.advance(0.03)
        hub.publish(AAPL, trade(seq))
        assert len(client.got) == 1
    loop.advance(0.01)
    assert client.got[1:] == [{"symbol": "A", "seq": 4, "skipped": 2}]
    loop.advance(1)
    assert len(client.got) == 2
    hub.publish(AAPL, trade(5))
    assert client.got[2:] == [{"symbol": "A", "seq": 5, "skipped": 0}]
    assert client.door.writes == 3


def test_whoever_joins_those_who_get_the_latest_counts_from_its_own_position(hub, make_client, loop):
    """What the others skipped before it came is not skipped for it, and what it knows does not come."""
    early, late, latest = make_client(hub), make_client(hub), make_client(hub)
    early.join(AAPL, delivery=LATEST)
    hub.publish(AAPL, trade(1))
    loop.turn()
    hub.publish(AAPL, trade(2))
    hub.publish(AAPL, trade(3))
    late.join(AAPL, delivery=LATEST)
    hub.publish(AAPL, trade(4))
    hub.publish(AAPL, trade(5))
    latest.join(AAPL, delivery=LATEST)
    loop.advance(0.1)
    assert early.got[1:] == [{"symbol": "A", "seq": 5, "skipped": 3}]
    assert late.got == [{"symbol": "A", "seq": 5, "skipped": 1}]
    assert latest.got == []
    assert [c.subscriber.sent for c in (early, late, latest)] == [2, 1, 0]
    assert [c.subscriber.total_skipped for c in (early, late, latest)] == [3, 1, 0]
    hub.publish(AAPL, trade(6))
    loop.advance(0.1)
    assert [c.got[-1]["seq"] for c in (early, late, latest)] == [6, 6, 6]


def test_the_latest_of_a_candle_does_not_take_the_place_of_another(hub, make_client, loop):
    """A closed candle comes, however soon the next one forms."""
    client = make_client(hub)
    client.join(MINUTES, delivery=LATEST)
    hub.publish(MINUTES, b'{"t":0}', 0)
    loop.turn()
    for text, slot in ((b'{"t":0,"n":2}', 0), (b'{"t":0,"n":3}', 0), (b'{"t":60}', 60)):
        hub.publish(MINUTES, text, slot)
    loop.advance(0.1)
    assert client.got[1:] == [{"t": 0, "n": 3, "skipped": 1}, {"t": 60, "skipped": 0}]


@pytest.mark.parametrize("room", [float("inf"), 0], ids=["reading", "slow"])
def test_the_latest_of_candles_go_out_in_the_order_in_which_they_came_last(hub, make_client, loop, room):
    """That of their numbers: whoever is cut off after one of them has been sent all that was touched before it."""
    client = make_client(hub, room=room)
    client.join(MINUTES, delivery=LATEST)
    hub.publish(MINUTES, b'{"seq":1}', 0)
    loop.turn()
    for wait_s in (0.1, 0.1):
        for seq, slot in ((2, 0), (3, 60), (4, 120), (5, 0), (6, 60)):
            hub.publish(MINUTES, b'{"seq":%d}' % seq, slot)
        loop.advance(wait_s)
    client.door.take(float("inf"))
    assert [m["seq"] for m in client.got[1:]] == ([4, 5, 6, 4, 5, 6] if room else [4, 5, 6])


def test_nothing_takes_the_place_of_a_control_message_or_overtakes_it(hub, make_client):
    """What waits goes out before it."""
    client = make_client(hub)
    client.join(AAPL, delivery=LATEST)
    hub.publish(AAPL, trade(1))
    client.loop.turn()
    hub.publish(AAPL, trade(2))
    hub.control(AAPL, b'{"type":"gap"}')
    hub.publish(AAPL, trade(5))
    client.loop.advance(0.1)
    assert [m.get("seq", "gap") for m in client.got] == [1, 2, "gap", 5]


TOPICS = st.builds(Topic, st.just("trades"), st.sampled_from(["A", "A", "B", "*"]), st.none())
DELIVERIES = st.sampled_from([EVERY_MESSAGE, LATEST, Delivery(30)])
CLIENTS = st.integers(0, 3)
PUBLISH = st.tuples(st.just("publish"), TOPICS.filter(lambda t: t.symbol != "*"), st.integers(1, 3))
ADVANCE = st.tuples(st.just("advance"), st.sampled_from([1, 40, 110]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), CLIENTS, TOPICS, DELIVERIES),
        st.tuples(st.just("leave"), CLIENTS, TOPICS),
        PUBLISH,
        PUBLISH,
        ADVANCE,
        PUBLISH.map(lambda step: ("window", *step[1:])),
        PUBLISH.map(lambda step: ("window", *step[1:])),
        st.tuples(st.just("take"), CLIENTS, st.integers(1, 200)),
    ),
    min_size=20,
    max_size=60,
)


class Model:
    """What is due to each client, kept in the plainest way beside a hub that is made to do it."""

    def __init__(self, hub, clients):
        self.hub, self.clients = hub, clients
        self.loop = clients[0].loop
        self.last = {}
        self.asked = [{} for _ in clients]
        self.due = [{} for _ in clients]
        self.admit_all()

    def admit_all(self):
        for symbol in ("A", "B"):
            self.hub.admit(EVERY, symbol)

    def join(self, n, topic, delivery):
        self.clients[n].join(topic, delivery=delivery)
        self.asked[n][topic] = delivery
        self.admit_all()

    def leave(self, n, topic):
        self.clients[n].leave(topic)
        self.asked[n].pop(topic, None)

    def publish(self, topic, count):
        for _ in range(count):
            seq = self.last[topic] = self.last.get(topic, 0) + 1
            channel, symbol = topic.channel.encode(), topic.symbol.encode()
            self.hub.publish(topic, b'{"channel":"%b","symbol":"%b","seq":%d}' % (channel, symbol, seq))
            for mine, due in zip(self.asked, self.due, strict=True):
                if topic in mine or topic.everything in mine:
                    due.setdefault(topic, []).append(seq)

    def window(self, topic, count):
        self.publish(topic, count)
        self.advance(110)

    def advance(self, milliseconds):
        self.loop.advance(milliseconds / 1000)

    def take(self, n, count):
        self.clients[n].door.take(count)

    def finish(self):
        """Time passes, and everybody reads on."""
        for _ in range(3):
            self.advance(1000)
            for n in range(len(self.clients)):
                self.take(n, float("inf"))

    def check(self, n):
        """Each number once: either its own message came, or it is counted in the one that took its place."""
        got = self.clients[n].got
        stood_for = {}
        for message in got:
            topic = Topic(message["channel"], message["symbol"])
            seq, skipped = message["seq"], message.get("skipped", 0)
            stood_for.setdefault(topic, []).extend(range(seq - skipped, seq + 1))
        assert stood_for == self.due[n]
        subscriber = self.clients[n].subscriber
        assert (subscriber.sent, subscriber.queued_bytes) == (len(got), 0)
        assert subscriber.total_skipped == sum(message.get("skipped", 0) for message in got)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(TOPICS, DELIVERIES), min_size=4, max_size=4),
    st.permutations([0, 60, 300, float("inf")]),
    STEPS,
)
def test_each_message_reaches_exactly_those_who_asked_for_it(make_hub, make_client, first, rooms, steps):
    """After any joining, leaving and standing still, nobody misses one and nobody gets one twice."""
    hub = make_hub()
    model = Model(hub, [make_client(hub, room, outbox_bytes=1 << 30, wait_s=1e9) for room in rooms])
    for n, (topic, delivery) in enumerate(first):
        model.join(n, topic, delivery)
    for step, *arguments in steps:
        getattr(model, step)(*arguments)
        assert hub.subscriptions().total() == sum(map(len, model.asked))
    model.finish()
    for n, client in enumerate(model.clients):
        model.check(n)
        client.leave(*model.asked[n])
    # Nothing is kept for topics that nobody wants any more.
    assert (hub.cohorts, hub._of_topic, hub._admitted) == (0, {}, {}) or not hub.topics_of_all()
    assert hub.cohorts == 0


@pytest.mark.parametrize("hand_out", ["publish", "control", "control_to"])
def test_members_may_come_and_go_while_a_message_is_handed_out(hub, make_client, hand_out):
    """One that is cut for being slow leaves right then: the others get the message all the same."""
    first, last, newcomer = make_client(hub, room=0, outbox_bytes=0), make_client(hub), make_client(hub)

    def upset(limit, why):
        hub.depart(first.subscriber)
        newcomer.join(AAPL)

    first.subscriber.on_slow = upset
    for client in (first, last):
        client.join(AAPL)
    for text in (b"one", b"two"):
        getattr(hub, hand_out)(AAPL, text)
        client.loop.turn()
    getattr(hub, hand_out)(AAPL, b"next")
    assert last.got == ["one", "two", "next"]
    assert newcomer.got == ["next"]
    assert len(hub) == 2


def give_up_departs(client):
    """What a connection does once its client is given up: it is gone from the hub at once."""
    client.subscriber.on_slow = lambda *why: client.hub.depart(client.subscriber)


@pytest.mark.parametrize("door", ["send", "beat"])
def test_a_client_may_be_given_up_by_what_it_has_yet_to_catch_up_with(hub, make_client, door):
    """Its outbox overflows while what was collected is written, before an answer or a heartbeat: nobody else is touched."""
    slow, other = make_client(hub, room=0, outbox_bytes=40), make_client(hub)
    give_up_departs(slow)
    for client in (slow, other):
        client.join(AAPL)
        client.join(Topic("quotes", "AAPL"), delivery=LATEST)
    hub.publish(AAPL, trade(1))
    slow.loop.turn()
    for seq in (2, 3, 4):
        hub.publish(AAPL, trade(seq))
    if door == "send":
        slow.subscriber.send(b"answer")
    else:
        for _ in range(20):
            hub.beat(lambda sent: b"beat")
    assert len(hub) == 1
    assert [m["seq"] for m in other.got if m != "beat"] == [1, 2, 3, 4]


def test_whoever_joins_a_cohort_whose_last_member_is_given_up_just_then_misses_nothing(hub, make_client):
    """The cohort that it found is gone with that member; it has one of its own."""
    slow, newcomer = make_client(hub, room=0, outbox_bytes=40), make_client(hub)
    give_up_departs(slow)
    slow.join(AAPL)
    hub.publish(AAPL, trade(1))
    slow.loop.turn()
    for seq in (2, 3, 4):
        hub.publish(AAPL, trade(seq))
    newcomer.join(AAPL)
    hub.publish(AAPL, trade(5))
    assert seqs(newcomer.got) == [5]
    assert hub.wanted(AAPL)


def test_a_client_may_be_given_up_while_it_changes_what_it_has(hub, make_client):
    """Nothing of it stays behind."""
    slow = make_client(hub, room=0, outbox_bytes=40)
    give_up_departs(slow)
    slow.join(Topic("quotes", "A"), delivery=LATEST)
    slow.join(Topic("quotes", "B"), delivery=Delivery(30))
    slow.join(AAPL)
    hub.publish(AAPL, trade(1))
    slow.loop.turn()
    for seq in (2, 3, 4):
        hub.publish(AAPL, trade(seq))
    slow.join(MSFT)
    assert (len(hub), hub.cohorts, hub._of_topic) == (0, 0, {})
