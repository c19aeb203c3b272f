"""Counts for a scrape: what was sent, and who is there with what."""

from collections import Counter

from ticker import metrics
from ticker.hub.blocks import Blocks
from ticker.hub.hub import Hub
from ticker.web import messages

STATES = ("new", "current", "behind")


def count_sent(hub: Hub, blocks: Blocks) -> None:
    """What was added up since the last time: counting each message by itself would cost more than sending it."""
    delivered = hub.delivered
    metrics.MESSAGES.inc(delivered.messages)
    metrics.BYTES.inc(delivered.bytes)
    metrics.SKIPPED.inc(delivered.skipped)
    delivered.messages = delivered.bytes = delivered.skipped = 0
    metrics.REPLAY_SHARED.inc(blocks.shared)
    blocks.shared = 0


def count_connections(hub: Hub) -> None:
    """The connections that there are, what they have, and what waits for them."""
    states: Counter[str] = Counter()
    queued_bytes = 0
    for one in hub.everyone():
        states[one.state] += 1
        queued_bytes += one.queued_bytes
    for state in STATES:
        metrics.STATES.labels(state).set(states[state])
    metrics.QUEUED_BYTES.set(queued_bytes)
    metrics.COHORTS.set(hub.cohorts)
    subscriptions = hub.subscriptions()
    for channel in messages.CHANNELS:
        metrics.SUBSCRIPTIONS.labels(channel).set(subscriptions[channel])
