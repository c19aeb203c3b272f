"""One simulated day, tick by tick: whether it looks like a market, and what a tick costs.

usage: market.py [--symbols N] [--ticks-per-s N] [--seed N] [--date YYYY-MM-DD] [--always] [--png FILE]

Polls a simulated feed from the open to the close of a session in New York (with `--always` for 24 hours of a market that
never closes) on a clock of its own, as fast as it can, and measures what came: the stylised facts of returns of a minute,
counted and traded by time of day, and ticks a second of processor time. `--png` draws prices, volume and spreads
(`make bench-market` installs what that needs).
"""

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from datetime import time as time_of_day
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import stylised_facts as facts

from feeds.feed import Feed
from feeds.market import Market
from feeds.simulated import SimulatedOptions, make_simulated
from feeds.tick import Listing, Quote, Tick
from feeds.trading_hours import ALWAYS, TradingHours

ZONE = ZoneInfo("America/New_York")
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
POLL_US = SECOND_US

Floats = facts.Floats


@dataclass(frozen=True, slots=True)
class Day:
    """What happened, minute by minute: arrays of shape (symbols, minutes)."""

    listings: Sequence[Listing]
    begin: datetime
    middle: Floats
    """Of the last quote."""
    spread: Floats
    """The mean of all quotes."""
    ticks: Floats
    trades: Floats
    volume: Floats
    round_lots: Floats
    """Trades of whole lots."""
    cpu_s: float


def span(day: date, always: bool) -> tuple[int, int]:
    """From when to when, in microseconds."""
    ends = (time_of_day(), time_of_day()) if always else (time_of_day(9, 30), time_of_day(16))
    begin, end = (int(datetime.combine(day, at, ZONE).timestamp()) * SECOND_US for at in ends)
    return begin, end + (24 * 60 * MINUTE_US if always else 0)


def polled(feed: Feed, begin_us: int, end_us: int, spent: list[float]) -> Iterator[Sequence[Tick]]:
    """All ticks, poll by poll; `spent` gets the processor time of each poll."""
    asyncio.run(feed.start(begin_us - 1, {}))
    now_us, more = begin_us, False
    while now_us < end_us or more:
        if not more:
            now_us += POLL_US
        before = time.process_time()
        batch = feed.poll(now_us - 1)
        spent.append(time.process_time() - before)
        more = batch.more
        yield batch.ticks


def lived(options: SimulatedOptions, day: date, always: bool) -> Day:
    """A day as a client of the feed sees it."""
    begin_us, end_us = span(day, always)
    feed = make_simulated(options, Market(ZONE, ALWAYS if always else TradingHours([(begin_us, end_us)])))
    listings, spent = feed.symbols(), [0.0]
    row = {listing.symbol: number for number, listing in enumerate(listings)}
    shape = (len(listings), (end_us - begin_us) // MINUTE_US)
    middle, spread, quotes, trades, volume, lots = (np.zeros(shape) for _ in range(6))
    for ticks in polled(feed, begin_us, end_us, spent):
        for tick in ticks:
            at = row[tick.symbol], (tick.time - begin_us) // MINUTE_US
            if isinstance(tick, Quote):
                assert tick.bid is not None
                assert tick.ask is not None
                middle[at] = (tick.bid + tick.ask) / 2
                spread[at] += tick.ask - tick.bid
                quotes[at] += 1
            else:
                trades[at] += 1
                volume[at] += tick.size
                lots[at] += tick.size % 100 == 0
    spread /= np.maximum(quotes, 1)
    begin = datetime.fromtimestamp(begin_us / SECOND_US, ZONE)
    return Day(listings, begin, _filled(middle), spread, quotes + trades, trades, volume, lots, sum(spent))


def _filled(middle: Floats) -> Floats:
    """Minutes without a quote have that of the minute before; the first ones of all, that of the first quote."""
    which = np.maximum.accumulate(np.where(middle > 0, np.arange(middle.shape[1]), 0), axis=1)
    filled = np.take_along_axis(middle, which, axis=1)
    first = np.take_along_axis(middle, (middle > 0).argmax(axis=1)[:, np.newaxis], axis=1)
    return np.where(filled > 0, filled, first)


def parts_of_day(values: Floats, always: bool) -> list[float]:
    """The mean of the first and last half hour of the session and of an hour at noon, in means of the session."""
    session = values[:, 570:960] if always else values
    mean = session.mean()
    return [float(session[:, part].mean() / mean) for part in (slice(0, 30), slice(150, 210), slice(-30, None))]


def table(day: Day, always: bool) -> list[tuple[str, str]]:
    """Each fact with its figures."""
    returns = np.diff(np.log(day.middle), axis=1)
    returns = returns[:, 570:959] if always else returns
    minutes = slice(571, 960) if always else slice(1, None)
    sectors = [listing.sector for listing in day.listings]
    within, across = facts.correlations(returns, sectors)
    size = np.abs(returns)
    count = day.trades.sum()
    lags = (1, 10, 60)
    rows: list[tuple[str, Sequence[float]]] = [
        (
            "excess kurtosis of returns of 1, 5, 30 minutes",
            [facts.excess_kurtosis(_over(returns, n)) for n in (1, 5, 30)],
        ),
        (
            "autocorrelation of returns, lags of 1, 2, 10 minutes",
            [facts.autocorrelation(returns, n) for n in (1, 2, 10)],
        ),
        ("autocorrelation of absolute returns, 1, 10, 60 minutes", [facts.autocorrelation(size, n) for n in lags]),
        ("correlation of returns within and across sectors", [within, across]),
        ("absolute return at open, noon, close / mean", parts_of_day(np.pad(size, ((0, 0), (1, 0))), always=False)),
        ("volume at open, noon, close / mean", parts_of_day(day.volume, always)),
        ("ticks at open, noon, close / mean", parts_of_day(day.ticks, always)),
        ("spread at open, noon, close / mean", parts_of_day(day.spread, always)),
        ("rank correlation of spread and absolute return", [facts.joint(day.spread[:, minutes], size)]),
        ("rank correlation of volume and absolute return", [facts.joint(day.volume[:, minutes], size)]),
        ("spread in basis points, median of symbols", [float(np.median((day.spread / day.middle).mean(axis=1)) * 1e4)]),
        ("trades in all ticks", [count / day.ticks.sum()]),
        ("round lots in all trades", [day.round_lots.sum() / count]),
        ("mean size of a trade", [day.volume.sum() / count]),
    ]
    return [(name, ", ".join(f"{figure:.3g}" for figure in figures)) for name, figures in rows]


def _over(returns: Floats, minutes: int) -> Floats:
    usable = returns.shape[1] // minutes * minutes
    whole: Floats = returns[:, :usable].reshape(len(returns), -1, minutes).sum(axis=2)
    return whole


def draw(day: Day, path: Path) -> None:
    """Prices of some symbols of each of four sectors, rebased; volume and spreads below."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sectors = list(dict.fromkeys(listing.sector for listing in day.listings))
    sectors = sorted(sectors, key=lambda name: -sum(listing.sector == name for listing in day.listings))[:4]
    hours = day.begin.hour + day.begin.minute / 60 + np.arange(day.middle.shape[1]) / 60
    figure, axes = plt.subplots(3, 2, figsize=(16, 12), sharex=True)
    for axis, sector in zip(axes.flat, sectors, strict=False):
        chosen = [row for row, listing in enumerate(day.listings) if listing.sector == sector][:6]
        for row in chosen:
            axis.plot(hours, day.middle[row] / day.middle[row, 0] * 100, lw=0.8, label=day.listings[row].symbol)
        axis.set_title(f"{sector}, first price = 100")
        axis.legend(loc="upper left", ncols=3, fontsize=8)
    axes[2, 0].bar(hours, day.volume.sum(axis=0), width=1 / 60)
    axes[2, 0].set_title("volume of all symbols by minute")
    axes[2, 1].plot(hours, (day.spread / day.middle)[:6].T * 1e4, lw=0.6)
    axes[2, 1].set_title("mean spread by minute in basis points, " + ", ".join(one.symbol for one in day.listings[:6]))
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main() -> None:
    """Print the table, and draw if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--ticks-per-s", type=float, default=5)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--date", type=date.fromisoformat, default=date(2026, 11, 24))
    parser.add_argument("--always", action="store_true")
    parser.add_argument("--png", type=Path)
    asked = parser.parse_args()
    options = SimulatedOptions(symbols=asked.symbols, ticks_per_s=asked.ticks_per_s, seed=asked.seed)
    day = lived(options, asked.date, asked.always)
    total, length_s = day.ticks.sum(), day.ticks.shape[1] * 60
    for name, figures in table(day, asked.always):
        print(f"{name:56}{figures}")
    print(
        f"{'ticks, and of those asked for':56}{total:,.0f}, {total / (asked.symbols * asked.ticks_per_s * length_s):.4f}"
    )
    print(f"{'ticks a second of processor time':56}{total / day.cpu_s:,.0f}")
    if asked.png:
        draw(day, asked.png)


if __name__ == "__main__":
    main()
