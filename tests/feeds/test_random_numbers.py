import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feeds.random_numbers import GAMMA, draw, lower, normal, normal_pair, stream_keys, upper

COUNTERS = np.arange(200_000, dtype=np.int64)


def test_draws_are_the_outputs_of_splitmix64():
    """The first outputs for the seed 1234567, as published with reference implementations."""
    drawn = draw(np.array([1234567], dtype=np.uint64), np.arange(1, 6, dtype=np.int64))
    assert drawn.tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.integers(0, 2**64 - 1), st.integers(-(2**62), 2**62))
def test_draws_agree_with_plain_integer_arithmetic(key, counter):
    """Overflow wraps around in numpy just as modulo 2**64."""
    state = (key + counter * GAMMA) % 2**64
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
    (drawn,) = draw(np.array([key], dtype=np.uint64), np.array([counter], dtype=np.int64)).tolist()
    assert drawn == state ^ (state >> 31)


def test_every_seed_symbol_and_purpose_has_a_stream_of_its_own():
    """Streams that share two of the three differ."""
    keys = [stream_keys(seed, ["A", "B"], purpose).tolist() for seed in (1, -1, 2**80) for purpose in ("x", "y")]
    assert len({key for pair in keys for key in pair}) == 12


def test_keys_do_not_depend_on_the_process():
    """Python's own hash of a text does; these must not."""
    assert stream_keys(7, ["AAPL"], "day").tolist() == [13598609955253653593]


def test_halves_are_uniform_and_independent():
    """Mean, variance and correlation of the upper and lower half are those of uniform numbers."""
    drawn = draw(stream_keys(1, ["A"], "test"), COUNTERS)
    for u in (upper(drawn), lower(drawn)):
        assert 0 <= u.min() < 1e-4
        assert 1 - 1e-4 < u.max() < 1
        assert abs(u.mean() - 0.5) < 0.003
        assert abs(u.var() - 1 / 12) < 0.001
    assert abs(np.corrcoef(upper(drawn), lower(drawn))[0, 1]) < 0.01


def test_normal_numbers_are_normal():
    """Moments, tails and neighbours are those of independent standard normal numbers."""
    z = normal(draw(stream_keys(2, ["A"], "test"), COUNTERS))
    assert abs(z.mean()) < 0.01
    assert abs(z.std() - 1) < 0.01
    assert abs((z**3).mean()) < 0.03
    assert abs((z**4).mean() - 3) < 0.1
    assert abs((np.abs(z) > 1.96).mean() - 0.05) < 0.002
    assert abs(np.corrcoef(z[1:], z[:-1])[0, 1]) < 0.01


def test_normal_numbers_are_finite_at_the_ends():
    """The smallest and the largest draw are no infinity."""
    ends = np.array([0, 2**64 - 1], dtype=np.uint64)
    assert np.isfinite(normal(ends)).all()


def test_a_pair_of_normal_numbers_is_independent():
    """Neither they nor their sizes correlate; the first is the one that `normal` gives."""
    drawn = draw(stream_keys(7, ["X"], "pair"), COUNTERS)
    first, second = normal_pair(drawn)
    assert first.tolist() == normal(drawn).tolist()
    assert abs(second.mean()) < 0.01
    assert abs(second.std() - 1) < 0.01
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01
    assert abs(np.corrcoef(np.abs(first), np.abs(second))[0, 1]) < 0.01
