"""Reads `redis.url`: which forms it has, what may stand in each, and what of it may be shown."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from redis.asyncio import SSLConnection
from redis.asyncio.connection import parse_url

from ticker.errors import ConfigError
from ticker.places import host_and_port

DEFAULT_PORT = 6379
SENTINEL_PORT = 26379
_ESCAPE = "in a password, write / ? # @ : % as %2F %3F %23 %40 %3A %25"
_BEHIND_SENTINELS = "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB"
EXPECTED = (
    "redis://HOST:PORT/DB, rediss://HOST:PORT/DB (TLS), unix:///PATH, "
    f"{_BEHIND_SENTINELS} (with TLS rediss+sentinel), or embedded"
)

_LOGIN = frozenset({"db", "username", "password"})
_TLS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
_SENTINEL_LOGIN = frozenset({"sentinel_username", "sentinel_password"})
QUERY = {
    "redis": _LOGIN,
    "rediss": _LOGIN | _TLS,
    "unix": _LOGIN,
    "redis+sentinel": _LOGIN | _SENTINEL_LOGIN,
    "rediss+sentinel": _LOGIN | _SENTINEL_LOGIN | _TLS,
}
"""What may stand behind the `?` of a URL. All else would override what `connect` sets, or fail at the first command."""

_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@,\s]+))(?::(?P<port>[0-9]{1,5}))?")
_SERVICE = re.compile(r"[A-Za-z0-9._\-]+")
"""What Sentinel allows as the name of what it watches."""

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Address:
    """A `redis.url` that makes sense."""

    options: dict[str, Any] = field(repr=False)
    """What redis-py makes of it: place, login, database, TLS; without a place where sentinels tell it."""
    sentinels: tuple[Place, ...] = ()
    service: str = ""
    """What the sentinels call the servers that they watch."""
    sentinel_login: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_tls(self) -> bool:
        """Whether it is spoken to over TLS, sentinels included."""
        return is_tls(self.options.get("connection_class"))

    @property
    def shown(self) -> str:
        """The URL without user, password and options."""
        if not self.sentinels:
            return shown(self.options, tls=self.is_tls)
        hosts = ",".join(host_and_port(*place) for place in self.sentinels)
        return f"{'rediss' if self.is_tls else 'redis'}+sentinel://{hosts}/{self.service}{_database(self.options)}"


def read_address(url: str) -> Address:
    """What a URL says, once nothing in it can surprise; raises `ConfigError`."""
    # No message quotes the URL: where a password holds an unescaped `/`, `?` or `#`, any part of it may be secret.
    scheme, found, rest = url.partition("://")
    if scheme not in QUERY:
        raise ConfigError(_unknown_scheme(scheme if found else ""))
    if scheme.endswith("+sentinel"):
        return _behind_sentinels(scheme, rest)
    try:
        parts = urlsplit(url)
        # Reading it is what checks it.
        _ = parts.port
    except ValueError:
        raise ConfigError(f"redis.url: host and port cannot be read; {_ESCAPE}; expected {EXPECTED}") from None
    _check_place(parts)
    return Address(_options(url, scheme, parts.query))


def public_address(url: str) -> str:
    """The URL without user, password and options, fit for logs; of one that makes no sense, nothing but the scheme."""
    try:
        return read_address(url).shown
    except ConfigError:
        scheme = url.partition("://")[0]
        return f"{scheme}://***" if scheme in QUERY else "***"


def shown(options: Mapping[str, Any], *, tls: bool) -> str:
    """The URL of one server, without secrets, from what redis-py makes of it."""
    database = _database(options)
    if "path" in options:
        return f"unix://{options['path']}{database and '?db=' + database[1:]}"
    place = host_and_port(options.get("host", "localhost"), options.get("port", DEFAULT_PORT))
    return f"{'rediss' if tls else 'redis'}://{place}{database}"


def _database(options: Mapping[str, Any]) -> str:
    return f"/{options['db']}" if options.get("db") else ""


def is_tls(connection_class: object) -> bool:
    """Whether connections of this class speak TLS."""
    return isinstance(connection_class, type) and issubclass(connection_class, SSLConnection)


def _unknown_scheme(scheme: str) -> str:
    if "cluster" in scheme and scheme.replace("+", "").replace("-", "").isalnum():
        return f"redis.url: a Redis Cluster ({scheme}://) is not supported by this version; expected {EXPECTED}"
    shown_scheme = f"the scheme {scheme!r}" if scheme.replace("+", "").isalnum() else "no scheme"
    return f"redis.url has {shown_scheme}; expected {EXPECTED}"


def _options(url: str, scheme: str, query: str) -> dict[str, Any]:
    if parse_qs(query, keep_blank_values=True).keys() - QUERY[scheme]:
        allowed = ", ".join(sorted(QUERY[scheme]))
        raise ConfigError(f"redis.url has options behind '?' that are not known; allowed for {scheme}: {allowed}")
    try:
        return dict(parse_url(url))
    except ValueError as error:
        raise ConfigError(f"redis.url: {error}") from None


def _check_place(parts: SplitResult) -> None:
    """Host and database, or path: what redis-py would fill in by a guess."""
    if parts.scheme == "unix":
        if len(parts.path) < 2 or "@" in parts.path or parts.hostname:
            raise ConfigError(f"redis.url names no socket; {_ESCAPE}; expected unix:///PATH (three slashes)")
        return
    if not parts.hostname:
        raise ConfigError(f"redis.url names no host; expected {parts.scheme}://HOST:PORT/DB")
    if not re.fullmatch(r"/?[0-9]*", parts.path) or parts.fragment or "@" in parts.query:
        raise ConfigError(
            f"redis.url: what follows host and port is no number of a database; {_ESCAPE}; "
            f"expected {parts.scheme}://HOST:PORT/DB"
        )


def _behind_sentinels(scheme: str, rest: str) -> Address:
    """Several hosts in one URL are beyond what `urlsplit` can read, so they are taken out first."""
    expected = f"expected {scheme}{_BEHIND_SENTINELS.removeprefix('redis+sentinel')}"
    place, query = re.split(r"\?", rest, maxsplit=1) if "?" in rest else (rest, "")
    before, _, path = place.partition("/")
    login, at, hosts = before.rpartition("@")
    sentinels = tuple(_sentinel(host, expected) for host in hosts.split(","))
    service, _, database = path.partition("/")
    if not service:
        raise ConfigError(f"redis.url does not say what the sentinels watch (as in /mymaster); {expected}")
    if not _SERVICE.fullmatch(service) or not re.fullmatch(r"[0-9]*", database) or re.search("[@#]", query):
        raise ConfigError(f"redis.url: what follows the sentinels is no service and number; {_ESCAPE}; {expected}")
    options = _options(f"{scheme.removesuffix('+sentinel')}://{login}{at}sentinels/{database}?{query}", scheme, query)
    # The sentinels tell host and port.
    options.pop("host", None)
    logins = {name.removeprefix("sentinel_"): options.pop(name) for name in _SENTINEL_LOGIN if name in options}
    return Address(options, sentinels, service, logins)


def _sentinel(text: str, expected: str) -> Place:
    found = _HOST.fullmatch(text)
    port = int(found["port"] or SENTINEL_PORT) if found else 0
    if not found or not 0 < port < 65536:
        raise ConfigError(f"redis.url: the hosts and ports of the sentinels cannot be read; {_ESCAPE}; {expected}")
    return found["v6"] or found["name"], port
