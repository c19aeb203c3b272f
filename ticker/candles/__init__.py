"""What a candle is: pure functions and values, without Redis, clocks or tasks.

Prices and sizes are whole millionths here, sums of price x size whole millionths of millionths, so that every sum is
exact. Times are microseconds since the Unix epoch, UTC.
"""
