import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.registry import BUILT_IN
from ticker.config import ENV_PREFIX, UNITS_US, Config, load_config
from ticker.errors import ConfigError
from ticker.limits import Limits
from ticker.store.address import public_address

REPOSITORY = Path(__file__).parents[2]
SECTIONS = "redis, server, ingest, logging, market, feeds, retention, archive, candles, websocket, limits"
DURATIONS = "a whole number and one of s m h d w y (as in 2d), or forever"


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """An empty folder and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def load(tmp_path):
    """Loads a configuration from the text of its file."""

    def load(text: str, **flags: object) -> Config:
        path = tmp_path / "given.yaml"
        path.write_text(text, "utf-8")
        return load_config(path, flags)

    return load


@pytest.fixture
def refusal(load):
    """What is said of a configuration that is refused: always one line."""

    def refusal(text: str, **flags: object) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text, **flags)
        said = str(caught.value)
        assert said
        assert "\n" not in said
        assert "pydantic" not in said
        return said

    return refusal


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
        ("servr: {port: 1}", f"servr: unknown key; allowed: {SECTIONS}"),
        ("server: {prt: 1}", "server.prt: unknown key; allowed: host, port, workers, origins"),
        ("retention: {candles: {5m: 1d}}", "retention.candles.5m: unknown key; allowed: 1s, 1m, 1d"),
        ("retention: {candles: {m1: 1d}}", "retention.candles.m1: unknown key; allowed: 1s, 1m, 1d"),
        ("limits: {foo: 1}", f"limits.foo: unknown key; allowed: {', '.join(Limits.model_fields)}"),
        ("1: 2", f"given.yaml: unknown key 1; allowed: {SECTIONS}"),
        ("true: {}", f"given.yaml: unknown key True; allowed: {SECTIONS}"),
        (
            "feeds: [{type: simulated, symbls: 5}]",
            "feeds.0: unknown key symbls; allowed: type, name, poll_ms, trading_hours, silence_s, symbols, seed, ticks_per_s, "
            "history_days, history_years",
        ),
        (
            "feeds: [{type: simulated, name: a}, {type: replay, path: x, sped: 1}]",
            "feeds.1: unknown key sped; allowed: type, name, poll_ms, trading_hours, silence_s, path, speed, times, loop",
        ),
        ("feeds: [{type: simulated, options: {seed: 1}, seed: 2}]", "feeds.0: unknown key options; allowed: type,"),
    ],
)
def test_an_unknown_key_is_named_with_what_is_allowed_beside_it(refusal, text, message):
    """At every level."""
    assert message in refusal(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: {port: abc}", "server.port: found 'abc'; allowed: a whole number"),
        ("server: {port: 99999}", "server.port: found 99999; allowed: 65535 or less"),
        ("server: {port: -1}", "server.port: found -1; allowed: 0 or more"),
        ("server: {port: 8000.5}", "server.port: found 8000.5; allowed: a whole number"),
        ("server: {port: }", "server.port: found nothing; allowed: a whole number"),
        ("server: {port: [1]}", "server.port: found a list; allowed: a whole number"),
        ("server: {port: {a: 1}}", "server.port: found a mapping; allowed: a whole number"),
        ('server: {port: "a\\nb"}', r"server.port: found 'a\nb'; allowed: a whole number"),
        ("server:", "server: found nothing; allowed: a mapping with host, port, workers, origins"),
        ("server: hi", "server: found 'hi'; allowed: a mapping with host, port, workers, origins"),
        ("server: [1]", "server: found a list; allowed: a mapping with host, port, workers, origins"),
        ("server: {host: 5}", "server.host: found 5; allowed: a text"),
        ("server: {workers: 0}", "server.workers: found 0; allowed: 1 or more"),
        ("server: {origins: http://x}", "server.origins: found 'http://x'; allowed: a list"),
        ("server: {origins: [1]}", "server.origins.0: found 1; allowed: a text"),
        ("redis: {data_dir: 5}", "redis.data_dir: found 5; allowed: a path"),
        ("retention: {max_len: 10}", "retention.max_len: found 10; allowed: 1000 or more"),
        ("limits: {connections: 0}", "limits.connections: found 0; allowed: 1 or more"),
        ("market: {timezone: Mars/X}", "market.timezone: 'Mars/X' is no time zone; allowed: an IANA name"),
        ("market: {timezone: /etc/passwd}", "market.timezone: '/etc/passwd' is no time zone"),
        ("market: {timezone: ''}", "market.timezone: '' is no time zone"),
        ("market: {timezone: America}", "market.timezone: 'America' is no time zone"),
        ("market: {timezone: 5}", "market.timezone: found 5; allowed: a text"),
        ("feeds:", "feeds: found nothing; allowed: a list"),
        ("feeds: {type: simulated}", "feeds: found a mapping; allowed: a list"),
    ],
)
def test_a_bad_value_is_shown_with_what_is_allowed(refusal, text, message):
    """In words of ours, at its place."""
    assert message in refusal(text)


def test_every_mistake_is_named_at_once(refusal):
    """So that nobody has to start five times."""
    said = refusal("server: {port: x, prt: 2}\nfoo: 1")
    assert "server.port: found 'x'" in said
    assert "server.prt: unknown key" in said
    assert "foo: unknown key" in said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("5", "5"),
        ("5 days", "'5 days'"),
        ("0d", "'0d'"),
        ("-1d", "'-1d'"),
        ("1.5h", "'1.5h'"),
        ("1D", "'1D'"),
        ("1dx", "'1dx'"),
        ("d", "'d'"),
        ("''", "''"),
        ("true", "True"),
        ("[1d]", "['1d']"),
        ("never", "'never'"),
        ('"1d\\n"', r"'1d\n'"),
    ],
)
def test_what_is_no_duration_is_refused(refusal, text, found):
    """A number without a unit too: it does not say of what."""
    assert refusal(f"retention: {{ticks: {text}}}") == f"retention.ticks: {found} is no duration; allowed: {DURATIONS}"
    assert refusal(f"retention: {{candles: {{1s: {text}}}}}").startswith(
        f"retention.candles.1s: {found} is no duration"
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h", 7_200),
        ("1d", 86_400),
        ("3w", 1_814_400),
        ("1y", 366 * 86_400),
        ("forever", None),
    ],
)
def test_durations_are_microseconds(load, text, seconds):
    """Or None, for ever."""
    assert load(f"retention: {{ticks: {text}}}").retention.ticks == (seconds and seconds * 1_000_000)


@given(st.integers(1, 5_000), st.sampled_from(list(UNITS_US)))
def test_a_duration_is_shown_as_one_that_means_the_same(count, unit):
    """In whichever unit fits best."""
    config = Config.model_validate({"retention": {"ticks": f"{count}{unit}"}})
    shown = config.model_dump(mode="json")["retention"]["ticks"]
    assert Config.model_validate({"retention": {"ticks": shown}}).retention.ticks == count * UNITS_US[unit]


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


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        ("simulated", "feeds.0: 'simulated' is no feed; expected a mapping with at least `type`"),
        ("{symbols: 5}", "feeds.0: type None is no kind of feed; allowed: replay, simulated"),
        ("{type: bloomberg}", "feeds.0: type 'bloomberg' is no kind of feed; allowed: replay, simulated"),
        ("{type: [simulated]}", "feeds.0: type ['simulated'] is no kind of feed; allowed: replay, simulated"),
        ("{type: {a: b}}", "feeds.0: type {'a': 'b'} is no kind of feed; allowed: replay, simulated"),
        ("{type: simulated, poll_ms: 0}", "feeds.0.poll_ms: found 0; allowed: 1 or more"),
        ("{type: simulated, name: Foo Bar}", "feeds.0.name: found 'Foo Bar'; allowed: a text of the form "),
        ("{type: simulated, symbols: -1}", "feeds.0.symbols: found -1 symbols; allowed: "),
        ("{type: simulated, seed: x}", "feeds.0.seed: found 'x'; allowed: a whole number"),
        ("{type: simulated, ticks_per_s: 0}", "feeds.0.ticks_per_s: found 0; allowed: more than 0.0"),
        ("{type: simulated, ticks_per_s: x}", "feeds.0.ticks_per_s: found 'x'; allowed: a number"),
        (
            "{type: simulated, trading_hours: XNYS}",
            "feeds.0.trading_hours: found 'XNYS'; allowed: 'always' or 'sessions'",
        ),
        ("{type: simulated, trading_hours: }", "feeds.0.trading_hours: found nothing; allowed: 'always' or 'sessions'"),
        ("{type: simulated, options: hi}", "feeds.0.options: found 'hi'; allowed: a mapping"),
        ("{type: replay}", "feeds.0.path is missing"),
        ("{type: replay, path: x, speed: fast}", "feeds.0.speed: found 'fast'; allowed: a number above 0, or max"),
        ("{type: replay, path: x, times: later}", "feeds.0.times: found 'later'; allowed: 'keep' or 'now'"),
        ("{type: replay, path: x, loop: maybe}", "feeds.0.loop: found 'maybe'; allowed: true or false"),
    ],
)
def test_a_bad_feed_is_named_by_its_place(refusal, feed, message):
    """With what is wrong about it."""
    assert message in refusal(f"feeds: [{feed}]")


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


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TICKER_SERVER__PRT", "2", "server.prt: unknown key; allowed: host, port, workers, origins"),
        ("TICKER_SERVER__PORT", "x", "server.port: found 'x'; allowed: a whole number"),
        ("TICKER_SERVER__PORT", "", "server.port: found ''; allowed: a whole number"),
        ("TICKER_SERVER__PORT__X", "1", "server.port: found a mapping; allowed: a whole number"),
        ("TICKER_SERVER", "5", "server: found 5; allowed: a mapping with host, port, workers, origins"),
        ("TICKER_SERVER", "hi", "server: found 'hi'; allowed: a mapping with host, port, workers, origins"),
        (
            "TICKER_SERVER__ORIGINS",
            "http://a",
            "server.origins: found 'http://a'; allowed: a list (in the environment: as JSON)",
        ),
        ("TICKER_FEEDS", "simulated", "feeds: found 'simulated'; allowed: a list (in the environment: as JSON)"),
        ("TICKER_FEEDS", '[{"type": "x"}]', "feeds.0: type 'x' is no kind of feed"),
        ("TICKER_RETENTION__TICKS", "5", "retention.ticks: '5' is no duration"),
    ],
)
def test_a_mistake_in_the_environment_is_told_like_one_in_the_file(refusal, monkeypatch, name, value, message):
    """By the place in the tree."""
    monkeypatch.setenv(name, value)
    assert message in refusal("")


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


def test_a_bad_flag_is_told_by_the_place_it_stands_for(refusal):
    """The command line's `--port` is server.port."""
    assert refusal("", server={"port": 500_000}) == "server.port: found 500000; allowed: 65535 or less"


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
