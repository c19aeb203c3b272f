/** Words requests for topics, as few as will do; pure. */

import { topicKey } from "./messages";
import type { Position, Topic } from "./messages";

/** Every message; or the newest as often as a frame is drawn; or the newest once a second, where nobody looks. */
export const DELIVERIES = ["all", "latest", "rarely"] as const;
export type Deliver = (typeof DELIVERIES)[number];

/** What comes more often than frames is never drawn. */
export const EVERY_MS = { latest: 16, rarely: 1_000 };

export function topicFromKey(key: string): Topic {
  const [channel, interval, symbol] = key.split(" ") as [Topic["channel"], Topic["interval"] | "", string];
  return { channel, ...(interval ? { interval } : {}), symbol };
}

/** Topics that one request can name: those of the same channel and interval. */
export function grouped(topics: Topic[]): Topic[][] {
  const groups = new Map<string, Topic[]>();
  for (const topic of topics) {
    const key = topicKey({ ...topic, symbol: "" });
    groups.set(key, [...(groups.get(key) ?? []), topic]);
  }
  return [...groups.values()];
}

/** A request for a group; topics that have a position among `left` go on from there. */
export function request(
  op: "subscribe" | "unsubscribe",
  group: Topic[],
  deliver: Deliver = "all",
  left: ReadonlyMap<string, Position> = new Map(),
): object {
  const { channel, interval } = group[0]!;
  const resume = Object.fromEntries(
    group.flatMap((topic) => {
      const position = left.get(topicKey(topic));
      return position ? [[topic.symbol, position]] : [];
    }),
  );
  return {
    op,
    channel,
    ...(interval ? { interval } : {}),
    symbols: group.map((topic) => topic.symbol),
    ...(deliver === "all" ? {} : { deliver: "latest", every_ms: EVERY_MS[deliver] }),
    ...(Object.keys(resume).length ? { resume } : {}),
  };
}
