"""Fan-out beside peers: what one core of a WebSocket server delivers, how late, and at what cost."""
