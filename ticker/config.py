"""Everything that can be set, as one frozen tree of sections that refuses what it does not know."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializeAsAny, field_validator, model_validator

from feeds.registry import feed_kinds
from ticker.durations import UNITS_US, Duration, EndingDuration, Microseconds
from ticker.limits import LATENESS_S, LIMITS, OUTBOX_BYTES, OUTBOX_MS, Limits
from ticker.redact import passwords_of, without_secrets


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys of a section as they are written."""
    return [field.alias or name for name, field in model.model_fields.items()]


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
        common = [key for key in keys_of(cls) if key != "options"]
        own = {key: given[key] for key in common if key in given}
        rest = {key: value for key, value in given.items() if key not in own}
        # A gateway's worker is given the tree as `model_dump` has it, with the options under a name of their own.
        options = rest["options"] if rest.keys() == {"options"} else rest
        if isinstance(options, dict):
            model = kinds[kind].options
            if unknown := [str(key) for key in options if key not in keys_of(model)]:
                allowed = ", ".join((*common, *keys_of(model)))
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


class ArchiveConfig(_Section):
    """Where what ages out of Redis is kept as Parquet files; without `url`, nothing is."""

    url: str | None = Field(
        None,
        min_length=1,
        description="a folder, or the URL of an object store (`s3://bucket/prefix`, by fsspec); none: off",
    )
    every: EndingDuration = Field(
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
