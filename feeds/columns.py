"""Makes many ticks at once from columns of their values, which is several times cheaper than one by one."""

from collections.abc import Iterable
from itertools import repeat
from typing import Any, cast

from feeds.tick import Quote, Trade

TRADE_FIELDS = len(Trade._fields)
QUOTE_FIELDS = len(Quote._fields)


def trades(*columns: Iterable[Any]) -> list[Trade]:
    """A trade from each row of the columns, given in the order of its fields; those left out are None."""
    return cast("list[Trade]", _rows(Trade, columns, TRADE_FIELDS))


def quotes(*columns: Iterable[Any]) -> list[Quote]:
    """A quote from each row of the columns, given in the order of its fields; those left out are None."""
    return cast("list[Quote]", _rows(Quote, columns, QUOTE_FIELDS))


def _rows(kind: type[tuple[Any, ...]], columns: tuple[Iterable[Any], ...], fields: int) -> list[Any]:
    rows = zip(*columns, *[repeat(None)] * (fields - len(columns)), strict=False)
    # What `_make` does, without its call of a Python function for each row.
    return list(map(tuple.__new__, repeat(kind), rows))
