"""Random numbers that are a pure function of what they are for, so that nothing must be remembered to draw them again.

A stream is named by a seed, a symbol and a purpose; its n-th draw is the n-th output of SplitMix64 started at the
stream's key. That generator only adds a constant to its state, so any draw can be had without those before it.
(Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014. Plain integer arithmetic, hence
the same on every machine and with every version of numpy.)
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Draws = npt.NDArray[np.uint64]
Counters = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

GAMMA = 0x9E3779B97F4A7C15
MIX_1, MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
HALF_BITS = 32
HALF_MASK = (1 << HALF_BITS) - 1
HALF_UNIT = 2.0**-HALF_BITS


def stream_keys(seed: int, symbols: Sequence[str], purpose: str) -> Keys:
    """The key of each symbol's stream of random numbers for one purpose."""
    names = [f"{seed}/{symbol}/{purpose}".encode() for symbol in symbols]
    keys = [int.from_bytes(hashlib.blake2b(name, digest_size=8).digest()) for name in names]
    return np.array(keys, dtype=np.uint64)


def draw(keys: Keys, counters: Counters) -> Draws:
    """64 random bits for each pair of key and counter, broadcast against each other (at least one must be an array)."""
    # A cast of int64 keeps the bits, so counters before 1970 are as good as others.
    state = keys + counters.astype(np.uint64) * GAMMA
    state ^= state >> 30
    state *= MIX_1
    state ^= state >> 27
    state *= MIX_2
    state ^= state >> 31
    return state


def upper(draws: Draws) -> Floats:
    """A uniform number in [0, 1) from the upper 32 bits."""
    return (draws >> HALF_BITS).astype(np.float64) * HALF_UNIT


def lower(draws: Draws) -> Floats:
    """A uniform number in [0, 1) from the lower 32 bits, independent of `upper`."""
    return (draws & HALF_MASK).astype(np.float64) * HALF_UNIT


def normal(draws: Draws) -> Floats:
    """A standard normal number from each draw, at most 6.7 in size (Box and Muller 1958)."""
    # 1 - u lies in (0, 1], where the logarithm is finite.
    radius = np.sqrt(-2.0 * np.log(1.0 - upper(draws)))
    return radius * np.cos(2.0 * np.pi * lower(draws))


def normal_pair(draws: Draws) -> tuple[Floats, Floats]:
    """Two independent standard normal numbers from each draw, the first of them that of `normal`."""
    radius = np.sqrt(-2.0 * np.log(1.0 - upper(draws)))
    angle = 2.0 * np.pi * lower(draws)
    return radius * np.cos(angle), radius * np.sin(angle)
