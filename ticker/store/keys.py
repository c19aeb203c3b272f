"""Every key and channel in Redis, in one place; the public ones are the contract with stream tappers."""

SYMBOLS = "symbols"
"""hash: symbol -> JSON of what is known of it"""
SCHEMA = "schema"
"""string: the version of this layout"""
SCHEMA_VERSION = b"1"

HEARTBEAT = "ticker:heartbeat"
"""channel: an ingester is alive, with its id, and the clock and state of each feed that it writes"""
EVENTS = "ticker:events"
"""channel: new symbols, new epochs, and closed candles that have changed. Whoever changes any in another way than by closing
one says so here, in the same atomic step: gateways remember what they have answered until they hear of it."""
OWNERS = "ticker:owners"
"""hash: symbol -> id of the ingester that writes it"""
CLEAN = "ticker:clean"
"""hash: symbol -> the fence of the ingester that has stopped in order, last of all"""
CLOCKS = "ticker:clocks"
"""hash: feed -> its clock, in microseconds, up to which everything is appended"""

BEATS = "ticker:beats"
"""hash: feed -> when its ingester was last alive, by the wall clock in microseconds, and what was wrong with the feed then"""


def outages(feed: str) -> str:
    """stream: one entry a time in which the feed was away; fields `from to kind reason`"""
    return f"ticker:outages:{feed}"


def writer(ingester: str) -> str:
    """string: there as long as the ingester lives, with words that tell it from others"""
    return f"ticker:writer:{ingester}"


def trades(symbol: str) -> str:
    """stream: one entry a trade; channel: its message"""
    return f"trades:{{{symbol}}}"


def quotes(symbol: str) -> str:
    """stream: one entry a quote; channel: its message"""
    return f"quotes:{{{symbol}}}"


def candles(symbol: str) -> str:
    """channel: each closed or corrected `1m` candle"""
    return f"candles:{{{symbol}}}"


def epoch(symbol: str) -> str:
    """string: the name under which sequence numbers count"""
    return f"epoch:{{{symbol}}}"


def epochs(symbol: str) -> str:
    """hash: an epoch that has ended -> `<trades seq> <quotes seq>`, up to which its numbers are still true"""
    return f"ticker:epochs:{{{symbol}}}"


def state(symbol: str) -> str:
    """hash: `fence` and `batch` of the writer, the run of the `server`, `open` candles, `cursor` of the feed, `backfilled`"""
    return f"ticker:state:{{{symbol}}}"


def chunks(symbol: str, interval: str) -> str:
    """hash: open time of a chunk's first candle -> packed candles"""
    return f"ticker:candles:{{{symbol}}}:{interval}"


def chunk_index(symbol: str, interval: str) -> str:
    """Sorted set: the fields of `chunks`, by time"""
    return f"ticker:index:{{{symbol}}}:{interval}"


def archived(symbol: str) -> str:
    """Hash: kind -> the last that is in the archive; `imports`; `again_<interval>` -> candles that are to be archived again"""
    return f"ticker:archived:{{{symbol}}}"
