"""Where ticks come from: simulated, replayed or upstream feeds; this package knows nothing of `ticker`."""
