"""A self-hosted market-data server: live ticks over WebSocket and history over REST, derived from one exact record."""

__version__ = "0.1.0"
