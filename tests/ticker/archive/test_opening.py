import subprocess
import sys

from ticker.archive.opening import open_archive, sources
from ticker.archive.spanning import SpanningCandles, SpanningTicks
from ticker.config import Config
from ticker.store.candle_store import CandleReader
from ticker.store.tick_stream import TickReader


def test_nothing_of_it_is_loaded_where_there_is_no_archive():
    """Neither time nor memory is spent by those who have none, gateway and ingester included."""
    code = (
        "import sys, ticker.cli\n"
        "from ticker.app import create_app, make_feeds\n"
        "from ticker.config import Config\n"
        "create_app(Config(), make_feeds(Config()))\n"
        "sys.exit('pyarrow' in sys.modules or 'fsspec' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_history_reads_from_redis_alone_or_from_both(valkey, tmp_path):
    """As the configuration says."""
    chunks, streams = CandleReader(valkey), TickReader(valkey)
    assert open_archive(Config()) is None
    assert sources(Config(), chunks, streams) == (chunks, streams)
    both = sources(Config(archive={"url": str(tmp_path)}), chunks, streams)
    assert isinstance(both[0], SpanningCandles)
    assert isinstance(both[1], SpanningTicks)
