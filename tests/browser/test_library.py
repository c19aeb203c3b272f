"""The page's library outside the page: its example, built and run in Node against a service."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

DASHBOARD = Path(__file__).parents[2] / "dashboard"
EXAMPLE = DASHBOARD / "node_modules" / ".example" / "follow.mjs"
sys.path.insert(0, str(DASHBOARD))


async def output_of(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, cwd=DASHBOARD, stdout=asyncio.subprocess.PIPE)
    text, _ = await process.communicate()
    assert process.returncode == 0
    return text.decode()


async def test_the_example_prints_what_rest_has(market):
    """Closed candles from history and live ones, in order, each once, with REST's values."""
    build = [sys.executable, str(DASHBOARD / "build.py"), "npm", "run", "--silent", "example"]
    await output_of(*build)
    node = (
        await output_of(sys.executable, "-c", "import build; print((build.own_node() or build.wheel_node())[0])")
    ).strip()
    begun = time.time() * 1e6
    process = await asyncio.create_subprocess_exec(
        *(node, "--experimental-websocket", str(EXAMPLE), market, "AAPL", "1s"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"NODE_NO_WARNINGS": "1"},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(40):
            rows = [json.loads(await process.stdout.readline())]
            # Some that closed while it ran are among them.
            while rows[-1]["time"] < begun + 5_000_000:
                rows.append(json.loads(await process.stdout.readline()))
    finally:
        process.kill()
        await process.wait()
    async with httpx.AsyncClient(base_url=market) as client:
        query = {"interval": "1s", "start": rows[0]["time"], "end": rows[-1]["time"] + 1, "limit": 10_000}
        stored = (await client.get("/v1/candles/AAPL", params=query)).json()["candles"]
    names = ("time", "open", "high", "low", "close", "volume", "trades", "vwap")
    assert len(rows) > 3
    assert [[row[name] for name in names] for row in rows] == [[row[name] for name in names] for row in stored]
