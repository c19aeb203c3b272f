"""Proves by books that are kept on both sides what becomes of ticks while parts of the service fail."""
