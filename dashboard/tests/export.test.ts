import { expect, test } from "vitest";
import type { Row } from "../src/candles";
import { csv, fileName } from "../src/export";
import { overlayOf } from "../src/studies";
import { candle, NOON } from "./fakes";

const rows: Row[] = [1, 2, 4].map((close, at) => ({ ...candle(at, close), seq: at }));

test("the candles in sight become lines of CSV, averages a column each", () => {
  const sma = overlayOf({ kind: "sma", period: 2 }, "UTC");
  sma.update(rows, 0);
  expect(csv(rows, 1, 2, [sma]).split("\r\n")).toEqual([
    "time,time_us,open,high,low,close,volume,trades,vwap,final,SMA 2",
    "2025-11-24T12:01:00Z,1763985660000000,100,100,2,2,10,2,100,true,1.5",
    "2025-11-24T12:02:00Z,1763985720000000,100,100,4,4,10,2,100,true,3",
    "",
  ]);
});

test("what there is not is empty, and what CSV would misread is quoted", () => {
  const odd = { key: "x", label: 'a,"b"', title: "", values: [null], update: () => undefined };
  const text = csv([{ ...rows[0]!, vwap: null }], 0, 0, [odd]);
  expect(text).toContain('final,"a,""b"""');
  expect(text).toContain(",2,,true,\r\n");
});

test("files are named by what they hold", () => {
  expect(fileName(["AAPL", "BRK.B"], "1m", NOON, "csv")).toBe("AAPL-BRK.B-1m-20251124T120000.csv");
});
