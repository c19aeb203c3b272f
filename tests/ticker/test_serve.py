"""A serving process, looked at from inside."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ticker import serve
from ticker.config_loading import load_config

FROZEN = """
import asyncio, gc, os, sys
from ticker.config_loading import load_config
from ticker import serve

def tell():
    frozen = gc.get_freeze_count() > 10_000 and gc.get_count()[2] == 0
    print("frozen" if frozen else "not frozen", gc.get_threshold()[0] == serve.OBJECTS_A_COLLECTION, flush=True)

async def lifespan(app):
    async with app.router.lifespan_context(app):
        while not gc.get_freeze_count():
            await asyncio.sleep(0)
        tell()

config = load_config(None, {"redis": {"url": sys.argv[2]}, "server": {"port": 0}})
if sys.argv[1] == "alone":
    import signal
    def announce():
        tell()
        signal.raise_signal(signal.SIGTERM)
    serve.run_gateway(config, serve.listen("127.0.0.1", 0), announce)
else:
    os.environ[serve.WORKER_CONFIG] = config.model_dump_json(by_alias=True, exclude_unset=True)
    os.environ[serve.WORKER_PARENT] = str(os.getppid())
    asyncio.run(lifespan(serve.worker_app()))
"""


def test_workers_start_where_only_the_store_is_set(valkey_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(None, {"redis": {"url": valkey_server}})
    monkeypatch.setenv(serve.WORKER_CONFIG, config.model_dump_json(by_alias=True, exclude_unset=True))
    assert serve.configured().model_dump() == config.model_dump()


@pytest.mark.parametrize("how", ["alone", "worker"])
def test_the_collector_leaves_alone_what_is_here_to_stay(how: str, valkey_server: str, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TICKER_")}
    done = subprocess.run(
        [sys.executable, "-c", FROZEN, how, valkey_server],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "frozen True\n", done.stderr
