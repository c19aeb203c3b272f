import json

import pytest

from ticker.hub.service import INGEST_SILENCE_S, STORE_SILENCE_S, Service, Writer

TIME = 1_763_933_333_333_333
SYMBOLS = {Writer("one", "simulated"): ["MSFT", "AAPL"], Writer("one", "replay"): ["BAC"]}
LIVE = {
    "simulated": {"state": "live", "reason": "", "clock": TIME},
    "replay": {"state": "live", "reason": "", "clock": 5},
}


def failing(*names: str) -> dict:
    return LIVE | {name: {"state": "retrying", "reason": "it broke", "clock": TIME} for name in names}


@pytest.fixture
def service():
    """One that is connected and has heard the ingester, at second 100."""
    service = Service(100.0)
    service.store(100.0, live=True)
    service.heartbeat(100.0, "one", LIVE)
    assert service.check(100.0, TIME, SYMBOLS) == []
    return service


def said(service: Service, now_s: float, symbols=SYMBOLS) -> list[tuple]:
    found = []
    for text in service.check(now_s, TIME, symbols):
        message = json.loads(text)
        assert list(message)[:4] == ["type", "state", "reason", "time"]
        assert (message["type"], message["time"]) == ("service", TIME)
        found.append((message["state"], message["reason"], *([message["symbols"]] if "symbols" in message else [])))
    return found


def test_while_all_is_well_nothing_is_said(service):
    """However often it is checked."""
    for tenth in range(1, 100):
        service.heartbeat(100 + tenth / 10, "one", LIVE)
        assert said(service, 100 + tenth / 10) == []
    assert service.live
    assert service.standing(TIME) == []


def test_a_silent_ingester_makes_the_service_stale_until_it_is_heard(service):
    """Each told once."""
    assert said(service, 99.9 + INGEST_SILENCE_S) == []
    assert said(service, 100.1 + INGEST_SILENCE_S) == [("stale", "ingest")]
    assert said(service, 110) == []
    assert not service.live
    service.heartbeat(111, "one", LIVE)
    assert said(service, 111) == [("live", "ingest")]
    assert service.live


def test_clients_hear_of_silence_within_two_seconds():
    """As the contract has it, with a check every quarter of a second."""
    assert INGEST_SILENCE_S + 0.25 < 2
    assert STORE_SILENCE_S + 0.25 < 2


def test_a_lost_store_makes_the_service_stale_until_it_is_back(service):
    """A connection that is back at once is nobody's concern."""
    service.store(101, live=False)
    service.store(101.4, live=False)
    assert said(service, 100.9 + STORE_SILENCE_S) == []
    assert said(service, 101.1 + STORE_SILENCE_S) == [("stale", "store")]
    assert said(service, 109) == []
    service.store(110, live=True)
    assert said(service, 110) == [("live", "store")]
    service.store(111, live=False)
    service.store(111.2, live=True)
    assert said(service, 111.3) == []


def test_the_ingester_is_given_time_after_the_store_was_away(service):
    """Its silence is counted from the new connection, and told if it lasts."""
    service.store(101, live=False)
    said(service, 109)
    service.store(110, live=True)
    assert said(service, 109.9 + INGEST_SILENCE_S) == [("live", "store")]
    assert said(service, 110.1 + INGEST_SILENCE_S) == [("stale", "ingest")]


def test_losing_the_store_heals_nothing(service):
    """What was stale stays so until the store is what is wrong, and is not told to be live in between."""
    service.heartbeat(101, "one", failing("replay"))
    assert said(service, 101) == [("stale", "feed", ["BAC"])]
    service.store(102, live=False)
    assert said(service, 102.1) == []
    assert not service.live
    assert said(service, 103) == [("stale", "store"), ("live", "feed")]


def test_a_short_loss_of_the_store_does_not_repeat_what_was_said(service):
    """A feed that failed before fails after: once is enough."""
    service.heartbeat(101, "one", failing("replay"))
    said(service, 101)
    service.store(102, live=False)
    assert said(service, 102.1) == []
    service.store(102.2, live=True)
    service.heartbeat(102.3, "one", failing("replay"))
    assert said(service, 102.3) == []


def test_a_failed_feed_is_told_with_its_symbols(service):
    """Sorted; again where they change, and `live` when all are back."""
    service.heartbeat(101, "one", failing("simulated"))
    assert said(service, 101) == [("stale", "feed", ["AAPL", "MSFT"])]
    assert said(service, 101.1) == []
    service.heartbeat(102, "one", failing("simulated", "replay"))
    assert said(service, 102) == [("stale", "feed", ["AAPL", "BAC", "MSFT"])]
    service.heartbeat(103, "one", failing("replay"))
    assert said(service, 103) == [("stale", "feed", ["BAC"])]
    service.heartbeat(104, "one", LIVE)
    assert said(service, 104) == [("live", "feed")]


@pytest.mark.parametrize("state", ["retrying", "failed", "", None])
def test_a_state_that_is_not_well_is_a_failure(service, state):
    """A new one too, until it is known to be none."""
    service.heartbeat(101, "one", {"replay": {"state": state}})
    assert said(service, 101) == [("stale", "feed", ["BAC"])]


@pytest.mark.parametrize("state", ["starting", "closed"])
def test_a_feed_that_starts_or_is_closed_is_no_failure(service, state):
    """Nor is one that nobody has heard of yet."""
    service.heartbeat(101, "one", {"replay": {"state": state}})
    assert said(service, 101) == []


def test_a_failed_feed_without_known_symbols_is_told_all_the_same(service):
    """They may not be in the catalogue yet."""
    service.heartbeat(101, "one", {"unheard-of": {"state": "failed"}})
    assert said(service, 101) == [("stale", "feed", [])]


def test_one_trouble_hides_those_behind_it(service):
    """Without the store nobody knows of the ingester, without the ingester nobody knows of feeds."""
    service.heartbeat(101, "one", failing("replay"))
    assert said(service, 101) == [("stale", "feed", ["BAC"])]
    assert said(service, 105) == [("stale", "ingest"), ("live", "feed")]
    service.store(106, live=False)
    assert said(service, 107) == [("stale", "store"), ("live", "ingest")]


def test_whoever_comes_while_something_is_wrong_is_told(service):
    """The same that the others were."""
    service.heartbeat(101, "one", failing("replay"))
    told = service.check(101, TIME, SYMBOLS)
    assert service.standing(TIME) == told
    service.heartbeat(102, "one", LIVE)
    service.check(102, TIME, SYMBOLS)
    assert service.standing(TIME) == []


def test_the_store_counts_as_lost_until_it_is_connected():
    """A gateway that never reaches it says so."""
    service = Service(100.0)
    assert said(service, 99.9 + STORE_SILENCE_S) == []
    assert said(service, 100.1 + STORE_SILENCE_S) == [("stale", "store")]
    assert not service.live


def test_the_clock_of_a_feed_is_that_of_its_last_heartbeat(service):
    """0 where none is known."""
    assert service.clock_of(Writer("one", "simulated")) == TIME
    assert service.clock_of(Writer("one", "unheard-of")) == 0
    service.heartbeat(101, "one", {"simulated": {"state": "starting"}})
    assert service.clock_of(Writer("one", "simulated")) == 0


TWO = {Writer("one", "hand"): ["MSFT", "AAPL"], Writer("two", "hand"): ["BAC"]}
"""Two ingesters, whose feeds happen to have the same name."""


def beat(service: Service, now_s: float, *ingesters: str, state: str = "live") -> None:
    for number, ingester in enumerate(ingesters):
        feed = {"state": state, "reason": "", "clock": TIME + number}
        service.heartbeat(now_s, ingester, {"hand": feed})


@pytest.fixture
def shared():
    """One that hears two ingesters, at second 100."""
    service = Service(99.0)
    service.store(99.0, live=True)
    beat(service, 100, "one", "two")
    assert said(service, 100, TWO) == []
    return service


def test_two_ingesters_are_heard_beside_each_other(shared):
    """Each with its own clocks; nothing flaps."""
    for tenth in range(1, 40):
        beat(shared, 100 + tenth / 10, ("one", "two")[tenth % 2])
        assert said(shared, 100 + tenth / 10, TWO) == []
    beat(shared, 105, "one", "two")
    assert shared.clock_of(Writer("one", "hand")) == TIME
    assert shared.clock_of(Writer("two", "hand")) == TIME + 1
    assert shared.feeds == {"hand": {"state": "live", "reason": "", "clock": TIME + 1}}


def test_of_two_ingesters_the_one_that_is_gone_is_told_with_its_symbols(shared):
    """The other's are live all the while."""
    beat(shared, 102, "two")
    assert said(shared, 102, TWO) == [("stale", "ingest", ["AAPL", "MSFT"])]
    beat(shared, 103, "one", "two")
    assert said(shared, 103, TWO) == [("live", "ingest")]


def test_when_both_are_gone_nothing_is_left(shared):
    """Then it is the ingester as such."""
    beat(shared, 102, "two")
    assert said(shared, 102, TWO) == [("stale", "ingest", ["AAPL", "MSFT"])]
    assert said(shared, 104, TWO) == [("stale", "ingest")]


def test_an_ingester_whose_symbols_another_has_taken_over_is_forgotten(shared):
    """The catalogue says who writes them now."""
    beat(shared, 102, "two")
    assert said(shared, 102, TWO) == [("stale", "ingest", ["AAPL", "MSFT"])]
    taken = {Writer("two", "hand"): ["AAPL", "BAC", "MSFT"]}
    assert said(shared, 102.1, taken) == [("live", "ingest")]
    assert said(shared, 102.2, taken) == []


def test_a_feed_that_fails_beside_one_of_the_same_name_is_told_alone(shared):
    """By who writes the symbols, not by the name."""
    beat(shared, 101, "two")
    beat(shared, 101, "one", state="failed")
    assert said(shared, 101, TWO) == [("stale", "feed", ["AAPL", "MSFT"])]
    assert shared.feeds["hand"]["state"] == "failed"
    beat(shared, 102, "two")
    beat(shared, 102.5, "two")
    assert said(shared, 102.6, TWO) == [("stale", "ingest", ["AAPL", "MSFT"]), ("live", "feed")]


def test_an_ingester_that_does_not_say_who_it_is_is_heard_too(service):
    """One of an earlier version; its symbols have no owner."""
    service = Service(100.0)
    service.store(100.0, live=True)
    service.heartbeat(100.0, "", {"hand": {"state": "failed", "clock": 7}})
    assert said(service, 100.1, {Writer("", "hand"): ["AAPL"]}) == [("stale", "feed", ["AAPL"])]
    assert service.clock_of(Writer("", "hand")) == 7
