import { describe, expect, test } from "vitest";
import * as format from "../src/format";
import { MINUS, NONE } from "../src/format";

const US = "America/New_York";
const at = (text: string) => Date.parse(text) / 1000;

test("decimals follow the tick size", () => {
  const sizes = [1, 0.5, 0.01, 0.001, 0.0001, 0.000001, 0, undefined];
  expect(sizes.map(format.decimalsOf)).toEqual([0, 1, 2, 3, 4, 6, 2, 2]);
});

test("prices have their decimals, what is not there is a dash", () => {
  expect([format.price(1234.5, 2), format.price(-1, 1), format.price(null, 2)]).toEqual([
    "1,234.50",
    `${MINUS}1.0`,
    NONE,
  ]);
});

test("changes carry their sign, nothing has none", () => {
  const shown = [1.234, -1.234, 0, -0.001, null].map((value) => format.signed(value, 2, "%"));
  expect(shown).toEqual(["+1.23%", `${MINUS}1.23%`, "0.00%", "0.00%", NONE]);
});

test("volumes stay short", () => {
  expect([0.5, 9_999, 12_345, 1_234_567, null].map(format.volume)).toEqual([
    "0.5",
    "9,999",
    "12.35K",
    "1.235M",
    NONE,
  ]);
});

describe("times", () => {
  const time = at("2026-03-08T18:30:05Z") * 1e6;

  test("are told in the zone that is asked for", () => {
    expect(format.candleTime(time, "1m", US, US)).toMatch(/^Sun,? 8 Mar 14:30$/);
    expect(format.candleTime(time, "5s", "UTC", US)).toContain("18:30:05");
  });

  test("of days are those of the market, whatever zone is shown", () => {
    const midnight = at("2026-03-09T04:00:00Z") * 1e6;
    for (const zone of ["UTC", "Asia/Tokyo", "America/Los_Angeles"]) {
      expect(format.candleTime(midnight, "1d", zone, US)).toContain("9 Mar 2026");
    }
  });

  test("have offsets that change with the clocks", () => {
    expect(format.zoneOffset(at("2026-03-08T06:59:00Z"), US)).toBe(-5 * 3600);
    expect(format.zoneOffset(at("2026-03-08T07:00:00Z"), US)).toBe(-4 * 3600);
    expect(format.zoneOffset(at("2026-11-01T05:59:59Z"), US)).toBe(-4 * 3600);
    expect(format.zoneOffset(at("2026-11-01T06:00:00Z"), US)).toBe(-5 * 3600);
    expect(format.zoneOffset(at("2026-06-01T00:10:00Z"), "Asia/Kolkata")).toBe(5.5 * 3600);
    expect(format.zoneOffset(at("2026-06-01T00:10:00Z"), "UTC")).toBe(0);
  });

  test("on the axis are as short as their mark allows", () => {
    const seconds = at("2026-07-01T13:30:00Z");
    const marks = (["year", "month", "day", "time", "second"] as const).map((kind) =>
      format.mark(seconds, kind, US),
    );
    expect(marks).toEqual(["2026", "Jul", "1 Jul", "09:30", "09:30:00"]);
  });

  test("name their zone", () => {
    expect(format.zoneLabel(US, Date.parse("2026-01-01"))).toBe("EST");
    expect(format.zoneLabel("UTC", 0)).toBe("UTC");
    expect([format.zoneName("utc", US), format.zoneName("exchange", US)]).toEqual(["UTC", US]);
  });
});
