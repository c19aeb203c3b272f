"""Candles and ticks read back, page by page."""
