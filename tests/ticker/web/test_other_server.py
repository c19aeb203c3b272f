"""The application under a server that is not set up for it."""

import asyncio
import socket

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ticker.app import create_app


async def test_another_websocket_class_is_refused_with_a_clear_line(make_config, valkey_url, wait_until, caplog):
    """What clients are sent is written by a class of ours; the answer and the log say how to have it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        config = uvicorn.Config(create_app(make_config(valkey_url)), ws="websockets-sansio", log_config=None)
        server = uvicorn.Server(config)
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
