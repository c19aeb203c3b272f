import { expect, test } from "vitest";
import type { Line } from "../src/board";
import { derived } from "../src/board";
import { sorted } from "../src/sorting";

function line(symbol: string, last: number | null, base: number | null): Line {
  return { symbol, last, base, volume: last } as Line;
}

const lines: Record<string, Line> = {
  A: line("A", 10, 20),
  B: line("B", null, 5),
  C: line("C", 30, 15),
  D: line("D", 20, null),
};
const order = (sort: Parameters<typeof sorted>[1]) =>
  sorted(["C", "A", "D", "B"], sort, (s) => lines[s]).join("");

test("nothing sorted is one's own order", () => {
  expect(order(null)).toBe("CADB");
});

test("columns sort both ways, with what has no value last", () => {
  expect(order({ column: "last", descending: true })).toBe("CDAB");
  expect(order({ column: "last", descending: false })).toBe("ADCB");
  expect(order({ column: "percent", descending: true })).toBe("CADB");
  expect(order({ column: "symbol", descending: false })).toBe("ABCD");
});

test("change is counted from the previous close", () => {
  expect(derived(lines.C!)).toEqual({ change: 15, percent: 100 });
  expect(derived(lines.D!)).toEqual({ change: null, percent: null });
});
