import json
import random
from zoneinfo import ZoneInfo

import pytest

from ticker.candles.interval import INTERVALS, bounds
from ticker.candles.packed import unpack_open
from ticker.errors import BadTick, DuplicateTick
from ticker.ingest.symbol_writer import IDS_KEPT, SymbolWriter, WriterRules
from ticker.store.append import StreamEnd
from ticker.store.claim import Claimed

SECOND = 1_000_000
NOWHERE = StreamEnd()
RULES = WriterRules(ZoneInfo("America/New_York"), 500_000, 60 * SECOND, 1000, 1000)


def made(epoch=None, trades=NOWHERE, quotes=NOWHERE):
    opened = {"1s": [], "1m": [], "1d": []}
    return SymbolWriter("AAPL", RULES, Claimed("1-x", epoch, trades, quotes, opened, None), [[], [], []])


def test_nothing_taken_is_nothing_to_append(noon):
    """A poll without ticks costs the store nothing."""
    assert made().finish(noon, None) is None
    assert made().finish(noon, "cursor") is None


def test_ticks_of_one_shape_make_one_run(tape):
    """Another shape begins a new one, whose end it goes on from."""
    writer = made()
    for tick in (tape.trade(), tape.trade(), tape.trade(id="a"), tape.trade(id="b"), tape.trade()):
        writer.take(tick)
    runs = writer.finish(tape.time, None).runs
    assert [run.count for run in runs] == [2, 2, 1]
    assert [run.after.seq for run in runs] == [0, 2, 4]
    assert runs[1].names == ("price", "size", "time", "id", "seq")


def test_numbers_go_on_from_the_end_of_the_stream(tape):
    """And the epoch is kept where there is one."""
    writer = made("abcdef", StreamEnd(41, 5), StreamEnd(7, 5))
    writer.take(tape.trade())
    writer.take(tape.quote())
    append = writer.finish(tape.time, None)
    assert (writer.ends, append.epoch, append.new_epoch) == ((42, 8), "abcdef", None)
    assert [run.after.id for run in append.runs] == ["5-41", "5-7"]


def test_a_refused_tick_leaves_no_trace(tape):
    """No number, no candle, and its id may come again."""
    writer = made()
    with pytest.raises(BadTick):
        writer.take(tape.trade(1.23456789, id="a"))
    writer.take(tape.trade(1, id="a"))
    assert writer.ends == (1, 0)
    assert unpack_open(writer.finish(tape.time, None).state["open"])["1d"][0].trades == 1


def test_an_id_is_remembered_for_a_while(tape):
    """The newest ids are known, trades' and quotes' apart; the oldest are let go of."""
    writer = made()
    writer.take(tape.trade(id="first"))
    writer.take(tape.quote(id="first"))
    with pytest.raises(DuplicateTick):
        writer.take(tape.trade(id="first"))
    for number in range(IDS_KEPT):
        writer.take(tape.trade(id=str(number)))
    writer.take(tape.trade(id="first"))


def test_each_append_has_a_number_of_its_own(tape, noon):
    """By which the store knows one that comes twice."""
    writer = made()
    batches = []
    for _ in range(3):
        writer.take(tape.trade())
        batches.append(writer.finish(tape.time, None).batch)
    assert batches == [1, 2, 3]


def test_candles_close_without_ticks(tape, noon):
    """By the clock alone, and each once."""
    writer = made()
    writer.take(tape.trade())
    assert writer.finish(tape.time, None).chunks == []
    append = writer.finish(noon + SECOND + 500_000, None)
    assert [chunk.interval for chunk in append.chunks] == [0]
    assert append.runs == append.messages == []
    assert writer.finish(noon + SECOND + 600_000, None) is None
    append = writer.finish(noon + 60 * SECOND + 500_000, "c")
    assert [chunk.interval for chunk in append.chunks] == [1]
    assert append.state["cursor"] == "c"
    assert len(append.messages) == 1


@pytest.mark.parametrize("seed", range(5))
def test_it_is_due_where_a_candle_closes_or_was_corrected(seed, tape, noon):
    """Of any interval; what is left open is what the clock has not passed."""
    rng, writer, clock, closings = random.Random(seed), made("abcdef"), noon, 0
    for _ in range(300):
        clock += rng.choice([50_000, 400_000, 3 * SECOND, 30 * SECOND])
        trades = rng.choice([0, 0, 0, 1, 3])
        for _ in range(trades):
            writer.take(tape.trade(time=clock - rng.choice([0, 30_000, 45 * SECOND])))
        due, append = writer.due(clock), writer.finish(clock, None)
        assert (append is not None) == bool(due or trades)
        assert not writer.due(clock)
        if append is None:
            continue
        assert bool(append.chunks) == due
        closings += due
        for name, candles in unpack_open(append.state["open"]).items():
            ends = [bounds(INTERVALS[name], candle.time, RULES.zone)[1] for candle in candles]
            assert all(end + RULES.grace_us > clock for end in ends)
    assert closings > 50


def correction_of(append):
    return json.loads(append.event) if append.event else None


def test_the_first_append_tells_that_all_may_be_new(tape):
    """What the writer before told, nobody knows."""
    writer = made("abcdef")
    writer.take(tape.trade())
    assert correction_of(writer.finish(tape.time, None)) == {"event": "candles", "symbol": "AAPL"}
    writer.take(tape.trade())
    assert correction_of(writer.finish(tape.time, None, tape.time)) is None


def test_an_append_tells_which_closed_candles_are_not_as_they_were(tape, noon):
    """A late trade changes some, and makes one that was not there; what closes in its time is no change."""
    writer = made("abcdef")
    writer.take(tape.trade(time=noon))
    writer.take(tape.trade(time=noon + 4 * SECOND))
    clock = noon + 10 * SECOND
    writer.finish(clock, None)
    writer.take(tape.trade(time=noon + 11 * SECOND))
    assert correction_of(writer.finish(noon + 20 * SECOND, None, clock)) is None
    writer.take(tape.trade(time=noon + 2 * SECOND))
    writer.take(tape.trade(time=noon + 4 * SECOND))
    changed = correction_of(writer.finish(noon + 21 * SECOND, None, noon + 20 * SECOND))["changed"]
    assert changed == {"1s": [noon + 2 * SECOND, noon + 4 * SECOND + 1]}
    writer.take(tape.trade(time=noon + 20 * SECOND))
    assert correction_of(writer.finish(noon + 100 * SECOND, None, noon + 21 * SECOND)) is None
    writer.take(tape.trade(time=noon + 50 * SECOND))
    changed = correction_of(writer.finish(noon + 101 * SECOND, None, noon + 100 * SECOND))["changed"]
    assert changed == {"1s": [noon + 50 * SECOND, noon + 50 * SECOND + 1], "1m": [noon, noon + 1]}
