import pytest

from ticker.limits import Limits

pytestmark = pytest.mark.usefixtures("nowhere")

SECTIONS = "redis, server, ingest, logging, market, feeds, retention, archive, candles, websocket, limits"


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


def test_a_bad_flag_is_told_by_the_place_it_stands_for(refusal):
    """The command line's `--port` is server.port."""
    assert refusal("", server={"port": 500_000}) == "server.port: found 500000; allowed: 65535 or less"


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
