import asyncio
import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from feeds import recording, replay
from feeds.feed import CLOCK_END, FeedError, Stored
from feeds.market import Market
from feeds.replay import BEHIND_AT_MOST_US, LAP_PAUSE_US, ReplayOptions, make_replay
from feeds.tick import Listing, Quote, Trade
from feeds.trading_hours import TradingHours

T = 1381132800000000
NOW = 1_760_000_000_000_000
TRADES = "time,symbol,price,size\n"


def row(offset, symbol="A", number=0):
    return f"{T + offset},{symbol},1.5,{number}\n"


def rows(*offsets, symbol="A"):
    return "".join(row(offset, symbol, number) for number, offset in enumerate(offsets))


@pytest.fixture
def feed_of(tmp_path):
    """Makes a started feed of the text of one file; it is closed after the test."""
    feeds = []

    def make(text, stored=None, **options):
        (tmp_path / "a.csv").write_text(text)
        feed = make_replay(ReplayOptions(path=str(tmp_path / "*.csv"), **options), Market())
        feeds.append(feed)
        asyncio.run(feed.start(NOW, stored or {}))
        return feed

    yield make
    for feed in feeds:
        asyncio.run(feed.close())


def drained(feed, now=NOW):
    """All ticks of a replay as fast as possible, and the last batch."""
    ticks = []
    while True:
        batch = feed.poll(now)
        ticks += batch.ticks
        if not batch.ticks:
            return ticks, batch


def offsets(batch):
    return [tick.time - T for tick in batch.ticks]


def numbers(batch):
    return [tick.size for tick in batch.ticks]


def test_files_are_merged_into_one_stream(tmp_path):
    """Trades and quotes, plain and compressed, of several symbols."""
    (tmp_path / "1.csv").write_text(TRADES + row(1, "IBM") + row(4, "A"))
    quotes = f"time,symbol,bid,bid_size,ask,ask_size,exchange\n{T + 2},A,1.4,100,,,P\n{T + 4},A,1.4,100,1.5,300,P\n"
    (tmp_path / "2.csv.gz").write_bytes(gzip.compress(quotes.encode()))
    feed = make_replay(ReplayOptions(path=str(tmp_path / "*.csv*"), speed="max"), Market())
    asyncio.run(feed.start(NOW, {}))
    ticks, _ = drained(feed)
    assert ticks == [
        Trade("IBM", 1.5, 0, T + 1),
        Quote("A", 1.4, 100, None, 0, T + 2, exchange="P"),
        Trade("A", 1.5, 0, T + 4),
        Quote("A", 1.4, 100, 1.5, 300, T + 4, exchange="P"),
    ]


def test_symbols_are_known_before_anything_is_played(feed_of):
    """Known ones with their names, sorted."""
    feed = feed_of(TRADES + row(0, "ZZZ") + row(1, "IBM"))
    assert [listing.symbol for listing in feed.symbols()] == ["IBM", "ZZZ"]
    assert feed.symbols()[0].name == "International Business Machines Corporation"
    assert feed.symbols()[1] == Listing("ZZZ", "ZZZ", "", "USD", "", 0.01)


def test_equal_rows_are_different_ticks(feed_of):
    """All of them are real."""
    assert len(drained(feed_of(TRADES + row(0) * 5, speed="max"))[0]) == 5


def test_rows_are_due_as_they_were_recorded(feed_of):
    """The first at the start, the others as far from it as in the file."""
    feed = feed_of(TRADES + rows(0, 100, 100, 250))
    assert offsets(feed.poll(NOW)) == [0]
    assert offsets(feed.poll(NOW + 99)) == []
    assert offsets(feed.poll(NOW + 249)) == [100, 100]
    assert offsets(feed.poll(NOW + 250)) == [250]


def test_speed_divides_the_time_between_rows(feed_of):
    """Ten times as fast, a second takes a tenth."""
    feed = feed_of(TRADES + rows(0, 1000, 2000), speed=10)
    assert offsets(feed.poll(NOW + 99)) == [0]
    assert offsets(feed.poll(NOW + 100)) == [1000]
    assert offsets(feed.poll(NOW + 200)) == [2000]


def test_a_poll_hands_over_a_limited_number_of_rows(feed_of):
    """However many are due; the rest comes with the next polls."""
    feed = feed_of(TRADES + rows(*range(12_000)), speed="max")
    assert [len(feed.poll(NOW).ticks) for _ in range(4)] == [5_000, 5_000, 2_000, 0]


def test_the_clock_of_kept_times_is_the_newest_time_read(feed_of):
    """After the last row it is the end of time, which closes all candles."""
    feed = feed_of(TRADES + rows(0, 100, 200))
    assert feed.poll(NOW).clock == T
    assert feed.poll(NOW + 50).clock == T
    assert feed.poll(NOW + 100).clock == T + 100
    assert feed.poll(NOW + 300).clock == CLOCK_END
    last = feed.poll(NOW + 400)
    assert (last.ticks, last.clock) == ([], CLOCK_END)
    assert feed.poll(NOW + 500) == last


def test_shifted_times_are_those_at_which_rows_are_due(feed_of):
    """Nothing else of a tick changes."""
    header = "time,symbol,bid,bid_size,ask,ask_size,conditions,id\n"
    feed = feed_of(header + f"{T},A,1,2,3,4,R,7\n{T + 1000},A,1,2,,,,\n", times="now", speed=2)
    assert feed.poll(NOW + 499).ticks == [Quote("A", 1.0, 2, 3.0, 4, NOW, "7", None, "R")]
    batch = feed.poll(NOW + 700)
    assert batch.ticks == [Quote("A", 1.0, 2, None, 0, NOW + 500)]
    assert batch.clock == NOW + 700
    assert feed.poll(NOW + 800).clock == NOW + 800


def test_shifted_trades_keep_everything_but_their_time(feed_of):
    """Optional fields too."""
    feed = feed_of(f"time,symbol,price,size,id,exchange,conditions\n{T},A,1.5,2,7,P,@\n", times="now")
    assert feed.poll(NOW).ticks == [Trade("A", 1.5, 2, NOW, "7", "P", "@")]


def test_at_full_speed_shifted_times_are_the_time_of_the_poll(feed_of):
    """They never go back, even where the clock does."""
    feed = feed_of(TRADES + rows(*range(10_001)), times="now", speed="max")
    assert {tick.time for tick in feed.poll(NOW).ticks} == {NOW}
    assert feed.poll(NOW - 1).ticks == []
    assert {tick.time for tick in feed.poll(NOW + 7).ticks} == {NOW + 7}


def test_a_replay_that_kept_times_goes_on_when_the_clock_is_set_back(feed_of):
    """At full speed no row waits for a time of day."""
    feed = feed_of(TRADES + rows(*range(5_001)), speed="max")
    feed.poll(NOW)
    assert offsets(feed.poll(NOW - 3_600_000_000)) == [5_000]


def test_a_shifted_replay_that_is_far_behind_goes_on_from_now(feed_of):
    """After the machine slept, nothing is stored under times that are long past; the spacing stays."""
    second = 1_000_000
    feed = feed_of(TRADES + rows(0, second, 2 * second, 4 * second), times="now")
    assert len(feed.poll(NOW).ticks) == 1
    late = NOW + second + BEHIND_AT_MOST_US + 1
    assert [tick.time for tick in feed.poll(late).ticks] == [late]
    assert [tick.time for tick in feed.poll(late + 3 * second).ticks] == [late + second, late + 3 * second]


def test_a_loop_begins_again_a_second_after_its_last_row(feed_of):
    """Lap after lap, at times that only rise."""
    feed = feed_of(TRADES + rows(0, 10), times="now", loop=True)
    lap = LAP_PAUSE_US + 10
    assert [tick.time - NOW for tick in feed.poll(NOW + lap - 1).ticks] == [0, 10]
    assert [tick.time - NOW for tick in feed.poll(NOW + 2 * lap).ticks] == [lap, lap + 10, 2 * lap]
    assert feed.poll(NOW + 2 * lap).cursor.endswith(":2:1")


def test_a_loop_at_full_speed_is_still_limited(feed_of):
    """A poll ends, though the rows do not."""
    feed = feed_of(TRADES + rows(0, 10), times="now", loop=True, speed="max")
    assert len(feed.poll(NOW).ticks) == 5_000
    assert len(feed.poll(NOW).ticks) == 5_000


def test_a_restart_goes_on_after_its_cursor(feed_of):
    """The first row that is left is due at once."""
    text = TRADES + rows(0, 1_000, 2_000, 3_000)
    cursor = feed_of(text).poll(NOW + 1_000).cursor
    feed = feed_of(text, {"A": Stored(T + 1_000, cursor)})
    batch = feed.poll(NOW)
    assert offsets(batch) == [2_000]
    assert batch.clock == T + 2_000
    assert offsets(feed.poll(NOW + 1_000)) == [3_000]


def test_a_restart_after_the_end_gives_nothing_more(feed_of):
    """But says again that it has ended, so that a kill before the last candles costs none of them."""
    text = TRADES + rows(0, 1)
    cursor = feed_of(text, speed="max").poll(NOW).cursor
    batch = feed_of(text, {"A": Stored(T + 1, cursor)}).poll(NOW)
    assert (batch.ticks, batch.clock, batch.cursor) == ([], CLOCK_END, cursor)


def test_a_shifted_restart_goes_on_at_its_cursor_from_now(feed_of):
    """In the lap in which it was."""
    text = TRADES + rows(0, 10, 20)
    options = {"times": "now", "loop": True}
    first = feed_of(text, **options)
    cursor = first.poll(NOW + LAP_PAUSE_US + 20).cursor
    assert cursor.endswith(":1:1")
    batch = feed_of(text, {"A": Stored(NOW, cursor)}, **options).poll(NOW + 10)
    assert [(tick.time - NOW, tick.size) for tick in batch.ticks] == [(0, 1), (10, 2)]


def test_rows_that_only_some_symbols_have_are_made_up_for_at_once(feed_of):
    """They were due before the kill; the pace begins after them."""
    text = TRADES + "".join(row(time, symbol, time) for time in (0, 1_000, 2_000, 3_000) for symbol in "AB")
    batches = [feed_of(text).poll(NOW + offset) for offset in (0, 2_000)]
    stored = {"A": Stored(T + 2_000, batches[1].cursor), "B": Stored(T, batches[0].cursor)}
    feed = feed_of(text, stored)
    batch = feed.poll(NOW)
    assert [(tick.symbol, tick.size) for tick in batch.ticks] == [
        ("B", 1_000),
        ("B", 2_000),
        ("A", 3_000),
        ("B", 3_000),
    ]
    assert batch.cursor.endswith(":1:0")


@settings(max_examples=60, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(0, 20), st.sampled_from("ABC")), min_size=8, max_size=40),
    speed=st.sampled_from(["max", 1, 3.0]),
    times=st.sampled_from(["keep", "now"]),
    data=st.data(),
)
def test_each_row_is_stored_exactly_once_whatever_kill_cut_a_batch(tmp_path_factory, places, speed, times, data):
    """Some symbols of a batch are stored and others not, again and again; in the end nothing is missing or twice."""
    folder = tmp_path_factory.mktemp("replay")
    half = len(places) // 2
    for name, part in (("1.csv", places[:half]), ("2.csv", places[half:])):
        if part:
            lines = [row(offset, symbol, f"{places.index((offset, symbol))}") for offset, symbol in part]
            (folder / name).write_text(TRADES + "".join(lines))
    options = ReplayOptions(path=str(folder / "*.csv"), speed=speed, times=times)
    reference = make_replay(options.model_copy(update={"speed": "max"}), Market())
    asyncio.run(reference.start(NOW, {}))
    expected = {}
    for tick in drained(reference)[0]:
        expected.setdefault(tick.symbol, []).append(tick.size)

    kept, stored, now = {}, {}, NOW
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "ROWS_PER_POLL", 4)
        patch.setattr(recording, "BLOCK_CHARACTERS", 90)
        for kill in [*data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=6)), 10_000]:
            feed = make_replay(options, Market())
            asyncio.run(feed.start(now, dict(stored)))
            for count in range(60):
                now += 5
                batch = feed.poll(now)
                assert len(batch.ticks) <= 4
                symbols = sorted({tick.symbol for tick in batch.ticks} | set(stored))
                # A closing candle stores the cursor too, for a symbol without a tick in the batch.
                for symbol in data.draw(st.lists(st.sampled_from(symbols), unique=True)) if count == kill else symbols:
                    ticks = [tick for tick in batch.ticks if tick.symbol == symbol]
                    kept.setdefault(symbol, []).extend(tick.size for tick in ticks)
                    newest = ticks[-1].time if ticks else stored[symbol].time
                    stored[symbol] = Stored(newest, batch.cursor)
                if count == kill:
                    break
            asyncio.run(feed.close())
    assert kept == expected


def test_another_recording_is_refused_where_its_times_would_go_back(feed_of):
    """One line says which symbol, both times, and what to do."""
    cursor = feed_of(TRADES + rows(0, 5_000_000)).poll(NOW).cursor
    for held in (cursor, None, "something else"):
        with pytest.raises(FeedError) as caught:
            feed_of(TRADES + rows(1, 2), {"A": Stored(T + 5_000_000, held)})
        assert str(caught.value) == (
            "A: found stored ticks of another feed or recording up to 2013-10-07T08:00:05+00:00, while this recording "
            "begins at 2013-10-07T08:00:00.000001+00:00; use another data folder, or times: now"
        )


def test_another_recording_of_later_times_is_played_from_its_first_row(feed_of):
    """The next day after the one before."""
    cursor = feed_of(TRADES + rows(0, 1)).poll(NOW).cursor
    assert numbers(feed_of(TRADES + rows(1, 2, 3), {"A": Stored(T + 1, cursor)}, speed="max").poll(NOW)) == [0, 1, 2]


def test_another_recording_with_shifted_times_is_played_from_its_first_row(feed_of):
    """Whatever is stored is older than now."""
    feed = feed_of(TRADES + rows(1, 2), {"A": Stored(NOW - 1, "x")}, times="now", speed="max")
    assert numbers(feed.poll(NOW)) == [0, 1]


def test_times_are_not_kept_where_they_were_shifted_before(feed_of):
    """The same file, but what is stored has times of today."""
    text = TRADES + rows(0, 1)
    cursor = feed_of(text, times="now").poll(NOW).cursor
    with pytest.raises(FeedError, match="found stored ticks of another feed or recording up to 2025-"):
        feed_of(text, {"A": Stored(NOW, cursor)})


def test_the_content_of_files_in_their_order_makes_the_recording(tmp_path):
    """Names and folders do not count, content and order do."""
    (tmp_path / "x").mkdir()
    for name, offset in (("1.csv", 0), ("2.csv", 1), ("x/3.csv", 0), ("x/4.csv", 1)):
        (tmp_path / name).write_text(TRADES + row(offset))

    def cursor(*names):
        feed = make_replay(ReplayOptions(path=[str(tmp_path / name) for name in names], speed="max"), Market())
        asyncio.run(feed.start(NOW, {}))
        return drained(feed)[1].cursor

    assert cursor("1.csv", "2.csv") == cursor("x/3.csv", "x/4.csv")
    assert cursor("1.csv", "2.csv") != cursor("2.csv", "1.csv")


def test_a_second_start_goes_on_from_what_is_stored_by_then(feed_of):
    """After an error, what was given but not stored is given again."""
    feed = feed_of(TRADES + rows(*range(6_000)), speed="max")
    cursor = feed.poll(NOW).cursor
    feed.poll(NOW)
    asyncio.run(feed.start(NOW, {"A": Stored(T + 4_999, cursor)}))
    assert numbers(feed.poll(NOW)) == list(range(5_000, 6_000))


def test_a_mistake_in_a_file_stops_the_replay(feed_of):
    """The error names file and line."""
    feed = feed_of(TRADES + rows(0, 1) + row(2, "A", "x"), speed="max")
    with pytest.raises(FeedError, match=r"a\.csv: line 4: size 'x': expected a number"):
        feed.poll(NOW)


@pytest.mark.parametrize(("options", "found"), [({}, "times: keep"), ({"times": "now", "speed": "max"}, "speed: max")])
def test_a_replay_that_does_not_follow_the_time_of_day_keeps_no_sessions(tmp_path, options, found):
    """Its rows have other times than the present, or all are due at once."""
    (tmp_path / "a.csv").write_text(TRADES + rows(0, 1))
    sessions = Market(hours=TradingHours([(NOW, NOW + 1)]))
    with pytest.raises(
        FeedError, match=f"found trading_hours: sessions with {found}; allowed: sessions with times: now"
    ):
        make_replay(ReplayOptions(path=str(tmp_path / "a.csv"), **options), sessions)
    assert make_replay(ReplayOptions(path=str(tmp_path / "a.csv"), times="now"), sessions).symbols()


def test_what_cannot_be_replayed_is_refused_when_the_feed_is_made(tmp_path):
    """Before anything is started."""
    with pytest.raises(FeedError, match="found no file of this name or pattern"):
        make_replay(ReplayOptions(path=str(tmp_path / "*.csv")), Market())
    empty = tmp_path / "a.csv"
    empty.write_text(TRADES)
    with pytest.raises(FeedError, match="found no rows after the header"):
        make_replay(ReplayOptions(path=str(empty)), Market())


def test_the_defaults_play_a_file_as_it_was_recorded():
    """Once, at its own pace and times."""
    options = ReplayOptions(path="a.csv")
    assert (options.speed, options.times, options.loop) == (1.0, "keep", False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "path\n  Field required"),
        ({"path": []}, "found []; allowed: a file, a pattern such as data/*.csv.gz, or a list of them"),
        ({"path": ""}, "found ''; allowed: a file"),
        ({"path": ["a.csv", 3]}, "found ['a.csv', 3]; allowed: a file"),
        ({"path": Path("a.csv")}, "allowed: a file"),
        ({"path": "a.csv", "speed": 0}, "found 0; allowed: a number above 0, or max"),
        ({"path": "a.csv", "speed": -1.5}, "found -1.5; allowed: a number above 0, or max"),
        ({"path": "a.csv", "speed": "fast"}, "found 'fast'; allowed: a number above 0, or max"),
        ({"path": "a.csv", "speed": float("inf")}, "found inf; allowed: a number above 0, or max"),
        ({"path": "a.csv", "speed": float("nan")}, "found nan; allowed: a number above 0, or max"),
        ({"path": "a.csv", "speed": True}, "found True; allowed: a number above 0, or max"),
        ({"path": "a.csv", "times": "today"}, "'keep' or 'now'"),
        ({"path": "a.csv", "loop": True}, "found loop: true with times: keep; allowed: loop with times: now"),
        ({"path": "a.csv", "rate": 1}, "not permitted"),
    ],
)
def test_bad_options_are_refused(options, message):
    """By name, with what was found and what is allowed."""
    with pytest.raises(ValidationError) as caught:
        ReplayOptions(**options)
    assert message in str(caught.value)


def test_a_replay_that_was_closed_can_be_started_again(feed_of):
    """As where another ingester has written its symbols for a while: it goes on behind what that one has stored."""
    feed = feed_of(TRADES + rows(0, 10, 20, 30), speed="max")
    first, _ = drained(feed)
    asyncio.run(feed.close())
    asyncio.run(feed.start(NOW, {}))
    again, last = drained(feed)
    assert again == first
    assert len(first) == 4
    asyncio.run(feed.close())
    asyncio.run(feed.start(NOW, {"A": Stored(T + 30, last.cursor)}))
    assert drained(feed)[0] == []
