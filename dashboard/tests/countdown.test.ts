import { expect, test } from "vitest";
import { closesAt, durationText, remainingMs } from "../src/countdown";
import { MINUTE, NOON, SECOND } from "./fakes";

const NEW_YORK = "America/New_York";
const at = (text: string) => Date.parse(text) * 1000;
const iso = (time: number) => new Date(time / 1000).toISOString();

test("candles of a fixed width close at multiples of it", () => {
  expect(closesAt(NOON + 1, "1m", NEW_YORK)).toBe(NOON + MINUTE);
  expect(closesAt(NOON, "1m", NEW_YORK)).toBe(NOON + MINUTE);
  expect(closesAt(NOON + 61 * MINUTE, "4h", NEW_YORK)).toBe(NOON + 240 * MINUTE);
});

test("days close at the market's midnight, also where clocks change, weeks on Monday's", () => {
  expect(iso(closesAt(at("2025-11-24T12:00:00Z"), "1d", NEW_YORK))).toBe("2025-11-25T05:00:00.000Z");
  // On this Sunday clocks go back an hour: the day has 25.
  expect(iso(closesAt(at("2025-11-02T04:00:00Z"), "1d", NEW_YORK))).toBe("2025-11-03T05:00:00.000Z");
  // And on this one forward: 23.
  expect(iso(closesAt(at("2026-03-08T05:00:00Z"), "1d", NEW_YORK))).toBe("2026-03-09T04:00:00.000Z");
  expect(iso(closesAt(at("2025-11-24T04:59:59Z"), "1w", NEW_YORK))).toBe("2025-11-24T05:00:00.000Z");
  expect(iso(closesAt(at("2025-11-24T05:00:00Z"), "1w", NEW_YORK))).toBe("2025-12-01T05:00:00.000Z");
});

test("what is left is said of a candle of now, also just before its first trade", () => {
  const now = NOON / 1000;
  expect(remainingMs(NOON, "1m", NEW_YORK, now + 18_000)).toBe(42_000);
  expect(remainingMs(NOON - MINUTE, "1m", NEW_YORK, now + 18_000)).toBe(42_000);
  expect(remainingMs(NOON + MINUTE, "1m", NEW_YORK, now + 59_900)).toBe(60_100);
});

test("nothing is said of recordings, of closed markets and of no candle", () => {
  const now = NOON / 1000;
  expect(remainingMs(NOON - 60 * MINUTE, "1m", NEW_YORK, now)).toBeNull();
  expect(remainingMs(NOON + 60 * MINUTE, "1m", NEW_YORK, now)).toBeNull();
  expect(remainingMs(NOON - 86_400 * SECOND, "1d", NEW_YORK, now)).toBeNull();
  expect(remainingMs(undefined, "1m", NEW_YORK, now)).toBeNull();
});

test("durations are told as clocks tell them, long ones in days", () => {
  expect([0, 6_100, 59_999, 3_599_001, 3_600_000, 11_045_000, 183_600_000].map(durationText)).toEqual([
    ...["0:00", "0:07", "1:00", "1:00:00", "1:00:00", "3:04:05", "2 d 3 h"],
  ]);
});
