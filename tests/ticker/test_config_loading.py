from pathlib import Path

import pytest

from ticker.config import Config
from ticker.config_loading import load_config
from ticker.durations import UNITS_US
from ticker.errors import ConfigError

pytestmark = pytest.mark.usefixtures("nowhere")

SECTIONS = "redis, server, ingest, logging, market, feeds, retention, archive, candles, websocket, limits"


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(load, monkeypatch):
    """Each where those before it are silent, key by key within a section."""
    file = "server: {host: file, port: 1, workers: 2}"
    assert load("").server.model_dump() == Config().server.model_dump()
    assert load(file).server.port == 1
    monkeypatch.setenv("TICKER_SERVER__PORT", "2")
    monkeypatch.setenv("TICKER_SERVER__HOST", "environment")
    assert load(file).server.port == 2
    server = load(file, server={"port": 3}).server
    assert (server.port, server.host, server.workers) == (3, "environment", 2)


def test_config_yaml_of_the_working_directory_is_read_unless_another_is_named(load):
    """`--config` replaces it, nothing is mixed."""
    Path("config.yaml").write_text("server: {port: 7, workers: 3}", "utf-8")
    assert load_config().server.port == 7
    server = load("server: {port: 8}").server
    assert (server.port, server.workers) == (8, 1)


def test_the_environment_takes_lists_and_mappings_as_json(load, monkeypatch):
    """A feed, a list of origins, a whole section."""
    monkeypatch.setenv("TICKER_FEEDS", '[{"type": "simulated", "symbols": ["AAPL"], "name": "mine"}]')
    monkeypatch.setenv("TICKER_SERVER__ORIGINS", '["https://a.example"]')
    monkeypatch.setenv("TICKER_MARKET", '{"timezone": "Europe/Berlin"}')
    monkeypatch.setenv("TICKER_RETENTION__CANDLES__1S", "3h")
    config = load("feeds: []")
    assert [(feed.name, feed.options.symbols) for feed in config.feeds] == [("mine", ["AAPL"])]
    assert config.server.origins == ("https://a.example",)
    assert config.market.timezone == "Europe/Berlin"
    assert config.retention.candles.of("1s") == 3 * UNITS_US["h"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "given.yaml is no YAML: line 1, column 5: expected the node content, but found '<stream end>'"),
        (
            "server:\n\tport: 1",
            r"given.yaml is no YAML: line 2, column 1: found character '\t' that cannot start any token",
        ),
        ("? [a]\n: 1", "given.yaml is no YAML: line 1, column 3: found unhashable key"),
        ("a: b: c", "given.yaml is no YAML: line 1, column 5: mapping values are not allowed here"),
        (
            "a: !!python/object:os.system {}",
            "given.yaml is no YAML: line 1, column 4: could not determine a constructor",
        ),
        ("--- a\n--- b", "given.yaml is no YAML: line 2, column 1: but found another document"),
        ("a: \x00", "given.yaml is no YAML: unacceptable character #x0000"),
        ("- a", f"given.yaml: found a list; allowed: a mapping with {SECTIONS}"),
        ("hello", f"given.yaml: found 'hello'; allowed: a mapping with {SECTIONS}"),
        ("5", "given.yaml: found 5; allowed: a mapping with"),
    ],
)
def test_a_file_that_is_no_yaml_mapping_is_named_with_the_place_in_it(refusal, text, message):
    """Line and column, where YAML knows them."""
    assert message in refusal(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """Not there, a folder, not UTF-8."""
    with pytest.raises(ConfigError, match=r"^nope\.yaml: No such file or directory$"):
        load_config(Path("nope.yaml"))
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(tmp_path)
    Path("bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"^bytes\.yaml is no YAML: 'utf-8' codec can't decode") as caught:
        load_config(Path("bytes.yaml"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "~"])
def test_an_empty_file_is_all_defaults(load, text):
    """Also one of comments."""
    assert load(text).model_dump() == Config().model_dump()


@pytest.mark.parametrize("name", ["TICKER_SERVR__PORT", "TICKER_SERVER_PORT", "TICKER_", "TICKER_PORT", "TICKER_TESTS"])
def test_a_misspelt_section_in_the_environment_is_named(refusal, monkeypatch, name):
    """It would else go unnoticed."""
    monkeypatch.setenv(name, "1")
    said = refusal("")
    assert said.startswith(f"environment: {name} names no section; allowed: TICKER_REDIS, TICKER_SERVER, ")


def test_variables_of_tests_and_of_others_are_let_be(load, monkeypatch):
    """`TICKER_TEST_*` is for the tests; `TICKERS` is somebody else's."""
    monkeypatch.setenv("TICKER_TEST_REDIS_SERVER", "x")
    monkeypatch.setenv("TICKERS", "x")
    monkeypatch.setenv("TICKERX_SERVER__PORT", "1")
    assert load("").server.port == 8000
