"""Each number once, over all connections, whatever is lost, repeated, trimmed or begun anew."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ticker.client.records import Candle, Gap, Position, Reset, Resumed, Service, Trade
from ticker.client.tracker import SYMBOLS_A_REQUEST, Again, Tracker, Wanted


def trade(seq: int, symbol: str = "AAPL", **more: Any) -> dict[str, Any]:
    return {"type": "trade", "symbol": symbol, "price": 100.0 + seq, "size": 1, "time": seq, "seq": seq} | more


def candle(time: int, seq: int, *, final: bool = False, **more: Any) -> dict[str, Any]:
    prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), 1.0)
    head = {"type": "candle", "symbol": "AAPL", "interval": "1m", "time": time, "volume": seq, "trades": seq}
    return head | prices | {"final": final, "seq": seq} | more


def subscribed(request_id: int | None = 1, errors: tuple[str, ...] = (), **positions: Any) -> dict[str, Any]:
    """`AAPL=("e", 5)`, or `("e", 5, True)` where a resume was asked for."""
    at = {
        symbol: {"epoch": given[0], "seq": given[1]} | ({"recovered": given[2]} if len(given) > 2 else {})
        for symbol, given in positions.items()
    }
    head = {"type": "subscribed"} if request_id is None else {"type": "subscribed", "id": request_id}
    wrong = [{"symbol": symbol, "code": "unknown_symbol"} for symbol in errors]
    return head | {"channel": "trades", "positions": at, "errors": wrong}


def gap(first: int, last: int, reason: str = "trimmed") -> dict[str, Any]:
    return {"type": "gap", "channel": "trades", "symbol": "AAPL", "from": first, "to": last, "reason": reason}


def reset(epoch: str, seq: int) -> dict[str, Any]:
    return {"type": "reset", "channel": "trades", "symbol": "AAPL", "epoch": epoch, "seq": seq}


def take(tracker: Tracker, *messages: dict[str, Any]) -> list[Any]:
    """Events of the messages, each taken before the next message is."""
    found = []
    for message in messages:
        tracker.take(message)
        while tracker.events:
            found.append(tracker.hand_out())
    return found


def numbers(events: list[Any]) -> list[Any]:
    return [(e.first, e.last, e.reason) if isinstance(e, Gap) else e.seq for e in events]


def new(*symbols: str, channel: str = "trades", resume: dict[str, Position] | None = None, **more: Any) -> Tracker:
    return Tracker(Wanted(channel, symbols or ("AAPL",), **more), resume or {})


def test_a_first_request_is_what_was_asked_for():
    """With every field that is not as it would be anyway."""
    assert new("AAPL", "*").requests() == [{"op": "subscribe", "id": 1, "channel": "trades", "symbols": ["AAPL", "*"]}]
    tracker = new(channel="candles", interval="1m", deliver="latest", every_ms=250, snapshot=False)
    assert tracker.requests() == [
        {
            "op": "subscribe",
            "id": 1,
            "channel": "candles",
            "symbols": ["AAPL"],
            "interval": "1m",
            "deliver": "latest",
            "every_ms": 250,
            "snapshot": False,
        }
    ]
    assert new(resume={"AAPL": Position("e", 7)}).requests()[0]["resume"] == {"AAPL": {"epoch": "e", "seq": 7}}


def test_many_symbols_are_asked_for_in_parts():
    """Each small enough for a gateway; all of them must be answered."""
    names = [f"S{i}" for i in range(2 * SYMBOLS_A_REQUEST + 1)]
    tracker = new(*names)
    requests = tracker.requests()
    assert [request["id"] for request in requests] == [1, 2, 3]
    assert [symbol for request in requests for symbol in request["symbols"]] == names
    for request in requests:
        assert not tracker.answered
        tracker.take(subscribed(request["id"], **dict.fromkeys(request["symbols"], ("e", 1))))
    assert tracker.answered


def test_positions_follow_what_is_handed_out():
    """Not what has been read; a snapshot is what the position already stands for."""
    tracker = new()
    tracker.requests()
    assert tracker.position("AAPL") is None
    events = take(tracker, subscribed(AAPL=("e", 5)), trade(5, snapshot=True))
    assert (events[0].snapshot, tracker.position("AAPL")) == (True, Position("e", 5))
    tracker.take(trade(6))
    assert tracker.position("AAPL") == Position("e", 5)
    assert tracker.hand_out() == Trade("AAPL", 106.0, 1, 6, 6)
    assert tracker.position("AAPL") == Position("e", 6)


def test_a_new_connection_asks_for_what_comes_next_and_drops_what_is_there():
    """And says when all of it has come."""
    tracker = new()
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 5)), trade(6), trade(7))
    assert tracker.requests()[0]["resume"] == {"AAPL": {"epoch": "e", "seq": 7}}
    assert numbers(take(tracker, subscribed(AAPL=("e", 9, True)), trade(7), trade(8))) == [8]
    assert not tracker.notices
    assert numbers(take(tracker, trade(9))) == [9]
    assert list(tracker.notices) == [Resumed("trades", "AAPL", None, 7, 9, 2, 0)]
    assert numbers(take(tracker, trade(10))) == [10]
    assert len(tracker.notices) == 1


def test_nothing_missed_is_said_at_once():
    """Where the position is still the newest."""
    tracker = new()
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 5)))
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 5, True)))
    assert list(tracker.notices) == [Resumed("trades", "AAPL", None, 5, 5, 0, 0)]


def test_a_replay_that_is_cut_off_is_counted_whole():
    """From the first loss on, over as many connections as it takes."""
    tracker = new()
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 5)))
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 8, True)), trade(6))
    assert tracker.requests()[0]["resume"] == {"AAPL": {"epoch": "e", "seq": 6}}
    take(tracker, subscribed(AAPL=("e", 9, True)), trade(7), trade(8), trade(9))
    assert list(tracker.notices) == [Resumed("trades", "AAPL", None, 5, 9, 4, 0)]


def test_what_is_trimmed_is_a_gap_and_counted():
    """Of a gap that reaches into what is there, only the rest."""
    tracker = new()
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 5)))
    tracker.requests()
    events = take(tracker, subscribed(AAPL=("e", 12, False)), gap(4, 10), trade(11), trade(12))
    assert numbers(events) == [(6, 10, "trimmed"), 11, 12]
    assert list(tracker.notices) == [Resumed("trades", "AAPL", None, 5, 12, 2, 5)]
    assert numbers(take(tracker, gap(9, 12))) == []


def test_a_hole_without_a_word_is_told():
    """The client counts too; numbers that gave way to newer ones are none."""
    tracker = new()
    tracker.requests()
    events = take(tracker, subscribed(AAPL=("e", 5)), trade(6), trade(9), trade(12, skipped=2), trade(15, skipped=1))
    assert numbers(events) == [6, (7, 8, "unannounced"), 9, 12, (13, 13, "unannounced"), 15]


def test_between_a_gap_and_the_event_behind_it_the_position_is_the_gaps():
    """Whoever keeps it then gets the event."""
    tracker = new()
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 5)))
    tracker.take(trade(8))
    assert isinstance(tracker.hand_out(), Gap)
    assert tracker.position("AAPL") == Position("e", 7)


def test_a_reset_withdraws():
    """What comes then counts from its number, in the new epoch."""
    tracker = new()
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 5)), trade(6), trade(7))
    tracker.requests()
    events = take(tracker, subscribed(AAPL=("f", 8, False)), reset("f", 5), trade(6), trade(7), trade(8))
    assert events[0] == Reset("trades", "AAPL", "f", 5)
    assert numbers(events[1:]) == [6, 7, 8]
    assert tracker.position("AAPL") == Position("f", 8)
    assert list(tracker.notices) == [Resumed("trades", "AAPL", None, 5, 8, 3, 0)]


def test_an_epoch_is_believed_only_once_it_is_clear_how_far_the_old_one_was_true():
    """A connection that is lost between the reply and the reset must not make the old numbers ones of the new epoch."""
    tracker = new()
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 5)), trade(6), trade(7))
    tracker.requests()
    take(tracker, subscribed(AAPL=("f", 9, False)))
    assert tracker.requests()[0]["resume"] == {"AAPL": {"epoch": "e", "seq": 7}}
    take(tracker, subscribed(AAPL=("f", 9, False)), gap(8, 8))
    assert tracker.position("AAPL") == Position("f", 8)
    tracker.requests()
    take(tracker, subscribed(AAPL=("g", 9, True)))
    assert tracker.position("AAPL") == Position("g", 8)


def test_a_first_epoch_withdraws_nothing():
    """Its name is noted, and that is all."""
    tracker = new()
    tracker.requests()
    assert numbers(take(tracker, subscribed(AAPL=(None, 0)), reset("e", 0), trade(1))) == [1]
    assert tracker.position("AAPL") == Position("e", 1)


def test_an_epoch_that_begins_after_we_subscribed_is_asked_for():
    """Until then, all is asked for again, and what is there is dropped."""
    tracker = new()
    tracker.requests()
    take(tracker, subscribed(AAPL=(None, 0)))
    assert tracker.ask_for_names() is None
    assert numbers(take(tracker, trade(1), trade(2))) == [1, 2]
    assert tracker.position("AAPL") == Position(None, 0)
    assert tracker.ask_for_names() == {"op": "subscribe", "id": 0, "channel": "trades", "symbols": ["AAPL"]}
    take(tracker, subscribed(0, AAPL=("e", 2)))
    assert tracker.position("AAPL") == Position("e", 2)
    assert tracker.ask_for_names() is None


def test_all_symbols_are_resumed_by_name():
    """Beside `*`, which brings those that come up later; the reply to `*` names them a second time."""
    tracker = new("*")
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 5), MSFT=("m", 2)), trade(6))
    take(tracker, subscribed(None, NEWS=("n", 3)), trade(4, "NEWS"))
    (request,) = tracker.requests()
    assert request["symbols"] == ["AAPL", "MSFT", "NEWS", "*"]
    assert request["resume"]["NEWS"] == {"epoch": "n", "seq": 4}
    take(tracker, subscribed(AAPL=("e", 6, True), MSFT=("m", 2, True), NEWS=("n", 4, True)))
    assert [notice.symbol for notice in tracker.notices] == ["AAPL", "MSFT", "NEWS"]


def test_a_symbol_that_came_up_while_nobody_listened_is_read_from_its_beginning():
    """Which takes one more connection."""
    tracker = new("*")
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 5)))
    tracker.requests()
    with pytest.raises(Again):
        tracker.take(subscribed(AAPL=("e", 5, True), NEWS=("n", 3)))
    assert tracker.requests()[0]["resume"]["NEWS"] == {"epoch": None, "seq": 0}


def test_a_symbol_that_is_back_late_is_resumed():
    """Not begun at its newest number."""
    tracker = new("*")
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 5)))
    tracker.requests()
    take(tracker, subscribed(errors=("AAPL",)))
    assert tracker.answered
    assert tracker.refused == []
    with pytest.raises(Again):
        tracker.take(subscribed(None, AAPL=("e", 9)))


def test_unknown_symbols_are_told():
    """Those that the caller has named."""
    tracker = new("AAPL", "ZZZZ")
    tracker.requests()
    tracker.take(subscribed(errors=("ZZZZ",), AAPL=("e", 5)))
    assert [one["symbol"] for one in tracker.refused] == ["ZZZZ"]
    assert not tracker.answered
    tracker.requests()
    assert tracker.refused == []


def test_of_a_candle_the_higher_number_wins_and_then_the_final_one():
    """Each state once."""
    tracker = new(channel="candles", interval="1m")
    tracker.requests()
    events = take(
        tracker,
        subscribed(AAPL=("e", 5)),
        candle(60, 5, snapshot=True),
        candle(60, 5),
        candle(60, 7),
        candle(60, 6),
        candle(120, 8),
        candle(60, 7, final=True),
        candle(60, 7),
        candle(60, 9, final=True),
    )
    assert [(e.time, e.seq, e.final) for e in events if isinstance(e, Candle)] == [
        (60, 5, False),
        (60, 7, False),
        (120, 8, False),
        (60, 7, True),
        (60, 9, True),
    ]


def test_a_candle_that_is_not_final_is_asked_for_again():
    """The word that it is closed has the number of its last trade, which was handed out already."""
    tracker = new(channel="candles", interval="1m")
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 5)), candle(60, 7), candle(120, 8))
    assert tracker.position("AAPL") == Position("e", 6)
    assert tracker.requests()[0]["resume"] == {"AAPL": {"epoch": "e", "seq": 6}}
    events = take(tracker, subscribed(AAPL=("e", 9, True)), candle(60, 7, final=True), candle(120, 9))
    assert [(e.time, e.seq, e.final) for e in events] == [(60, 7, True), (120, 9, False)]
    assert list(tracker.notices) == [Resumed("candles", "AAPL", "1m", 8, 9, 2, 0)]


def test_candles_of_withdrawn_trades_come_again():
    """Their numbers are used a second time."""
    tracker = new(channel="candles", interval="1m")
    tracker.requests()
    take(tracker, subscribed(AAPL=("e", 5)), candle(60, 7))
    tracker.requests()
    events = take(tracker, subscribed(AAPL=("f", 7, False)), reset("f", 6), candle(60, 7))
    assert [type(event) for event in events] == [Reset, Candle]


def service(state: str, reason: str = "ingest", symbols: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"type": "service", "state": state, "reason": reason, "time": 7} | ({"symbols": symbols} if symbols else {})


def test_what_is_wrong_is_told_once():
    """A new connection repeats it; what it does not repeat has been healed meanwhile."""
    tracker = new()
    tracker.requests()
    welcome = {"type": "welcome", "time": 50}
    told = take(tracker, welcome, service("stale"), subscribed(AAPL=("e", 5)))
    assert told == [Service("stale", "ingest", 7)]
    tracker.requests()
    assert take(tracker, welcome, service("stale"), subscribed(AAPL=("e", 5, True))) == []
    tracker.requests()
    assert take(tracker, welcome, subscribed(AAPL=("e", 5, True))) == [Service("live", "ingest", 50)]
    told = take(
        tracker, service("stale", "feed", ("A",)), service("stale", "feed", ("A", "B")), service("live", "feed")
    )
    assert [event.symbols for event in told] == [("A",), ("A", "B"), ()]


class Losses(RuleBasedStateMachine):
    """A store that trims and loses, a gateway that resumes by the contract, and connections that break anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch, self.last, self.oldest = 0, 3, 1
        self.ends: dict[str, int] = {}
        self.birth = dict.fromkeys(range(1, 4), 0)
        self.tracker = new()
        self.held: dict[int, float] = {}
        self.gone: set[int] = set()
        self.line: list[dict[str, Any]] | None = None
        self.connect()
        self.read(len(self.line or ()))
        self.first = 3

    @property
    def name(self) -> str:
        return f"e{self.epoch}"

    def message(self, seq: int) -> dict[str, Any]:
        return trade(seq, price=float(self.birth[seq]))

    def connect(self) -> None:
        (request,) = self.tracker.requests()
        asked = request.get("resume", {}).get("AAPL")
        if asked is None:
            self.line = [subscribed(AAPL=(self.name, self.last))]
            return
        end = self.last if asked["epoch"] == self.name else self.true_up_to(asked["epoch"])
        after = min(asked["seq"], end)
        trimmed = after + 1 < self.oldest
        whole = asked["seq"] <= end and not trimmed
        self.line = [subscribed(AAPL=(self.name, self.last, whole))]
        if asked["seq"] > end:
            self.line.append(reset(self.name, end))
        if trimmed:
            self.line.append(gap(after + 1, self.oldest - 1))
        self.line += [self.message(seq) for seq in range(max(after + 1, self.oldest), self.last + 1)]

    def true_up_to(self, epoch: str) -> int:
        number = int(epoch[1:])
        return min(end for name, end in self.ends.items() if int(name[1:]) >= number)

    def read(self, count: int) -> None:
        for _ in range(min(count, len(self.line or ()))):
            assert self.line is not None
            for event in take(self.tracker, self.line.pop(0)):
                if isinstance(event, Trade):
                    assert event.seq not in self.held, "handed out twice"
                    assert event.seq > max(self.held, default=0), "out of order"
                    self.held[event.seq] = event.price
                elif isinstance(event, Gap):
                    assert event.reason != "unannounced"
                    self.gone |= set(range(event.first, event.last + 1))
                elif isinstance(event, Reset):
                    self.held = {seq: price for seq, price in self.held.items() if seq <= event.seq}
                    self.gone = {seq for seq in self.gone if seq <= event.seq}
                    self.first = min(self.first, event.seq)

    @rule(count=st.integers(1, 4))
    def tick(self, count: int) -> None:
        for _ in range(count):
            self.last += 1
            self.birth[self.last] = self.epoch
            if self.line is not None:
                self.line.append(self.message(self.last))

    @rule(count=st.integers(1, 6))
    def deliver(self, count: int) -> None:
        self.read(count)

    @rule()
    def cut(self) -> None:
        self.line = None

    @precondition(lambda self: self.line is None)
    @rule()
    def come_back(self) -> None:
        self.connect()

    @precondition(lambda self: self.line is None)
    @rule(count=st.integers(1, 4))
    def trim(self, count: int) -> None:
        self.oldest = min(self.last + 1, self.oldest + count)

    @precondition(lambda self: self.line is None)
    @rule(count=st.integers(0, 3))
    def lose(self, count: int) -> None:
        """The store is set back; the writer goes on under a new name."""
        if self.last - count < max(1, self.oldest - 1):
            return
        self.last -= count
        self.ends[self.name] = self.last
        self.ends = {name: min(end, self.last) for name, end in self.ends.items()}
        self.epoch += 1

    @invariant()
    def what_was_read_is_the_record(self) -> None:
        """Where all was read, every number is there as the store has it, or was said to be gone."""
        if self.line != []:
            return
        for seq in range(self.first + 1, self.last + 1):
            assert (seq in self.held) != (seq in self.gone), seq
            if seq in self.held:
                assert self.held[seq] == self.birth[seq], seq
        assert max(self.held, default=0) <= self.last
        position = self.tracker.position("AAPL")
        assert position is not None
        assert position.seq == self.last


TestLosses = Losses.TestCase
TestLosses.settings = settings(
    max_examples=300, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
