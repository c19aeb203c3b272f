"""Every setting, limit, route, parameter, command, metric, code, message and key stands in the docs, by reading the code."""

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from pydantic import BaseModel, Field
from starlette.routing import BaseRoute, Route, WebSocketRoute

from feeds.registry import BUILT_IN, FeedKind
from ticker import client, codes, metrics
from ticker.app import create_app
from ticker.cli import cli
from ticker.config import Config, FeedConfig
from ticker.config_loading import load_config
from ticker.errors import ConfigError
from ticker.feed_state import FeedState
from ticker.limits import LIMITS
from ticker.store import keys
from ticker.web import message_schemas, messages, stream, subscriptions
from ticker.web.operations import OPERATIONS, Operation, Parameter

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
CONFIG_LINES_MAX = 50
"""Of config.yaml: what people change, not everything there is."""


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def missing(names: Iterable[object], text: str) -> list[str]:
    """The names that do not stand in the text as code: by themselves, or at the beginning of a piece of code."""
    pieces = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^\| `?([^`|]+)`? \|", text, re.MULTILINE)
    words = {word for piece in pieces for word in (piece, *re.split(r"[\s,]+", piece))}
    return [str(name) for name in names if str(name) not in words]


def test_a_name_that_is_not_there_is_found() -> None:
    """Neither prose nor a longer name makes up for it."""
    text = "`server.port` and `a b` and prose\n| `x.y` | z |"
    assert missing(["server.port", "a", "b", "x.y"], text) == []
    assert missing(["server", "port", "prose", "server.ports"], text) == ["server", "port", "prose", "server.ports"]


# What the code has


def settings(model: type[BaseModel], path: str = "") -> list[str]:
    """The path of every setting of a section and the sections in it."""
    found = []
    for name, field in model.model_fields.items():
        place, inner = f"{path}{field.alias or name}", field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += settings(inner, f"{place}.")
        else:
            found.append(place)
    return found


def feed_settings(kinds: Mapping[str, FeedKind]) -> list[str]:
    own = [name for name in FeedConfig.model_fields if name != "options"]
    return [*own, *(name for kind in kinds.values() for name in kind.options.model_fields)]


def paths(routes: Iterable[BaseRoute]) -> list[str]:
    return [getattr(route, "path", "") or "/" for route in routes]


def parameters(operations: Iterable[Operation]) -> set[str]:
    """What REST accepts behind the `?`."""
    return {name for operation in operations for name in operation.parameters}


def every_command(group: click.Group, before: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found |= every_command(command, f"{name} ") if isinstance(command, click.Group) else {before + name: command}
    return found


def options(group: click.Group) -> list[str]:
    return [
        option
        for command in every_command(group).values()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("-")
    ]


def types_of(source: str) -> set[str]:
    """The types of the messages that a source makes."""
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    made = [n for n in calls if getattr(n.func, "attr", getattr(n.func, "id", "")) == "message" and n.args]
    return {n.args[0].value for n in made if isinstance(n.args[0], ast.Constant)}


OTHER_TYPES = {"trade", "quote", "candle", "gap", "reset", "service"}
"""Made where no WebSocket is in sight: codec, relay and service."""


def public_keys(module: ModuleType) -> list[str]:
    """Keys and channels, of the symbol AAPL, that are not private."""
    found = [value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)]
    for _, function in inspect.getmembers(module, inspect.isfunction):
        if list(inspect.signature(function).parameters) == ["symbol"]:
            found.append(function("AAPL"))
    return [name for name in found if not name.startswith("ticker:")]


# That it stands in the docs


def test_every_setting_and_limit_is_documented() -> None:
    """With its name in the environment."""
    text = page("configuration.md")
    names = [name for name in settings(Config) if name != "feeds"]
    assert len(names) > 20
    assert missing(names, text) == []
    assert missing([f"TICKER_{name.upper().replace('.', '__')}" for name in names], text) == []
    assert missing(feed_settings(BUILT_IN), text) == []
    assert missing([row.setting for row in LIMITS.values()], text) == []


def test_every_setting_is_heard_under_its_name_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be is refused by the name of the setting; what may be any text is in force."""
    for name in (name for name in settings(Config) if name != "feeds"):
        with monkeypatch.context() as environment:
            environment.setenv(f"TICKER_{name.upper().replace('.', '__')}", "[!")
            assert in_force(name) == "[!" or name in in_force(name)


def in_force(name: str) -> str:
    """A setting as it is loaded, or why it is not."""
    try:
        found: Any = load_config().model_dump(by_alias=True)
    except ConfigError as error:
        return str(error)
    for part in name.split("."):
        found = found[part]
    return str(found)


def test_every_path_is_documented() -> None:
    """In the table of REST, or on the page of the WebSocket."""
    routes = create_app(Config()).routes
    found = [path for path in paths(routes) if path != "/page"]
    assert "/v1/candles/{symbol}" in found
    text = page("rest.md") + page("websocket.md")
    assert missing(found, text) == []
    assert "/page" in text


def test_every_parameter_is_documented() -> None:
    """Those of REST, and the fields of requests."""
    found = parameters(OPERATIONS.values())
    assert found >= {"interval", "start", "symbols", "query", "forming", "fill"}
    assert missing(sorted(found), page("rest.md")) == []
    fields = set().union(*messages.FIELDS.values())
    assert missing(sorted(fields), page("websocket.md")) == []


def test_every_message_is_documented() -> None:
    """Operations, channels and what is answered."""
    text = page("websocket.md")
    sources = [Path(str(module.__file__)).read_text("utf-8") for module in (stream, subscriptions, messages)]
    types = OTHER_TYPES.union(*map(types_of, sources))
    assert {"welcome", "subscribed", "pong", "error"} <= types
    assert missing([*messages.FIELDS, *messages.CHANNELS, *sorted(types)], text) == []
    assert types | {"slow"} == set(message_schemas.EVENTS)


def test_every_command_and_option_is_documented() -> None:
    """In commands.md, which is made of their help."""
    text = page("commands.md")
    assert "archive now" in every_command(cli)
    assert missing([f"ticker {name} {' '.join(usage(name))}" for name in every_command(cli)], text) == []
    assert missing(options(cli), text) == []


def test_every_name_of_the_client_is_documented() -> None:
    """And what its calls take."""
    calls = (client.connect, *(getattr(client.Market, name) for name in vars(client.Market) if name[0] != "_"))
    taken = {name for call in calls for name in inspect.signature(call).parameters} - {"self", "url"}
    assert {"resume", "as_", "first_wait_s", "on_notice"} <= taken
    text = page("client.md")
    assert missing([*client.__all__, *sorted(taken)], re.sub(r"[(),]", " ", text)) == []
    assert {name for name in client.__all__ if name.islower()} == {"connect"}


def usage(name: str) -> list[str]:
    command = every_command(cli)[name]
    return command.collect_usage_pieces(click.Context(command))


def test_every_metric_is_documented() -> None:
    """Under the name that a scrape gives it."""
    names = [row.name for row in metrics.DOCUMENTED]
    assert "ticker_ticks_appended_total" in names
    assert missing(names, page("metrics.md")) == []
    scraped = re.findall(r"^# TYPE (\S+)", metrics.exposition().decode(), re.MULTILINE)
    assert set(scraped) <= set(names)


@pytest.mark.parametrize("table", ["PROBLEMS", "WEBSOCKET_ERRORS", "CLOSES", "GAPS", "STALE", "EXITS"])
def test_every_code_is_documented(table: str) -> None:
    """Errors, close codes, reasons and exit codes."""
    assert missing(getattr(codes, table), page("errors.md")) == []


def test_every_state_of_a_feed_is_documented() -> None:
    """Where `/readyz` is told of."""
    assert missing([state.value for state in FeedState], page("operations.md")) == []


def test_every_key_is_documented() -> None:
    """Those that tappers may read."""
    found = public_keys(keys)
    assert {"symbols", "trades:{AAPL}", "epoch:{AAPL}"} <= set(found)
    assert missing(found, page("streams.md")) == []


def test_config_yaml_holds_what_people_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is accepted, and short enough to be read."""
    monkeypatch.chdir(REPOSITORY)
    assert load_config(REPOSITORY / "config.yaml").feeds
    assert len((REPOSITORY / "config.yaml").read_text("utf-8").splitlines()) <= CONFIG_LINES_MAX


# That what is generated is what the code says


@pytest.fixture(scope="module")
def generate() -> Any:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_parts_are_up_to_date(generate: Any) -> None:
    """Else: make docs."""
    pages = generate.pages(DOCS)
    assert [path.name for path, (text, wanted) in pages.items() if text != wanted] == []
    used = {name for text, _ in pages.values() for name in re.findall(r"<!-- generated: (\S+) -->", text)}
    assert used == set(generate.PARTS)


def test_a_stale_part_is_found_and_mended(generate: Any, tmp_path: Path) -> None:
    """Whatever stood there; what stands around it stays."""
    (tmp_path / "page.md").write_text("before\n<!-- generated: exits -->\nold\n<!-- end -->\nafter\n")
    ((text, wanted),) = generate.pages(tmp_path).values()
    assert text != wanted
    assert wanted.startswith("before\n<!-- generated: exits -->\n")
    assert wanted.endswith("<!-- end -->\nafter\n")
    assert "`2`" in wanted
    assert "old" not in wanted
    assert generate.fill(wanted, generate.PARTS) == wanted


def test_a_setting_without_a_description_is_refused(generate: Any) -> None:
    """There would be nothing to say of it."""

    class Bare(BaseModel):
        """A section."""

        colour: str = "red"

    with pytest.raises(ValueError, match=r"bare\.colour has no description"):
        list(generate._rows("bare", Bare, {"colour": "red"}))


def test_what_polling_costs_is_what_was_measured(generate: Any) -> None:
    """Multiples of the subscription's row; without that row there is nothing to compare with."""
    head = "| way | bytes a second | x | server CPU | client CPU | staleness p50 | p99 | trades seen |\n|---|---|\n"
    row = "| polling every 1 s | 13,400 | 5.5 | 5.6 ms/s | 1.0 ms/s | 530 ms | 1,027 ms | 62 % |\n"
    base = "| subscription | 2,680 | 1.0 | 1.4 ms/s | 2.0 ms/s | 53 ms | 65 ms | 100 % |\n"
    made = generate.polling(head + row + base)
    assert "| polling every 1 s | 5 x | 4 x | 0.5 x | 10 x | 62 % |" in made
    with pytest.raises(ValueError, match="no table of polling"):
        generate.polling(head + row)


# That something new without its line is found


class Novelty(BaseModel):
    """A section that nobody has written about."""

    colour: str = Field("red", description="of the page")


def test_something_new_is_found() -> None:
    """A setting, a limit, a path, a parameter, a command, a metric, a code, a message, a key: each is missed at once."""
    grown = type("Grown", (Config,), {"__annotations__": {"novelty": Novelty}, "novelty": Novelty()})
    assert missing([n for n in settings(grown) if n != "feeds"], page("configuration.md")) == ["novelty.colour"]
    kinds = BUILT_IN | {"novelty": FeedKind(Novelty, BUILT_IN["simulated"].make)}
    assert missing(feed_settings(kinds), page("configuration.md")) == ["colour"]
    routes = [Route("/v1/novelty", lambda request: None), WebSocketRoute("/v2/stream", lambda socket: None)]
    assert missing(paths(routes), page("rest.md")) == ["/v1/novelty", "/v2/stream"]
    given = parameters([Operation("novelty", "/v1/novelty", "", {"colour": Parameter("colour", "text", "")})])
    assert missing(sorted(given), page("rest.md")) == ["colour"]
    group = click.Group(commands={"novelty": click.Command("novelty", params=[click.Option(["--colour"])])})
    assert missing(options(group), page("commands.md")) == ["--colour"]
    assert missing([f"ticker {name}" for name in group.commands], page("commands.md")) == ["ticker novelty"]
    assert missing(types_of("x = messages.message('novelty', 1)"), page("websocket.md")) == ["novelty"]
    assert missing({4999: "x"}, page("errors.md")) == ["4999"]
    private = ModuleType("keys")
    exec("NEW = 'novelties'\nPRIVATE = 'ticker:x'\ndef bids(symbol): return f'bids:{{{symbol}}}'", vars(private))
    assert missing(public_keys(private), page("streams.md")) == ["novelties", "bids:{AAPL}"]


def test_a_new_metric_is_found(generate: Any) -> None:
    """By the name that a scrape would give it."""
    row = metrics.MetricRow("ticker_novelties_total", "counter", ("colour",), "novelties", "New ones.")
    made = generate.metric_table([row])
    assert made.splitlines()[-1] == "| `ticker_novelties_total` | counter | `colour` | novelties | New ones. |"
    assert missing([row.name], page("metrics.md")) == ["ticker_novelties_total"]
