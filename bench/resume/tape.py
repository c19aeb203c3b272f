"""A recording in which every tick is a trade: who has the trades of a symbol has all its ticks."""

import random
from pathlib import Path

SECONDS = 120.0
"""Longer than one kill takes; then it is played again."""
SECOND_US = 1_000_000
BEGIN_US = 1_700_000_000 * SECOND_US
PRICE_MOST = 500.0


def write_tape(path: Path, symbols: int, ticks_per_s: float) -> None:
    """A CSV file with trades of so many symbols, spread over time and symbols by chance."""
    chance = random.Random(1)
    names = [f"T{number:04}" for number in range(symbols)]
    prices = {name: chance.uniform(1.0, PRICE_MOST) for name in names}
    times = sorted(BEGIN_US + int(chance.uniform(0, SECONDS) * SECOND_US) for _ in range(int(SECONDS * ticks_per_s)))
    with path.open("w", encoding="utf-8") as file:
        file.write("time,symbol,price,size\n")
        for time in times:
            symbol = chance.choice(names)
            prices[symbol] *= chance.uniform(0.999, 1.001)
            file.write(f"{time},{symbol},{prices[symbol]:.2f},{chance.randint(1, 500)}\n")
