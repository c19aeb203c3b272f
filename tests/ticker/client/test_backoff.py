"""Waits grow, are spread over all of their range, and have a bound."""

import pytest

from ticker.client.backoff import Backoff


@pytest.mark.parametrize(
    ("attempt", "busy", "bound"),
    [
        (0, False, 0.5),
        (1, False, 1.0),
        (2, False, 2.0),
        (3, False, 3.0),
        (99, False, 3.0),
        (4, True, 8.0),
        (99, True, 30.0),
    ],
)
def test_the_bound_doubles(attempt: int, busy: bool, bound: float) -> None:
    """Up to a limit, which is higher where the gateway has too much to do."""
    backoff = Backoff()
    assert backoff.delay_s(attempt, busy=busy, chance=lambda: 1.0) == bound
    assert backoff.delay_s(attempt, busy=busy, chance=lambda: 0.0) == 0.0


def test_clients_come_back_at_different_times() -> None:
    """Full jitter: as many in the first half of the range as in the second, by and large."""
    waits = [Backoff().delay_s(3) for _ in range(1_000)]
    assert all(0 <= wait < 3 for wait in waits)
    assert 400 < sum(wait < 1.5 for wait in waits) < 600
