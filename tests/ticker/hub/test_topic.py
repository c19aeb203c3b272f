from ticker.hub.topic import Holds, Topic

AAPL, MSFT = Topic("trades", "AAPL"), Topic("trades", "MSFT")


def test_a_topic_of_another_symbol_keeps_channel_and_interval():
    """And so does that of all symbols."""
    candles = Topic("candles", "AAPL", "1m")
    assert candles.of("MSFT") == Topic("candles", "MSFT", "1m")
    assert candles.everything == Topic("candles", "*", "1m")


def test_a_topic_is_held_until_everyone_has_let_go():
    """As often as it was taken, also twice by the same."""
    holds = Holds()
    holds.take((AAPL, AAPL, MSFT))
    holds.take((AAPL,))
    holds.let_go((AAPL, AAPL, MSFT))
    assert (AAPL in holds, MSFT in holds) == (True, False)
    holds.let_go((AAPL,))
    assert AAPL not in holds
