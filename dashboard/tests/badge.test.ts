import { describe, expect, test } from "vitest";
import { badgeState, happening, Staleness, staleText, together } from "../src/badge";
import type { Service } from "../src/messages";

const stale: Service = {
  type: "service",
  state: "stale",
  reason: "feed",
  time: 5_000_000,
  symbols: ["A", "B", "C", "D", "E", "F"],
};
const good = { phase: "open", wasLive: true, joined: true, stale: [] } as const;

describe("the badge", () => {
  test("says live only where everything is joined and nothing stands still", () => {
    expect(badgeState({ ...good, stale: [] })).toBe("live");
    expect(badgeState({ ...good, stale: [stale] })).toBe("stale");
    expect(badgeState({ ...good, stale: [], joined: false })).toBe("resuming");
    expect(badgeState({ ...good, stale: [], phase: "offline" })).toBe("offline");
    expect(badgeState({ ...good, stale: [], phase: "connecting" })).toBe("offline");
  });

  test("says connecting before it was ever live", () => {
    expect(badgeState({ phase: "connecting", wasLive: false, joined: false, stale: [] })).toBe("connecting");
    expect(badgeState({ phase: "open", wasLive: false, joined: false, stale: [] })).toBe("connecting");
  });
});

test("reasons come and go one by one, and a new connection knows none", () => {
  const staleness = new Staleness();
  staleness.take(stale);
  staleness.take({ ...stale, reason: "store" });
  expect(staleness.now).toHaveLength(2);
  staleness.take({ ...stale, state: "live" });
  expect(staleness.now.map(({ reason }) => reason)).toEqual(["store"]);
  staleness.take({ type: "welcome", connection: "c", heartbeat_ms: 1, time: 0 });
  expect(staleness.now).toEqual([]);
});

test("what happened is told in words", () => {
  expect(staleText(stale)).toBe("a feed is silent (A, B, C, D and 2 more)");
  const gap = { type: "gap", channel: "trades", symbol: "A", from: 5, to: 9, reason: "trimmed" } as const;
  expect(happening(gap)?.text).toBe("A: trades, numbers 5 to 9 are missing (trimmed)");
  expect(happening({ ...gap, to: 5 })?.text).toBe("A: trades, number 5 is missing (trimmed)");
  const reset = { type: "reset", channel: "trades", symbol: "A", epoch: "e2", seq: 7 } as const;
  expect(happening(reset)).toMatchObject({ serious: true, text: "A: trades are numbered anew after 7" });
  expect(happening(stale)).toMatchObject({ at: 5_000_000, serious: true });
  expect(happening({ type: "heartbeat", time: 0, sent: 0 })).toBeNull();
});

test("what befalls many symbols at once is one event", () => {
  const reset = { type: "reset", channel: "trades", symbol: "A", epoch: "e2", seq: 7 } as const;
  const [a, b] = [happening(reset)!, happening({ ...reset, channel: "quotes" })!];
  const one = together(a, b)!;
  expect(one.text).toBe("The store began anew, and with it the numbers of ticks: A");
  const all = ["B", "C", "D", "E", "F"].reduce(
    (sum, symbol) => together(sum, happening({ ...reset, symbol })!)!,
    one,
  );
  expect(all.text).toMatch(/: A, B, C, D and 2 more$/);
  const gap = { type: "gap", channel: "trades", symbol: "A", from: 5, to: 9, reason: "trimmed" } as const;
  expect(together(all, happening(gap)!)).toBeNull();
  expect(together(happening(stale)!, a)).toBeNull();
});
