"""Which candles of a symbol have been handed out, so that each state of one is handed out once."""

KEPT = 128
"""Of each symbol; a trade may correct candles of `candles.lateness_s`, 60 of them where they are of 1 s."""


class CandlesSeen:
    """The newest candles of one symbol, with the trade and the state as of which each was handed out."""

    __slots__ = ("_states",)

    def __init__(self) -> None:
        self._states: dict[int, tuple[int, bool]] = {}

    def take(self, time: int, seq: int, *, final: bool) -> bool:
        """Whether this is news: of the same time the higher `seq` wins, and at equal `seq` the final one."""
        before = self._states.get(time)
        if before is not None and (seq, final) <= before:
            return False
        self._states[time] = seq, final
        if len(self._states) > KEPT:
            del self._states[min(self._states)]
        return True

    def resume_after(self, seq: int) -> int:
        """The position from which a gateway sends again what is not final yet, `seq` being the newest number."""
        unfinished = [number for number, final in self._states.values() if not final]
        return max(0, min([seq, *(number - 1 for number in unfinished)]))

    def withdraw(self, seq: int) -> None:
        """Forget what trades above this number have made."""
        self._states = {time: state for time, state in self._states.items() if state[0] <= seq}
