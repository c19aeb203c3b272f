"""Loads candles and ticks of before the live record from files into the archive."""
