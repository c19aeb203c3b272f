/** Words requests for topics, as few as will do; pure. */

import { topicKey } from "./messages";
import type { Position, Topic } from "./messages";

/** Every message, or now and then the newest. */
export type Deliver = "all" | "latest";

/** Numbers that change more often cannot be read. */
export const EVERY_MS = 250;

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
    ...(deliver === "latest" ? { deliver, every_ms: EVERY_MS } : {}),
    ...(Object.keys(resume).length ? { resume } : {}),
  };
}
