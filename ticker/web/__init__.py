"""WebSocket and REST: the rim at which requests become questions, and answers become bytes."""
