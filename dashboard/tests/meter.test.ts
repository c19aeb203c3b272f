import { expect, test } from "vitest";
import { Meter } from "../src/meter";

test("messages a second are those of the last five", () => {
  const meter = new Meter();
  meter.begin(0);
  for (let ms = 0; ms < 10_000; ms += 100) meter.count(ms, null);
  expect(meter.rate(10_000)).toBeCloseTo(10, 0);
  expect(meter.rate(16_000)).toBe(0);
});

test("lag is measured by the server's clock, which may differ from ours", () => {
  const meter = new Meter();
  meter.begin(0);
  meter.count(1_000, 1_000);
  expect(meter.lagMs(1_000)).toBeNull();
  const ahead = 3_600_000;
  meter.pong(1_000, 1_010, 1_005 + ahead);
  for (const age of [20, 30, 40]) meter.count(2_000, 2_000 + ahead - age);
  expect(meter.lagMs(2_000)).toBeCloseTo(30);
  expect(meter.roundTripMs).toBe(10);
});

test("the quickest answer to a ping sets the clock", () => {
  const meter = new Meter();
  meter.begin(0);
  meter.pong(0, 400, 0);
  meter.pong(1_000, 1_002, 1_001);
  meter.pong(2_000, 2_300, 2_000);
  meter.count(3_000, 2_990);
  expect(meter.lagMs(3_000)).toBeCloseTo(10);
});

test("a recording's old times are no lag", () => {
  const meter = new Meter();
  meter.begin(0);
  meter.pong(0, 2, 1 + 1e12);
  meter.count(100, 5);
  expect(meter.lagMs(100)).toBeNull();
});
