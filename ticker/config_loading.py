"""config.yaml, the environment and the command line's flags into one `Config`."""

import os
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ticker.config import Config, keys_of
from ticker.config_mistakes import a_mapping, in_words, shown
from ticker.errors import ConfigError
from ticker.redact import without_secrets

ENV_PREFIX = "TICKER_"
KUBERNETES = re.compile(r"TICKER_(SERVICE_.*|PORT_[0-9]+_.*)")
"""What Kubernetes puts into the environment of every pod beside a service called `ticker`."""
DEFAULT_FILE = Path("config.yaml")


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
        raise ConfigError(without_secrets("; ".join(in_words(one) for one in error.errors()))) from None


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
        raise ConfigError(f"{path}: found {shown(tree)}; allowed: {a_mapping(Config)}")
    if unknown := [repr(key) for key in tree if not isinstance(key, str)]:
        raise ConfigError(f"{path}: unknown key {', '.join(unknown)}; allowed: {', '.join(keys_of(Config))}")
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
