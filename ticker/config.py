"""config.yaml, the environment and the command line's flags into one frozen tree that refuses what it does not know."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from feeds.registry import feed_kinds
from ticker.errors import ConfigError
from ticker.limits import LATENESS_S, LIMITS, OUTBOX_BYTES, OUTBOX_MS, Limits
from ticker.redact import passwords_of, without_secrets

ENV_PREFIX = "TICKER_"
KUBERNETES = re.compile(r"TICKER_(SERVICE_.*|PORT_[0-9]+_.*)")
"""What Kubernetes puts into the environment of every pod beside a service called `ticker`."""
DEFAULT_FILE = Path("config.yaml")

UNITS_US = {"s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6, "w": 7 * 86400 * 10**6}
UNITS_US["y"] = 366 * UNITS_US["d"]
DURATION = re.compile(r"([1-9][0-9]*)([smhdwy])")


class Microseconds(int):
    """A duration that is no text any more; a plain number in config.yaml is none, since it does not say of what."""


def _duration(value: object) -> int | None:
    """`90s`, `15m`, `2h`, `1d`, `3w`, `1y` in microseconds; `forever` is None."""
    if value is None or value == "forever":
        return None
    if isinstance(value, Microseconds):
        return value
    if isinstance(value, str) and (found := DURATION.fullmatch(value)):
        return int(found[1]) * UNITS_US[found[2]]
    raise ValueError(f"{value!r} is no duration; allowed: a whole number and one of s m h d w y (as in 2d), or forever")


def _duration_text(value: int | None) -> str:
    """The inverse of `_duration`, in the largest unit that fits."""
    if value is None:
        return "forever"
    unit = next(name for name in ("y", "w", "d", "h", "m", "s") if value % UNITS_US[name] == 0)
    return f"{value // UNITS_US[unit]}{unit}"


Duration = Annotated[int | None, BeforeValidator(_duration), PlainSerializer(_duration_text)]


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is no time zone; allowed: an IANA name such as America/New_York") from None
    return value


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class RedisConfig(_Section):
    """Where the ticks are kept."""

    url: str = Field("embedded", description="`embedded`, or the URL of a Redis >= 7.0 or Valkey, or of its sentinels")
    port: int = Field(16379, ge=1, le=65535, description="port of the embedded server, on 127.0.0.1")
    data_dir: Path = Field(Path("data"), description="folder of the embedded server's append-only file")

    @property
    def address(self) -> str:
        """The URL that clients use."""
        return f"redis://127.0.0.1:{self.port}" if self.url == "embedded" else self.url


class ServerConfig(_Section):
    """Where REST and the WebSocket are served."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    workers: int = Field(1, ge=1, le=64, description="gateway processes of `ticker serve`")
    origins: tuple[str, ...] = Field(
        (), description="pages that may open the WebSocket and read REST; none: any port of localhost and 127.0.0.1"
    )


class IngestConfig(_Section):
    """Where `ticker ingest` answers /healthz, /readyz and /metrics; `ticker run` does so with everything else."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int | None = Field(
        None, ge=0, le=65535, description="port to listen on; 0 takes a free one; without one nothing is served"
    )


class LoggingConfig(_Section):
    """The log on standard error."""

    format: Literal["auto", "human", "json"] = Field(
        "auto", description="`human` for people, `json` for programs, `auto`: human where standard error is a terminal"
    )
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least that is told")


class MarketConfig(_Section):
    """The time zone in which days begin, and the exchange whose sessions feeds may keep."""

    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        "America/New_York", description="IANA name; a day begins at its midnight"
    )
    calendar: str = Field("XNYS", description="exchange of the sessions of feeds with `trading_hours: sessions`")

    @property
    def zone(self) -> ZoneInfo:
        """The time zone itself."""
        return ZoneInfo(self.timezone)


class FeedConfig(BaseModel):
    """One feed: its kind, its name, how often it is polled, when it is open, and the options of its kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = Field(description="kind of feed")
    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_\-]{0,31}$", description="in logs and metrics; where none is given, the kind"
    )
    poll_ms: int = Field(50, ge=1, le=60_000, description="time between two polls")
    trading_hours: Literal["always", "sessions"] = Field(
        "always", description="when the feed is open: always, or in the sessions of market.calendar"
    )
    silence_s: float | None = Field(
        None,
        gt=0,
        description="how long it may give nothing while it is open before clients hear that it is stale; empty: for ever",
    )
    options: SerializeAsAny[BaseModel]

    @model_validator(mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        if not isinstance(given, dict):
            raise ValueError(f"{given!r} is no feed; expected a mapping with at least `type`")
        kinds = feed_kinds()
        kind = given.get("type")
        if not isinstance(kind, str) or kind not in kinds:
            raise ValueError(f"type {kind!r} is no kind of feed; allowed: {', '.join(sorted(kinds))}")
        common = [key for key in _keys(cls) if key != "options"]
        own = {key: given[key] for key in common if key in given}
        rest = {key: value for key, value in given.items() if key not in own}
        # A gateway's worker is given the tree as `model_dump` has it, with the options under a name of their own.
        options = rest["options"] if rest.keys() == {"options"} else rest
        if isinstance(options, dict):
            model = kinds[kind].options
            if unknown := [str(key) for key in options if key not in _keys(model)]:
                allowed = ", ".join((*common, *_keys(model)))
                raise ValueError(f"unknown key {', '.join(unknown)}; allowed: {allowed}")
            options = model.model_validate(options)
        return {"name": kind} | own | {"options": options}


class CandleRetention(_Section):
    """How long candles of each stored interval are kept; other intervals follow the one they are made of."""

    s1: Duration = Field(Microseconds(2 * UNITS_US["d"]), alias="1s", description="age at which candles of `1s` go")
    m1: Duration = Field(Microseconds(UNITS_US["y"]), alias="1m", description="likewise; `5m` to `4h` are made of them")
    d1: Duration = Field(None, alias="1d", description="likewise; `1w` is made of them")

    def of(self, interval: str) -> int | None:
        """Microseconds, or None for ever."""
        kept: int | None = {"1s": self.s1, "1m": self.m1, "1d": self.d1}[interval]
        return kept


class RetentionConfig(_Section):
    """How much is kept in Redis."""

    max_len: int = Field(1_000_000, ge=1_000, description="entries of one stream (about)")
    ticks: Duration = Field(Microseconds(UNITS_US["d"]), description="age at which ticks leave the streams")
    candles: CandleRetention = CandleRetention()


def _not_for_ever(value: int | None) -> int:
    if value is None:
        raise ValueError("found 'forever'; allowed: a whole number and one of s m h d w y (as in 1h)")
    return value


class ArchiveConfig(_Section):
    """Where what ages out of Redis is kept as Parquet files; without `url`, nothing is."""

    url: str | None = Field(
        None,
        min_length=1,
        description="a folder, or the URL of an object store (`s3://bucket/prefix`, by fsspec); none: off",
    )
    every: Annotated[Duration, AfterValidator(_not_for_ever)] = Field(
        Microseconds(UNITS_US["h"]), description="time between two runs of the job that writes it"
    )

    @property
    def every_s(self) -> float:
        """In seconds."""
        return (self.every or 0) / 1_000_000


class CandleConfig(_Section):
    """When candles close and are shown."""

    grace_ms: int = Field(500, ge=0, le=60_000, description="how long after its end a candle closes")
    lateness_s: int = LATENESS_S
    publish_ms: int = Field(250, ge=10, le=60_000, description="at most one message of a forming candle in this time")


class WebSocketConfig(_Section):
    """How WebSocket clients are kept current."""

    heartbeat_ms: int = Field(10_000, ge=100, le=60_000, description="time between heartbeats")
    outbox_bytes: int = OUTBOX_BYTES
    outbox_ms: int = OUTBOX_MS
    flush_ms: int = Field(0, ge=0, le=1_000, description="time in which messages are collected before they are sent")


class Config(_Section):
    """Everything that can be set, with its defaults."""

    redis: RedisConfig = RedisConfig()
    server: ServerConfig = ServerConfig()
    ingest: IngestConfig = IngestConfig()
    logging: LoggingConfig = LoggingConfig()
    market: MarketConfig = MarketConfig()
    feeds: tuple[FeedConfig, ...] = Field(default_factory=lambda: (FeedConfig.model_validate({"type": "simulated"}),))
    retention: RetentionConfig = RetentionConfig()
    archive: ArchiveConfig = ArchiveConfig()
    candles: CandleConfig = CandleConfig()
    websocket: WebSocketConfig = WebSocketConfig()
    limits: Limits = Limits()

    @field_validator("feeds")
    @classmethod
    def _named_once(cls, feeds: tuple[FeedConfig, ...]) -> tuple[FeedConfig, ...]:
        names = [feed.name for feed in feeds]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two feeds are called {name!r}; give each its own `name`")
        return feeds

    @property
    def log_options(self) -> dict[str, Any]:
        """What `logs.set_up` is told."""
        return {
            "shape": self.logging.format,
            "level": self.logging.level,
            "lines_per_minute": self.limits.log_lines_per_minute,
            "secrets": passwords_of(self.redis.url),
        }

    def limits_in_force(self, *, loopback: bool) -> dict[str, int | None]:
        """The value of every limit for one caller; None where it does not hold for those of this machine."""

        def value(setting: str) -> int | None:
            section, _, key = setting.partition(".")
            found: int = getattr(getattr(self, section), key)
            return found

        return {
            row.name: None
            if loopback and row.per == "address" and row.name not in self.limits.model_fields_set
            else value(row.setting)
            for row in LIMITS.values()
        }

    def as_yaml(self, show_url: Callable[[str], str]) -> str:
        """The configuration in force as YAML; `show_url` takes the secrets out of an address."""
        tree = self.model_dump(mode="json", by_alias=True)
        tree["redis"]["url"] = "embedded" if self.redis.url == "embedded" else show_url(self.redis.url)
        if self.archive.url:
            tree["archive"]["url"] = without_secrets(self.archive.url)
        tree["feeds"] = [
            {key: feed[key] for key in feed if key != "options"} | feed["options"] for feed in tree["feeds"]
        ]
        text: str = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=110)
        return text


def load_config(file: Path | None = None, flags: dict[str, Any] | None = None) -> Config:
    """The configuration in force: flags over the environment (`TICKER_SERVER__PORT=8001`) over the file over defaults.

    Without `file`, `./config.yaml` is read where there is one. Raises `ConfigError` with a line for each mistake.
    """
    given = _read(file)

    class Loaded(Config, BaseSettings):
        model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter="__")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, _Environment(settings_cls), InitSettingsSource(settings_cls, given)

    _check_environment()
    try:
        return Loaded(**(flags or {}))
    except ValidationError as error:
        raise ConfigError(without_secrets("; ".join(_line(one) for one in error.errors()))) from None


class _Environment(EnvSettingsSource):
    """The environment, where lists and mappings are given as JSON."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """What is no JSON stays a text, so that it is refused like any other bad value: by the name of its key."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def _read(file: Path | None) -> dict[str, Any]:
    """The mapping in the YAML file."""
    path = file or DEFAULT_FILE
    if file is None and not path.exists():
        return {}
    try:
        tree = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {_yaml_mistake(error)}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: found {_shown(tree)}; allowed: {_a_mapping(Config)}")
    if unknown := [repr(key) for key in tree if not isinstance(key, str)]:
        raise ConfigError(f"{path}: unknown key {', '.join(unknown)}; allowed: {', '.join(_keys(Config))}")
    return tree


def _yaml_mistake(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def _check_environment() -> None:
    """Refuse a misspelt section in the environment, which would else go unnoticed."""
    for name, value in os.environ.items():
        if KUBERNETES.fullmatch(name) or value.startswith("tcp://"):
            continue
        section = name.removeprefix(ENV_PREFIX).split("__")[0].lower()
        if name.startswith(ENV_PREFIX) and section not in Config.model_fields and section.split("_")[0] != "test":
            allowed = ", ".join(f"{ENV_PREFIX}{key.upper()}" for key in Config.model_fields)
            raise ConfigError(f"environment: {name} names no section; allowed: {allowed} (then __ and the key)")


ALLOWED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "path_type": "a path",
    "tuple_type": "a list (in the environment: as JSON)",
    "list_type": "a list (in the environment: as JSON)",
    "dict_type": "a mapping",
    "literal_error": "{expected}",
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "string_too_short": "a text of {min_length} characters or more",
    "string_pattern_mismatch": "a text of the form {pattern}",
}
"""What a setting may be, in our words, by the kind of mistake in pydantic's."""


def _line(error: Any) -> str:
    """One mistake: where it is, what was found, what is allowed."""
    where = ".".join(str(part) for part in error["loc"]) or "config"
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return f"{where}: {context['error']}"
    if kind == "missing":
        return f"{where} is missing"
    if kind == "extra_forbidden":
        beside = _model_at(error["loc"][:-1])
        return f"{where}: unknown key" + (f"; allowed: {', '.join(_keys(beside))}" if beside else "")
    if kind == "model_type":
        allowed = _a_mapping(_model_at(error["loc"]))
    elif kind in ALLOWED:
        allowed = ALLOWED[kind].format_map(context)
    else:
        return f"{where}: {error['msg']}, found {_shown(error['input'])}"
    return f"{where}: found {_shown(error['input'])}; allowed: {allowed}"


def _shown(found: object) -> str:
    """What was found, in one short piece."""
    if found is None:
        return "nothing"
    if isinstance(found, dict):
        return "a mapping"
    # What a cut leaves of a secret would not look like one any more.
    return "a list" if isinstance(found, (list, tuple)) else without_secrets(repr(found))[:80]


def _a_mapping(model: type[BaseModel] | None) -> str:
    return f"a mapping with {', '.join(_keys(model))}" if model else "a mapping"


def _keys(model: type[BaseModel]) -> list[str]:
    """The keys of a section as they are written."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The section at a place in the tree."""
    model: type[BaseModel] = Config
    for part in loc:
        field = model.model_fields.get(str(part))
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return None
        model = kind
    return model if model is not BaseModel else None
