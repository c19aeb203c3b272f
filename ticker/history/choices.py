"""What an answer of history may be asked to look like: its format, and what stands for intervals without a trade."""

from typing import Literal

Fill = Literal["none", "previous"]
"""What stands for an interval without a trade: nothing, or a candle that repeats the close before."""
FILLS: tuple[Fill, ...] = ("none", "previous")

Format = Literal["json", "columns", "csv", "arrow"]
MEDIA_TYPES: dict[str, Format] = {
    "application/json": "json",
    "application/vnd.ticker.columns+json": "columns",
    "text/csv": "csv",
    "application/vnd.apache.arrow.stream": "arrow",
}
"""What `Accept` may name, in order of preference."""
CONTENT_TYPES: dict[Format, str] = {
    "json": "application/json",
    "columns": "application/json",
    "csv": "text/csv; charset=utf-8; header=present",
    "arrow": "application/vnd.apache.arrow.stream",
}
"""What an answer says of itself where it was asked for by `format`."""
