"""Options that several commands have, and the configuration with a command's flags in it."""

from pathlib import Path
from typing import Any

import click

from ticker import logs
from ticker.config import Config
from ticker.config_loading import load_config

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="Configuration file [default: ./config.yaml, if there].",
)
redis_option = click.option("--redis-url", help="Redis or Valkey URL, or `embedded` [default: redis.url].")
host_option = click.option("--host", help="Address to listen on [default: server.host].")
url_option = click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The gateway.")
restored_option = click.option(
    "--restored",
    is_flag=True,
    help="The store was put back to an earlier copy: begin new epochs, as clients may have seen later numbers.",
)
port_option = click.option("--port", type=int, help="Port to listen on [default: server.port].")


def configured(file: Path | None, *, redis_url: str | None = None, **server: Any) -> Config:
    """The configuration with a command's flags in it."""
    given = {name: value for name, value in server.items() if value is not None}
    flags: dict[str, Any] = {"server": given} if given else {}
    if redis_url:
        flags["redis"] = {"url": redis_url}
    config = load_config(file, flags)
    logs.set_up(**config.log_options)
    return config
