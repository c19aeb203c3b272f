import json

import pytest

from ticker.hub.service import INGEST_SILENCE_S, STORE_SILENCE_S, Service

TIME = 1_763_933_333_333_333
SYMBOLS = {"simulated": ["MSFT", "AAPL"], "replay": ["BAC"]}
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
    service.heartbeat(100.0, LIVE)
    assert service.check(100.0, TIME, SYMBOLS) == []
    return service


def said(service: Service, now_s: float) -> list[tuple]:
    found = []
    for text in service.check(now_s, TIME, SYMBOLS):
        message = json.loads(text)
        assert list(message)[:4] == ["type", "state", "reason", "time"]
        assert (message["type"], message["time"]) == ("service", TIME)
        found.append((message["state"], message["reason"], *([message["symbols"]] if "symbols" in message else [])))
    return found


def test_while_all_is_well_nothing_is_said(service):
    """However often it is checked."""
    for tenth in range(1, 100):
        service.heartbeat(100 + tenth / 10, LIVE)
        assert said(service, 100 + tenth / 10) == []
    assert service.live
    assert service.standing(TIME) == []


def test_a_silent_ingester_makes_the_service_stale_until_it_is_heard(service):
    """Each told once."""
    assert said(service, 99.9 + INGEST_SILENCE_S) == []
    assert said(service, 100.1 + INGEST_SILENCE_S) == [("stale", "ingest")]
    assert said(service, 110) == []
    assert not service.live
    service.heartbeat(111, LIVE)
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
    service.heartbeat(101, failing("replay"))
    assert said(service, 101) == [("stale", "feed", ["BAC"])]
    service.store(102, live=False)
    assert said(service, 102.1) == []
    assert not service.live
    assert said(service, 103) == [("stale", "store"), ("live", "feed")]


def test_a_short_loss_of_the_store_does_not_repeat_what_was_said(service):
    """A feed that failed before fails after: once is enough."""
    service.heartbeat(101, failing("replay"))
    said(service, 101)
    service.store(102, live=False)
    assert said(service, 102.1) == []
    service.store(102.2, live=True)
    service.heartbeat(102.3, failing("replay"))
    assert said(service, 102.3) == []


def test_a_failed_feed_is_told_with_its_symbols(service):
    """Sorted; again where they change, and `live` when all are back."""
    service.heartbeat(101, failing("simulated"))
    assert said(service, 101) == [("stale", "feed", ["AAPL", "MSFT"])]
    assert said(service, 101.1) == []
    service.heartbeat(102, failing("simulated", "replay"))
    assert said(service, 102) == [("stale", "feed", ["AAPL", "BAC", "MSFT"])]
    service.heartbeat(103, failing("replay"))
    assert said(service, 103) == [("stale", "feed", ["BAC"])]
    service.heartbeat(104, LIVE)
    assert said(service, 104) == [("live", "feed")]


@pytest.mark.parametrize("state", ["retrying", "failed", "", None])
def test_a_state_that_is_not_well_is_a_failure(service, state):
    """A new one too, until it is known to be none."""
    service.heartbeat(101, {"replay": {"state": state}})
    assert said(service, 101) == [("stale", "feed", ["BAC"])]


@pytest.mark.parametrize("state", ["starting", "closed"])
def test_a_feed_that_starts_or_is_closed_is_no_failure(service, state):
    """Nor is one that nobody has heard of yet."""
    service.heartbeat(101, {"replay": {"state": state}})
    assert said(service, 101) == []


def test_a_failed_feed_without_known_symbols_is_told_all_the_same(service):
    """They may not be in the catalogue yet."""
    service.heartbeat(101, {"unheard-of": {"state": "failed"}})
    assert said(service, 101) == [("stale", "feed", [])]


def test_one_trouble_hides_those_behind_it(service):
    """Without the store nobody knows of the ingester, without the ingester nobody knows of feeds."""
    service.heartbeat(101, failing("replay"))
    assert said(service, 101) == [("stale", "feed", ["BAC"])]
    assert said(service, 105) == [("stale", "ingest"), ("live", "feed")]
    service.store(106, live=False)
    assert said(service, 107) == [("stale", "store"), ("live", "ingest")]


def test_whoever_comes_while_something_is_wrong_is_told(service):
    """The same that the others were."""
    service.heartbeat(101, failing("replay"))
    told = service.check(101, TIME, SYMBOLS)
    assert service.standing(TIME) == told
    service.heartbeat(102, LIVE)
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
    assert service.clock_of("simulated") == TIME
    assert service.clock_of("unheard-of") == 0
    service.heartbeat(101, {"simulated": {"state": "starting"}})
    assert service.clock_of("simulated") == 0
