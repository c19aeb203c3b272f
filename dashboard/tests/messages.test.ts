import { describe, expect, test } from "vitest";
import { INTERVALS, isInterval, parse, topicKey, topicOf } from "../src/messages";

describe("parse", () => {
  test("lets every kind of the contract in", () => {
    for (const type of [
      "welcome",
      "trade",
      "quote",
      "candle",
      "gap",
      "reset",
      "service",
      "heartbeat",
      "slow",
    ]) {
      expect(parse(JSON.stringify({ type, more: 1 }))).toEqual({ type, more: 1 });
    }
  });

  test("ignores what is unknown or no message", () => {
    for (const text of ['{"type":"novelty"}', '{"type":7}', "{}", "[]", "null", "7", "{", ""]) {
      expect(parse(text)).toBeNull();
    }
  });
});

test("a topic's key tells channels, intervals and symbols apart", () => {
  const keys = [
    topicKey({ channel: "trades", symbol: "A" }),
    topicKey({ channel: "quotes", symbol: "A" }),
    topicKey({ channel: "candles", interval: "1m", symbol: "A" }),
    topicKey({ channel: "candles", interval: "5m", symbol: "A" }),
    topicKey({ channel: "trades", symbol: "B" }),
  ];
  expect(new Set(keys).size).toBe(keys.length);
});

test("a tick belongs to the topic it came on", () => {
  const price = { symbol: "A", price: 1, size: 1, time: 1, seq: 1 };
  expect(topicOf({ type: "trade", ...price })).toEqual({ channel: "trades", symbol: "A" });
});

test("intervals are those of the contract", () => {
  expect(INTERVALS).toHaveLength(12);
  expect(isInterval("4h")).toBe(true);
  expect(["2m", "", null].some(isInterval)).toBe(false);
});
