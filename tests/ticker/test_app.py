"""From a configuration to its feeds."""

import subprocess
import sys
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from feeds.feed import FeedError
from feeds.market import Market
from feeds.registry import BUILT_IN
from feeds.trading_hours import ALWAYS
from ticker import app, calendar
from ticker.config import Config
from ticker.errors import ConfigError


def config(*feeds, **sections) -> Config:
    return Config.model_validate({"feeds": list(feeds)} | sections)


def test_each_feed_is_told_its_market_with_its_own_hours(monkeypatch):
    """The zone of all, and the sessions of the calendar where it keeps them."""
    told: list[Market] = []
    simulated = BUILT_IN["simulated"]

    def make(options, market):
        told.append(market)
        return simulated.make(options, market)

    monkeypatch.setattr(app, "feed_kinds", lambda: {"simulated": replace(simulated, make=make)})
    feeds = app.make_feeds(
        config(
            {"type": "simulated", "symbols": ["AAPL"], "trading_hours": "sessions"},
            {"type": "simulated", "symbols": ["MSFT"], "name": "other"},
            market={"timezone": "Asia/Hong_Kong", "calendar": "XHKG"},
        )
    )
    assert [listing.symbol for feed in feeds for listing in feed.symbols()] == ["AAPL", "MSFT"]
    assert [market.zone for market in told] == [ZoneInfo("Asia/Hong_Kong")] * 2
    assert told[1].hours is ALWAYS
    noon = 1_795_579_200_000_000  # 2026-11-25 12:00 in Hong Kong, when lunch begins
    assert (told[0].hours.is_open(noon - 1), told[0].hours.is_open(noon)) == (True, False)
    assert (
        told[0].hours
        is calendar.feed_hours(
            config({"type": "simulated", "trading_hours": "sessions"}, market={"calendar": "XHKG"}), app.wall_us()
        )["simulated"]
    )


def test_a_calendar_that_there_is_not_is_refused_where_a_feed_keeps_sessions():
    """Elsewhere nobody asks for it."""
    market = {"calendar": "XNYC"}
    with pytest.raises(ConfigError, match=r"market\.calendar: 'XNYC' is no exchange calendar; allowed: .*XNYS"):
        app.make_feeds(config({"type": "simulated", "trading_hours": "sessions"}, market=market))
    assert app.make_feeds(config({"type": "simulated"}, market=market))


def test_a_replay_that_keeps_its_times_keeps_no_sessions(tmp_path):
    """The two contradict each other."""
    path = tmp_path / "a.csv"
    path.write_text("time,symbol,price,size\n1381132800000000,IBM,180,1\n")
    with pytest.raises(FeedError, match="found trading_hours: sessions with times: keep"):
        app.make_feeds(config({"type": "replay", "path": str(path), "trading_hours": "sessions"}))


def test_feeds_that_never_close_are_made_without_a_calendar():
    """What reads calendars takes its time to import."""
    code = (
        "import sys; from ticker.app import make_feeds; from ticker.config import Config; make_feeds(Config()); "
        "sys.exit('pandas' in sys.modules or 'exchange_calendars' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
