"""The log of commands: in the form that is wanted, of all processes, and without secrets."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from command_line import (
    DEADLINE_S,
    FAST,
    Folder,
    answers,
    close_code,
    has_trades,
    one_line,
    servers_in,
    stream,
)
from redis import Redis

SECRET = "hunter2"


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid:6379", "127.0.0.1:http"])
@pytest.mark.parametrize("command", [["run"], ["serve"], ["ingest"], ["tap", "AAPL"], ["check"], ["config"]])
def test_no_secret_is_told_where_the_store_cannot_be_reached(folder: Folder, command: list[str], host: str) -> None:
    """By no command, on neither output, in the finest log."""
    folder.config["redis"]["url"] = f"redis://user:{SECRET}@{host}"
    folder.config["logging"] = {"level": "debug"}
    code, output, errors = folder.run(*command)
    assert (code == 0) == (command == ["config"])
    assert SECRET not in output + errors


@pytest.mark.parametrize(
    "change",
    [
        {"redis": f"redis://user:{SECRET}@host"},
        {"redis": {"port": f"redis://user:{SECRET}@{'host' * 30}"}},
        {"feeds": [f"redis://user:{SECRET}@host"]},
        {"feeds": [FAST | {"symbols": f"redis://user:{SECRET}@host"}]},
        {"market": {"timezone": f"redis://user:{SECRET}@host"}},
        {"retention": {"ticks": f"redis://user:{SECRET}@host"}},
    ],
)
def test_no_secret_is_told_where_it_stands_in_the_wrong_place(folder: Folder, change: dict[str, Any]) -> None:
    """What was found is shown without it."""
    folder.config |= change
    line = one_line(*folder.run("run"))
    assert SECRET not in line
    assert "***" in line


def test_no_secret_is_told_by_a_service_that_loses_its_login(
    folder: Folder, valkey_url: str, store: Redis, block_until: Callable[..., None]
) -> None:
    """Neither in the log nor in any answer; and every line of the log is one JSON object."""
    store.acl_setuser(
        "tester", enabled=True, passwords=[f"+{SECRET}"], keys=["*"], channels=["*"], categories=["+@all"]
    )
    folder.config["redis"]["url"] = valkey_url.replace("redis://", f"redis://tester:{SECRET}@")
    folder.config["logging"] = {"level": "debug"}
    command, url = folder.serve("run")
    block_until(has_trades(url))
    try:
        store.acl_deluser("tester")
        block_until(lambda: httpx.get(f"{url}/readyz").status_code == 503)
        block_until(lambda: "ticks wait" in command.errors())
        paths = ("/v1/candles/AAPL", "/v1/trades/AAPL", "/v1/snapshots?symbols=*", "/readyz", "/metrics", "/v1/symbols")
        told = [httpx.get(f"{url}{path}") for path in paths]
        assert [answer.status_code for answer in told][:4] == [503] * 4
    finally:
        command.process.send_signal(signal.SIGTERM)
    output, _ = command.process.communicate(timeout=DEADLINE_S)
    assert SECRET not in output + command.errors() + "".join(answer.text for answer in told)
    lines = [json.loads(line) for line in command.errors().splitlines()]
    assert all(list(line)[:4] == ["time", "level", "logger", "event"] for line in lines)
    assert {"feed": "simulated", "level": "error"}.items() <= next(
        x for x in lines if "ticks wait" in x["event"]
    ).items()


def test_the_form_of_the_log_can_be_set(folder: Folder, valkey_url: str) -> None:
    """Also from the environment, and workers have it too."""
    folder.config["redis"]["url"] = valkey_url
    command = folder.start("ingest", TICKER_LOGGING__FORMAT="human")
    command.line("ingesting")
    assert command.end() == 0
    assert re.search(
        r"^\d\d:\d\d:\d\d \[info +\] feed simulated: started with 3 symbols", command.errors(), re.MULTILINE
    )
    assert "logging.format: found 'xml'; allowed: 'auto', 'human' or 'json'" in one_line(
        *folder.run("ingest", TICKER_LOGGING__FORMAT="xml")
    )


def test_workers_log_like_their_parent(folder: Folder, valkey_url: str, block_until: Callable[..., None]) -> None:
    """Each line of each process is a JSON object; that one has died is told."""
    folder.config["redis"]["url"] = valkey_url
    command, url = folder.serve("serve", "--workers", "2")
    block_until(lambda: answers(url))
    with stream(url) as client:
        client.send(b"binary")
        assert close_code(client) == 1003
    block_until(lambda: "closed with 1003" in command.errors())
    victim = next(pid for pid in servers_in(folder.path) if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(victim, signal.SIGKILL)
    block_until(lambda: f"[{victim}] died" in command.errors())
    assert command.end() == 0
    lines = [json.loads(line) for line in command.errors().splitlines()]
    closed = next(line for line in lines if "closed with 1003" in line["event"])
    assert (closed["logger"], closed["code"]) == ("ticker.web.stream", 1003)
