"""The application under a server that is not set up for it."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ticker.app import create_app
from ticker.web.uvicorn_websocket import IMPORT_STRING

HOW = f"start it with `ticker run` or `ticker serve`, or with `uvicorn --ws {IMPORT_STRING}`"
PROGRAM = (
    "from ticker.app import create_app\nfrom ticker.config_loading import load_config\n\n"
    "app = create_app(load_config())\n"
)


@pytest.fixture
def start_uvicorn(tmp_path, valkey_url):
    """Starts uvicorn's own command on a program that has made the application; all end with the test."""
    (tmp_path / "service.py").write_text(PROGRAM)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TICKER_")}
    started = []

    def start_uvicorn(*options):
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "service:app", "--port", "0", *options],
            cwd=tmp_path,
            env=environ | {"TICKER_REDIS__URL": valkey_url},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_uvicorn
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), "websockets_sansio_impl:WebSocketsSansIOProtocol"),
        (("--http", "h11", "--ws", "websockets-sansio"), "websockets_sansio_impl:WebSocketsSansIOProtocol"),
        (("--lifespan", "on", "--ws", "none"), "none"),
    ],
)
def test_another_websocket_class_is_refused_at_start(start_uvicorn, options, found):
    """The process ends with one line that says what was found and how to start it."""
    process = start_uvicorn(*options)
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 3
    (line,) = (line for line in errors.splitlines() if "WebSocket class" in line)
    assert found in line
    assert line.endswith(f", not {IMPORT_STRING}: {HOW}")
    assert "Traceback" not in errors


async def test_ours_will_do_whoever_names_it(start_uvicorn):
    """As a text on uvicorn's command line."""
    process = start_uvicorn("--ws", IMPORT_STRING)
    lines = iter(process.stderr.readline, "")
    port = next(found[1] for line in lines if (found := re.search(r"running on http://127.0.0.1:(\d+)", line)))
    async with connect(f"ws://127.0.0.1:{port}/v1/stream", proxy=None) as client:
        assert json.loads(await client.recv())["type"] == "welcome"


async def test_a_server_that_is_no_uvicorn_is_refused_at_start(make_config, valkey_url):
    """Any other hands over functions of its own."""
    sent = []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        sent.append(message)

    await create_app(make_config(valkey_url))({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    (message,) = sent
    assert message["type"] == "lifespan.startup.failed"
    assert message["message"] == f"the server is not uvicorn, whose WebSocket class ticker replaces by its own: {HOW}"


async def test_a_server_that_does_not_say_that_it_starts_is_refused_at_the_first_websocket(
    make_config, valkey_url, wait_until, caplog
):
    """What clients are sent is written by a class of ours; the answer and the log say how to have it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        app = create_app(make_config(valkey_url))
        server = uvicorn.Server(uvicorn.Config(app, ws="websockets-sansio", lifespan="off", log_config=None))
        task = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            await wait_until(lambda: server.started)
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"ws://127.0.0.1:{sock.getsockname()[1]}/v1/stream", proxy=None):
                    pytest.fail("it was let in")
        finally:
            server.should_exit = True
            await task
    assert refused.value.response.status_code == 500
    assert b"start it with `ticker run` or `ticker serve`" in refused.value.response.body
    assert "start it with `ticker run`" in caplog.text
