"""Lets only a few replays go on in one turn of the loop, so that live messages never wait for all of them."""

import asyncio


class Pace:
    """Around one step of a replay."""

    def __init__(self, at_once: int) -> None:
        """`at_once`: steps in one turn of the loop."""
        self._turns = asyncio.Semaphore(at_once)

    async def __aenter__(self) -> None:
        await self._turns.acquire()

    async def __aexit__(self, *_: object) -> None:
        try:
            # The next ones go on after what has come meanwhile was handed out.
            await asyncio.sleep(0)
        finally:
            self._turns.release()
