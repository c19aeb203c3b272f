"""How soon everybody is whole after a gateway was killed, and what those at another gateway notice of it."""
