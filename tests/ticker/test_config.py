import json
from pathlib import Path

import pytest

from feeds.registry import BUILT_IN
from ticker.config import Config
from ticker.config_loading import load_config
from ticker.durations import UNITS_US
from ticker.store.address import public_address

pytestmark = pytest.mark.usefixtures("nowhere")

REPOSITORY = Path(__file__).parents[2]


def test_without_file_environment_and_flags_all_is_default():
    """One simulated feed, and what the contract says of the others."""
    config = load_config()
    assert config.model_dump() == Config().model_dump()
    assert [(feed.type, feed.name, feed.trading_hours) for feed in config.feeds] == [
        ("simulated", "simulated", "always")
    ]
    assert (config.redis.url, config.redis.port) == ("embedded", 16379)
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8000)
    assert (config.market.timezone, config.market.calendar) == ("America/New_York", "XNYS")
    assert config.retention.max_len == 1_000_000
    assert config.retention.ticks == UNITS_US["d"]
    assert [config.retention.candles.of(name) for name in ("1s", "1m", "1d")] == [
        2 * UNITS_US["d"],
        UNITS_US["y"],
        None,
    ]
    assert (config.candles.grace_ms, config.candles.lateness_s, config.candles.publish_ms) == (500, 60, 250)
    assert (config.websocket.heartbeat_ms, config.websocket.outbox_bytes) == (10_000, 262_144)


def test_two_feeds_of_one_name_are_refused(refusal, load):
    """Two of one kind are not, as long as each has a name of its own."""
    assert refusal("feeds: [{type: simulated}, {type: simulated}]") == (
        "feeds: two feeds are called 'simulated'; give each its own `name`"
    )
    feeds = load("feeds: [{type: simulated}, {type: simulated, name: other}]").feeds
    assert [feed.name for feed in feeds] == ["simulated", "other"]


def test_a_feeds_options_are_those_of_its_kind(load):
    """What all kinds have stands beside them: name, pace and hours."""
    text = "{type: replay, name: tape, poll_ms: 20, trading_hours: sessions, path: [a.csv, b.csv], speed: max}"
    feed = load(f"feeds: [{text}, {{type: simulated}}]").feeds[0]
    assert (feed.type, feed.name, feed.poll_ms, feed.trading_hours) == ("replay", "tape", 20, "sessions")
    assert isinstance(feed.options, BUILT_IN["replay"].options)
    assert (feed.options.path, feed.options.speed) == (["a.csv", "b.csv"], "max")


FULL = """
redis: {url: embedded, port: 7000, data_dir: ./elsewhere}
server: {host: 0.0.0.0, port: 0, workers: 4, origins: ["https://a.example"]}
market: {timezone: Europe/Berlin, calendar: XETR}
feeds:
  - {type: simulated, symbols: [AAPL, "ON", "NO", "1E5"], seed: -3, ticks_per_s: 2.5, name: a}
  - {type: replay, path: ["x*.csv"], speed: 10, times: now, loop: true, poll_ms: 7, trading_hours: sessions}
retention: {max_len: 5000, ticks: 36h, candles: {1s: 90s, 1m: 2w, 1d: forever}}
candles: {grace_ms: 0, lateness_s: 0}
limits: {connections: 1}
"""


@pytest.mark.parametrize("text", ["", "feeds: []", FULL])
def test_the_configuration_as_yaml_loads_again_to_the_same(load, text):
    """What `ticker config` prints is a config.yaml."""
    config = load(text)
    again = load(config.as_yaml(public_address))
    assert again.model_dump() == config.model_dump()
    assert [type(feed.options) for feed in again.feeds] == [type(feed.options) for feed in config.feeds]


@pytest.mark.parametrize("text", ["", FULL])
def test_the_configuration_as_json_loads_again_to_the_same(load, text):
    """That is how a gateway's workers get it."""
    config = load(text)
    dumped = config.model_dump_json(by_alias=True)
    assert json.loads(dumped)["retention"]["candles"]["1d"] == "forever"
    assert Config.model_validate_json(dumped).model_dump() == config.model_dump()


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:s3cret@store:6380/2",
        "rediss://:s3cret@store",
        "redis://store/0?password=s3cret",
        "nonsense://s3cret",
    ],
)
def test_the_configuration_as_yaml_hides_the_password(load, url):
    """Wherever in the address it stands; a URL without one is shown whole."""
    config = load(f"redis: {{url: '{url}'}}")
    assert config.redis.address == url
    assert "s3cret" not in config.as_yaml(public_address)
    plain = load("redis: {url: 'redis://store:6380/2'}")
    assert load(plain.as_yaml(public_address)).redis.url == "redis://store:6380/2"


def test_the_configuration_does_not_change(load):
    """It is frozen at every level."""
    config = load("")
    for section, key in ((config.server, "port"), (config.retention.candles, "m1"), (config.feeds[0], "name")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(section, key, 1)
    assert config.market.zone.key == "America/New_York"


def test_config_yaml_of_the_repository_states_the_defaults():
    """Copied away, or deleted, it changes nothing."""
    shipped = load_config(REPOSITORY / "config.yaml")
    assert shipped.model_dump() == Config().model_dump()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{every: forever}",
            "archive.every: found 'forever'; allowed: a whole number and one of s m h d w y (as in 1h)",
        ),
        ("{every: 5}", "archive.every: 5 is no duration; allowed: a whole number and one of s m h d w y"),
        ("{url: ''}", "archive.url: found ''; allowed: a text of 1 characters or more"),
    ],
)
def test_an_archive_needs_a_place_and_a_pace(refusal, text, message):
    """Both have defaults: none, and an hour."""
    assert Config().archive.url is None
    assert Config().archive.every_s == 3600
    assert message in refusal(f"archive: {text}")


def test_the_archive_s_address_is_shown_without_its_secret():
    """As that of the store."""
    shown = Config(archive={"url": "s3://key:secretword@bucket/x"}).as_yaml(str)
    assert "secretword" not in shown
    assert "bucket" in shown
