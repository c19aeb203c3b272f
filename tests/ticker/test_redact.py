import pytest

from ticker.redact import Redactor, passwords_of, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:hunter2@host:6379/0 is away", "redis://***@host:6379/0 is away"),
        ("at rediss://:hunter2@host", "at rediss://***@host"),
        ("redis://user:hun/ter2@host", "redis://***@host"),
        ("redis://user:hun@ter2@host", "redis://***@host"),
        ("no host in redis://user:hunter2", "no host in redis://***"),
        ("found 'redis://user:hunter2'; allowed: a mapping", "found 'redis://***'; allowed: a mapping"),
        ("Authorization: Bearer hunter2", "Authorization: ***"),
        ("{'authorization': 'Basic aHVudGVyMg=='}", "{'authorization': '***'}"),
        ("[(b'authorization', b'Bearer hunter2')]", "[(b'authorization', b'***')]"),
        ("GET /v1/stream?key=hunter2&channel=trades", "GET /v1/stream?key=***&channel=trades"),
        (
            "for url 'https://api.example/v2?symbol=A&apikey=hunter2'",
            "for url 'https://api.example/v2?symbol=A&apikey=***'",
        ),
        ('{"password": "hunter2", "port": 1}', '{"password": "***", "port": 1}'),
        ("api_key=hunter2", "api_key=***"),
        ("token=hunter2; secret: hunter2", "token=***; secret: ***"),
    ],
)
def test_secrets_are_hidden_where_they_usually_stand(text, shown):
    """And no more than they."""
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8000/ does not answer",
        "redis://127.0.0.1:16379/2; Ctrl-C stops",
        "see http://[::1]:8000/readyz",
        "(http://host:80), redis://host:6379",
        "unix:///run/valkey.sock",
        "feeds: unknown key colour; allowed: type, name",
        "trades:{AAPL}: passed over a message",
        "who@example.com wrote 12:30:05",
    ],
)
def test_what_is_no_secret_is_left_alone(text):
    """Addresses must stay useful."""
    assert without_secrets(text) == text


def test_known_secrets_are_hidden_wherever_they_stand():
    """Also as an address has them."""
    hide = Redactor(("p@ss/word",))
    assert hide("AUTH default p@ss/word failed; p%40ss%2Fword too") == "AUTH default *** failed; *** too"


def test_a_short_secret_does_not_take_words_with_it():
    """It is hidden in its place only."""
    hide = Redactor(("a",))
    assert hide("a stale feed at redis://u:a@host") == "a stale feed at redis://***@host"


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("redis://user:hunter2@host", ("hunter2",)),
        ("redis://:p%40ss@host", ("p@ss",)),
        ("redis://user@host", ()),
        ("redis://host:6379", ()),
        ("redis://host/0?db=1&password=p%2Fw", ("p/w",)),
        ("redis+sentinel://:hunter2@a:26379,[::1]:26379/main?sentinel_password=other", ("hunter2", "other")),
        ("redis+sentinel://a:26379,b:26379/main?sentinel_username=ann", ()),
        ("embedded", ()),
        ("redis://[", ()),
    ],
)
def test_the_passwords_of_an_address(url, passwords):
    """As servers get them, wherever they stand."""
    assert passwords_of(url) == passwords
