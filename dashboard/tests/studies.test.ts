import { describe, expect, test } from "vitest";
import type { Row } from "../src/candles";
import { distinct, overlayOf, readStudy, studyKey } from "../src/studies";
import { candle } from "./fakes";

const rows = (...closes: number[]): Row[] => closes.map((close, at) => ({ ...candle(at, close), seq: at }));
const zone = "America/New_York";

describe("moving averages", () => {
  test("begin where there are enough closes", () => {
    const sma = overlayOf({ kind: "sma", period: 3 }, zone);
    sma.update(rows(1, 2, 3, 4, 8), 0);
    expect(sma.values).toEqual([null, null, 2, 3, 5]);
  });

  test("of the exponential kind start from a mean and move by 2 / (period + 1)", () => {
    const ema = overlayOf({ kind: "ema", period: 3 }, zone);
    ema.update(rows(1, 2, 3, 4, 8), 0);
    expect(ema.values).toEqual([null, null, 2, 3, 5.5]);
  });

  test.each(["sma", "ema", "vwap"] as const)("made in part are what they are made at once: %s", (kind) => {
    const study = kind === "vwap" ? ({ kind } as const) : { kind, period: 4 };
    const all = rows(...Array.from({ length: 40 }, (_, at) => 100 + ((at * 7) % 11)));
    const whole = overlayOf(study, zone);
    whole.update(all, 0);
    const part = overlayOf(study, zone);
    part.update(all.slice(0, 25), 0);
    const corrected = all.map((row, at) => (at === 20 ? { ...row, close: 999, vwap: 999 } : row));
    part.update(corrected, 20);
    part.update(all, 20);
    expect(part.values).toEqual(whole.values);
  });
});

describe("the volume-weighted price", () => {
  test("weighs by volume and begins anew at the market's midnight", () => {
    const vwap = overlayOf({ kind: "vwap" }, zone);
    const midnight = 17 * 60; // minutes after noon UTC, in winter
    const at = (minute: number, price: number, volume: number): Row => ({
      ...candle(minute, price),
      ...{ vwap: price, volume, seq: minute },
    });
    vwap.update([at(midnight - 2, 10, 1), at(midnight - 1, 20, 3), at(midnight, 50, 5)], 0);
    expect(vwap.values).toEqual([10, 17.5, 50]);
  });

  test("takes the close where a candle has none of its own, and says nothing without volume", () => {
    const vwap = overlayOf({ kind: "vwap" }, zone);
    const row = { ...candle(0, 12), vwap: null, seq: 1 };
    vwap.update([{ ...row, volume: 0 }], 0);
    expect(vwap.values).toEqual([null]);
    vwap.update([{ ...row, volume: 4 }], 0);
    expect(vwap.values).toEqual([12]);
  });
});

test("studies are words in an address, and nonsense is none", () => {
  const words = ["sma20", "ema200", "vwap"];
  expect(words.map((word) => studyKey(readStudy(word)!))).toEqual(words);
  expect(["sma", "sma0", "sma1", "ema501", "rsi14", "vwap2", ""].map(readStudy)).toEqual(Array(7).fill(null));
  const twice = ["sma20", "vwap", "sma20"].map((word) => readStudy(word)!);
  expect(distinct(twice).map(studyKey)).toEqual(["sma20", "vwap"]);
});
