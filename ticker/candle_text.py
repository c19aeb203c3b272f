"""Candles as text: a table, CSV, JSON, and a chart for the terminal."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from ticker import codec
from ticker.client import Candle, Rows

COLUMNS = ("time", "open", "high", "low", "close", "volume", "trades", "vwap", "final")
SHAPES = ("table", "csv", "json", "chart")
HEIGHT, VOLUME_HEIGHT = 16, 3
"""Lines of the prices, and of the volume below."""
WIDTH_LEAST = 40
RISE, FALL, WICK, FLAT = "█", "░", "│", "─"
EIGHTHS = " ▁▂▃▄▅▆▇█"
COLOURS = {RISE: "green", FALL: "red"}
LABEL_EVERY = 5
"""Every so many lines the price stands beside."""

Paint = Callable[[str, str], str]
"""Gives a text a colour."""


def as_table(rows: Sequence[Candle]) -> str:
    """A table for people; times in UTC."""
    cells = [list(COLUMNS)]
    cells += [[_when(row.time), *(_cell(getattr(row, name)) for name in COLUMNS[1:])] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def as_csv(rows: Sequence[Candle]) -> str:
    """Comma-separated, with a head; times in microseconds."""
    return "\n".join([",".join(COLUMNS), *(",".join(_cell(getattr(row, name)) for name in COLUMNS) for row in rows)])


def as_json(symbol: str, interval: str, rows: Rows[Candle]) -> str:
    """As REST answers, without pages."""
    candles = [{name: getattr(row, name) for name in COLUMNS} for row in rows]
    position = rows.position.as_dict() if rows.position else None
    return codec.to_json({"symbol": symbol, "interval": interval, "candles": candles, "position": position}).decode()


def as_chart(rows: Sequence[Candle], width: int, paint: Paint = lambda text, colour: text) -> str:
    """One column a candle, the newest at the right; where there are more than columns, neighbours share one.

    `width` is that of the terminal; `paint` gives a text a colour.
    """
    if not rows:
        return "no candles"
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    labels = [_price(low + (high - low) * (HEIGHT - 1 - line) / (HEIGHT - 1)) for line in range(HEIGHT)]
    parts = _parts(rows, max(width, WIDTH_LEAST) - max(map(len, labels)) - 1)
    columns = [_column(part, low, high) for part in parts]
    prices = [
        "".join(paint(cells[line], COLOURS[way]) if cells[line] != " " else " " for cells, way in columns)
        + (f" {labels[line]}" if line % LABEL_EVERY == 0 else "")
        for line in range(HEIGHT)
    ]
    volumes = _volume_lines([sum(row.volume for row in part) for part in parts])
    return "\n".join([*prices, *volumes, _time_line(rows, len(columns))])


def _parts(rows: Sequence[Candle], most: int) -> list[Sequence[Candle]]:
    """The rows in at most so many neighbourhoods of equal size, counted from the newest."""
    size = -(-len(rows) // most)
    first = len(rows) % size
    starts = [*([0] if first else []), *range(first, len(rows), size)]
    ends = [*starts[1:], len(rows)]
    return [rows[start:end] for start, end in zip(starts, ends, strict=True)]


def _column(part: Sequence[Candle], low: float, high: float) -> tuple[str, str]:
    """The characters of a column from top to bottom, and the one that says which way it went."""
    opened, closed = part[0].open, part[-1].close
    way = RISE if closed >= opened else FALL
    body = _line(max(opened, closed), low, high), _line(min(opened, closed), low, high)
    wick = _line(max(row.high for row in part), low, high), _line(min(row.low for row in part), low, high)
    filled = FLAT if opened == closed else way
    cells = (
        filled if body[0] <= line <= body[1] else WICK if wick[0] <= line <= wick[1] else " " for line in range(HEIGHT)
    )
    return "".join(cells), way


def _line(price: float, low: float, high: float) -> int:
    """The line in which a price lies, from the top."""
    return HEIGHT - 1 - round((price - low) / (high - low) * (HEIGHT - 1)) if high > low else HEIGHT // 2


def _volume_lines(volumes: Sequence[float]) -> list[str]:
    most = max(volumes) or 1
    eighths = [round(8 * VOLUME_HEIGHT * volume / most) for volume in volumes]
    lines = [
        "".join(EIGHTHS[min(8, max(0, height - 8 * level))] for height in eighths)
        for level in reversed(range(VOLUME_HEIGHT))
    ]
    return [f"{lines[0]} {most:g} volume", *(line.rstrip() for line in lines[1:])]


def _time_line(rows: Sequence[Candle], width: int) -> str:
    first, last = _when(rows[0].time), _when(rows[-1].time)
    return f"{first}{last.rjust(max(width - len(first), len(last) + 2))}" if len(rows) > 1 else first


def _price(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) < 1 else f"{value:.2f}"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _when(time: int) -> str:
    return datetime.fromtimestamp(time / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
