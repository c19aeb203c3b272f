"""Writes the parts of the docs that the code knows: settings, limits, metrics, commands and codes.

usage: generate.py [--check]

Each part stands in a page between `<!-- generated: NAME -->` and `<!-- end -->`. With `--check` nothing is written; the exit
code is 1 where a page differs from what the code says.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from feeds.registry import BUILT_IN
from ticker import codes, metrics
from ticker.cli import cli
from ticker.config import Config, FeedConfig
from ticker.config_loading import ENV_PREFIX
from ticker.limits import LIMITS
from ticker.web.operations import OPERATIONS, Parameter

PAGES = Path(__file__).parent
PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
REQUIRED = "*needed*"
BOUNDS = {"ge": "{} or more", "gt": "more than {}", "le": "{} or less", "lt": "less than {}"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def code(text: object) -> str:
    """As code, or nothing where there is nothing."""
    return f"`{text}`" if text not in ("", None) else ""


# Settings


def settings() -> str:
    """One table a section of config.yaml."""
    defaults = Config().model_dump(mode="json", by_alias=True)
    parts = []
    for name, found in Config.model_fields.items():
        if name == "feeds":
            parts += _feeds()
        elif name != "limits":  # has a table of its own
            model = found.annotation
            assert isinstance(model, type)
            parts.append(_section(name, model, _rows(name, model, defaults[name])))
    return "\n\n".join(parts)


def _section(title: str, model: type[BaseModel], rows: Iterable[Sequence[str]]) -> str:
    about = " ".join((model.__doc__ or "").split())
    return f"### {title}\n\n{about}\n\n" + table(("setting", "default", "allowed", "environment", "what"), rows)


def _rows(path: str, model: type[BaseModel], values: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name, found in model.model_fields.items():
        key = found.alias or name
        inner, place = found.annotation, f"{path}.{key}"
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _rows(place, inner, values[key])
            continue
        yield (
            code(place),
            code(_shown(values[key])),
            allowed(found),
            code(environment(place)),
            _what(place, found),
        )


def _feeds() -> list[str]:
    """What every feed has, then the options of each kind."""
    own = [(name, found) for name, found in FeedConfig.model_fields.items() if name != "options"]
    head = ("setting", "default", "allowed", "what")
    # `name` and `options` are filled in from `type`.
    rows = [
        (
            code(name),
            code(_default(found)) or "its `type`" if name == "name" else code(_default(found)) or REQUIRED,
            ", ".join(code(kind) for kind in BUILT_IN) if name == "type" else allowed(found),
            _what(name, found),
        )
        for name, found in own
    ]
    about = f"A list; in the environment as JSON, `{ENV_PREFIX}FEEDS`. Each feed has"
    parts = [f"### feeds\n\n{about}\n\n" + table(head, rows)]
    for kind, entry in BUILT_IN.items():
        options = [
            (code(name), code(_default(found)) or REQUIRED, allowed(found), _what(f"{kind}.{name}", found))
            for name, found in entry.options.model_fields.items()
        ]
        parts.append(f"and, of type `{kind}`,\n\n" + table(head, options))
    return parts


def environment(place: str) -> str:
    """The name of a setting in the environment."""
    return ENV_PREFIX + place.upper().replace(".", "__")


def _default(found: FieldInfo) -> str:
    return "" if found.is_required() else _shown(found.get_default(call_default_factory=True))


def _shown(value: object) -> str:
    """A value as YAML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _what(place: str, found: FieldInfo) -> str:
    if not found.description:
        raise ValueError(f"{place} has no description")
    return found.description


def allowed(found: FieldInfo) -> str:
    """What a setting may be, as far as its type and bounds tell."""
    if get_origin(found.annotation) is Literal:
        return ", ".join(code(word) for word in get_args(found.annotation))
    bounds = {
        name: value for item in found.metadata for name in BOUNDS if (value := getattr(item, name, None)) is not None
    }
    if {"ge", "le"} <= bounds.keys():
        return f"{_shown(bounds['ge'])} to {_shown(bounds['le'])}"
    if bounds:
        return ", ".join(BOUNDS[name].format(_shown(value)) for name, value in bounds.items())
    if found.annotation is bool:
        return "`true`, `false`"
    patterns = [item.pattern for item in found.metadata if getattr(item, "pattern", None)]
    return code(patterns[0]) if patterns else ""


# Operations, limits, metrics, commands, codes


def operations() -> str:
    """Every question that REST answers."""
    rows = (
        (code(one.path), " ".join(map(code, one.parameters)), " ".join(map(code, one.formats)), one.summary)
        for one in OPERATIONS.values()
    )
    return table(("path", "parameters", "formats", "answers"), rows)


def parameters() -> str:
    """What each parameter may be; the same name may mean a little more on one path than on the others."""
    found: dict[Parameter, list[str]] = {}
    for one in OPERATIONS.values():
        for parameter in one.parameters.values():
            found.setdefault(parameter, []).append(one.path)
    names = [parameter.name for parameter in found]
    rows = []
    for parameter, paths in found.items():
        where = "" if names.count(parameter.name) == 1 else " (" + ", ".join(map(code, paths)) + ")"
        allowed = " ".join(map(code, parameter.allowed)) or KINDS[parameter.type]
        rows.append((code(parameter.name) + where, allowed, code(parameter.default), parameter.description))
    return table(("parameter", "allowed", "default", "what"), rows)


KINDS = {
    "time": "a [time](#times)",
    "count": "a whole number",
    "text": "any text",
    "symbol": "a symbol",
    "symbols": "symbols, or `*`",
    "cursor": "as `next` has it",
}


def limits() -> str:
    """What each limit bounds, and what whoever meets it gets."""
    rows = (
        (
            code(row.setting),
            f"{row.default:,} {row.unit}",
            code(environment(row.setting)),
            row.description,
            code(row.code),
        )
        for row in LIMITS.values()
    )
    return table(("limit", "default", "environment", "bounds", "who meets it gets"), rows)


def metric_table(rows: Iterable[metrics.MetricRow] = metrics.DOCUMENTED) -> str:
    """Every metric."""
    cells = ((code(m.name), m.type, ", ".join(map(code, m.labels)), m.unit, m.description) for m in rows)
    return table(("metric", "type", "labels", "unit", "what"), cells)


def commands(group: click.Group = cli) -> str:
    """Each command as `--help` has it."""
    parts = []
    for name, command in every_command(group):
        context = click.Context(command, info_name=f"ticker {name}")
        usage = " ".join(command.collect_usage_pieces(context))
        options = [record for param in command.get_params(context) if (record := param.get_help_record(context))]
        options = [(option, about) for option, about in options if option != "-h, --help" and option != "--help"]
        rows = [(code(option), " ".join(about.split())) for option, about in options]
        about = " ".join((command.help or "").split())
        parts.append(f"### ticker {name}\n\n`ticker {name} {usage}`\n\n{about}\n\n" + table(("option", "what"), rows))
    return "\n\n".join(parts)


def every_command(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """The commands with their names; those of a group are called by both."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, f"{before}{name} ")
        else:
            yield before + name, command


def code_table(head: str, rows: Mapping[Any, codes.Code]) -> str:
    """A table of `ticker.codes`; without a column of remedies where there are none."""
    cells = [(code(name), row.meaning, row.remedy) for name, row in rows.items()]
    return table((head, "means", "do"), cells)


def polling(text: str = "") -> str:
    """What polling costs, in multiples of what a subscription costs, from the table in bench/README.md."""
    rows = _polling_rows(text or (PAGES.parent / "bench" / "README.md").read_text("utf-8"))
    *_, (_, *base) = rows
    cells = [
        (way, *(_times(value, other) for value, other in zip(values[:4], base, strict=False)), f"{values[4]:.0f} %")
        for way, *values in rows
    ]
    return table(("way", "bytes", "server CPU", "client CPU", "staleness p50", "trades seen"), cells)


def _polling_rows(text: str) -> list[tuple[Any, ...]]:
    """Way, bytes, CPU of server and client, staleness and share of trades seen of each row of the measured table."""
    found = re.findall(r"^\| (polling every .*?|subscription) \| (.*) \|$", text, re.MULTILINE)
    rows = []
    for way, cells in found:
        size, _, server, client, middle, _, seen = (float(re.sub(r"[^0-9.]", "", cell)) for cell in cells.split("|"))
        rows.append((way, size, server, client, middle, seen))
    if not rows or rows[-1][0] != "subscription":
        raise ValueError("bench/README.md has no table of polling that ends with the subscription")
    return rows


def _times(value: float, base: float) -> str:
    return f"{value / base:.2g} x" if value < 10 * base else f"{value / base:,.0f} x"


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "operations": operations,
    "parameters": parameters,
    "limits": limits,
    "metrics": metric_table,
    "commands": commands,
    "problems": lambda: code_table("`code`", codes.PROBLEMS),
    "websocket-errors": lambda: code_table("`code`", codes.WEBSOCKET_ERRORS),
    "closes": lambda: code_table("close code", codes.CLOSES),
    "gaps": lambda: code_table("`reason`", codes.GAPS),
    "stale": lambda: code_table("`reason`", codes.STALE),
    "polling": polling,
    "exits": lambda: code_table("exit code", codes.EXITS),
}


def fill(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """A page with its generated parts as the code has them; raises `KeyError` for a part that nobody makes."""
    return PART.sub(lambda found: f"{found[1]}\n{parts[found[2]]()}\n\n{found[3]}", text)


def pages(folder: Path) -> dict[Path, tuple[str, str]]:
    """Each page with generated parts: as it is, and as it should be."""
    found = {path: path.read_text("utf-8") for path in sorted(folder.glob("*.md"))}
    return {path: (text, fill(text, PARTS)) for path, text in found.items() if PART.search(text)}


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = {path: wanted for path, (text, wanted) in pages(PAGES).items() if text != wanted}
    for path, wanted in stale.items():
        print(f"docs/{path.name}: {'differs from the code; run make docs' if check else 'written'}")
        if not check:
            path.write_text(wanted, "utf-8")
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
