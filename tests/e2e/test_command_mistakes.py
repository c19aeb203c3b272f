"""What commands say of mistakes: one line, with what was found and what is allowed."""

from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from command_line import (
    FAST,
    Folder,
    one_line,
    servers_in,
    socket_on,
)
from redis import Redis


def test_a_taken_port_is_one_line(folder: Folder) -> None:
    """It names the port and the setting."""
    with socket_on(folder.port):
        line = one_line(*folder.run("run"))
    assert str(folder.port) in line
    assert "server.port" in line
    with socket_on(folder.redis_port):
        line = one_line(*folder.run("run"))
    assert str(folder.redis_port) in line
    assert "redis.port" in line
    assert servers_in(folder.path) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"servr": {}}, ["servr", "server"]),
        ({"server": {"prot": 1}}, ["server.prot", "port"]),
        ({"server": {"port": "many"}}, ["server.port", "'many'"]),
        ({"server": {"port": 70_000}}, ["server.port", "70000"]),
        ({"candles": {"grace_ms": -1}}, ["candles.grace_ms", "-1"]),
        ({"market": {"timezone": "Mars/Base"}}, ["market.timezone", "Mars/Base"]),
        ({"feeds": [{"type": "telepathy"}]}, ["feeds", "telepathy", "simulated"]),
        ({"feeds": [FAST | {"colour": "red"}]}, ["feeds", "colour"]),
        ({"feeds": [{"type": "replay", "path": "not/there.csv"}]}, ["not/there.csv"]),
        ({"feeds": [FAST | {"trading_hours": "XNYS"}]}, ["feeds.0.trading_hours", "'XNYS'", "'always'", "'sessions'"]),
        (
            {"feeds": [FAST | {"trading_hours": "sessions"}], "market": {"calendar": "XNYC"}},
            ["market.calendar", "'XNYC'", "XNYS"],
        ),
        ({"feeds": [{"type": "replay", "path": "x.csv", "trading_hours": "sessions"}]}, ["sessions", "times: keep"]),
        ({"redis": {"url": "http://x"}}, ["redis.url", "http"]),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line(
    folder: Folder, change: dict[str, Any], told: Sequence[str]
) -> None:
    """It names the key, what was found and what is allowed."""
    folder.config |= change
    line = one_line(*folder.run("run"))
    assert [word for word in told if word not in line] == []


def test_a_missing_file_is_one_line(folder: Folder) -> None:
    """By name."""
    assert "nowhere.yaml" in one_line(*folder.run("run", "--config", "nowhere.yaml"))


def test_a_mistake_in_the_environment_is_one_line(folder: Folder) -> None:
    """A misspelt section would otherwise go unnoticed."""
    line = one_line(*folder.run("config", TICKER_SERVR__PORT="1"))
    assert "TICKER_SERVR__PORT" in line


def test_a_store_that_is_not_there_is_one_line(folder: Folder) -> None:
    """Gateways, taps and checks say which address they tried."""
    url = f"redis://127.0.0.1:{folder.redis_port}"
    for command in (["serve"], ["tap", "AAPL"], ["check"], ["ingest"]):
        code, _, errors = folder.run(*command, "--redis-url", url)
        assert code in (1, 2)
        assert "Traceback" not in errors
        assert str(folder.redis_port) in errors.splitlines()[-1]


def test_a_taken_port_of_the_ingester_is_one_line(folder: Folder, valkey_url: str) -> None:
    """It names its own setting, not the gateway's."""
    folder.config["redis"]["url"] = valkey_url
    folder.config["ingest"] = {"port": folder.port}
    with socket_on(folder.port):
        assert "ingest.port" in one_line(*folder.run("ingest"))


def test_another_layout_is_refused(folder: Folder, valkey_url: str, store: Redis) -> None:
    """A store of another version is left alone."""
    store.set("schema", "2")
    folder.config["redis"]["url"] = valkey_url
    for command in ("serve", "ingest", "run"):
        code, _, errors = folder.run(command)
        assert code != 0
        assert "layout" in errors
        assert "Traceback" not in errors
    assert store.keys() == [b"schema"]


def test_flags_go_before_the_environment_and_that_before_the_file(folder: Folder) -> None:
    """And `config` prints what is in force, without secrets."""
    folder.config["redis"]["url"] = "redis://user:sesame@127.0.0.1:1"
    code, output, _ = folder.run("config", TICKER_SERVER__HOST="127.0.0.2")
    tree = yaml.safe_load(output)
    assert code == 0
    assert (tree["server"]["host"], tree["server"]["port"]) == ("127.0.0.2", folder.port)
    assert "sesame" not in output
    assert tree["feeds"][0]["symbols"] == ["AAPL", "MSFT", "IBM"]
    assert tree["retention"]["candles"]["1s"] == "2d"
    (folder.path / "again.yaml").write_text(output)
    assert folder.run("config", "--config", "again.yaml")[1] == output
