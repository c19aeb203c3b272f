import { expect, test } from "vitest";
import { CandleBook } from "../src/candles";
import { Comparison, percentSince } from "../src/compare";
import { at, candle, candleMessage } from "./fakes";

function book(...minutes: [minute: number, close: number][]): CandleBook {
  const made = new CandleBook("1m");
  made.begin(
    minutes.map(([minute, close]) => candle(minute, close)),
    at(1),
    false,
  );
  return made;
}

test("another symbol stands at this one's times with the last close there was", () => {
  const own = book([0, 1], [1, 1], [3, 1], [4, 1]);
  const other = new Comparison("MSFT", book([1, 50], [2, 60], [4, 70]));
  other.update(own.rows, 0);
  expect(other.values).toEqual([null, 50, 60, 70]);
});

test("a change of the other one concerns this one's rows from there on", () => {
  const own = book([0, 1], [1, 1], [3, 1]);
  const theirs = book([0, 40], [2, 60]);
  const other = new Comparison("MSFT", theirs);
  expect(other.changedFrom(own)).toBe(0);
  other.update(own.rows, 0);
  expect(other.changedFrom(own)).toBeNull();
  theirs.live(candleMessage(2, 65, 9));
  const from = other.changedFrom(own)!;
  expect(from).toBe(2);
  other.update(own.rows, from);
  expect(other.values).toEqual([40, 40, 65]);
});

const of =
  (...values: (number | null)[]) =>
  (index: number) =>
    values[index];

test("per cent are counted from the first value in sight", () => {
  expect(percentSince(of(100, 110, 121), 0, 2)).toBeCloseTo(21);
  expect(percentSince(of(100, 110, 121), 1, 2)).toBeCloseTo(10);
  expect(percentSince(of(null, 50, 75), 0, 2)).toBe(50);
  expect(percentSince(of(100, 110), -4, 1)).toBeCloseTo(10);
  expect(percentSince(of(null, null), 0, 1)).toBeNull();
});
