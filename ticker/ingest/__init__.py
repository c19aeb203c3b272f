"""Feeds, on a schedule, into the store: the only writers of ticks and candles."""
