"""The messages that say what of a topic is missing or withdrawn."""

from typing import Any

from ticker import codec
from ticker.hub.topic import Topic


def _head(kind: str, topic: Topic) -> dict[str, Any]:
    interval = {"interval": topic.interval} if topic.interval else {}
    return {"type": kind, "channel": topic.channel, **interval, "symbol": topic.symbol}


def gap_message(topic: Topic, first: int, last: int, reason: str) -> bytes:
    """The messages with these numbers, the last included, will not come."""
    return codec.to_json(_head("gap", topic) | {"from": first, "to": last, "reason": reason})


def reset_message(topic: Topic, epoch: str | None, seq: int) -> bytes:
    """Numbers count under this epoch from now on; what was seen above `seq` is withdrawn."""
    return codec.to_json(_head("reset", topic) | {"epoch": epoch, "seq": seq})
