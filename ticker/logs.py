"""One line an event on standard error: time, level, what happened."""

import logging
import sys


def set_up() -> None:
    """For a process of ours; libraries only speak up when something is wrong."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S"
    )
    for name in ("uvicorn", "uvicorn.error", "httpx", "apscheduler"):
        logging.getLogger(name).setLevel(logging.WARNING)
