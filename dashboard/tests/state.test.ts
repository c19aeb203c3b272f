import { describe, expect, test } from "vitest";
import { DEFAULT_VIEW, Memory, moved, nextSort, readView, writeView } from "../src/state";
import type { View } from "../src/state";

describe("the address", () => {
  test("leads back to the view it was made from", () => {
    const view: View = {
      symbol: "BRK.B",
      interval: "5m",
      zone: "utc",
      sort: { column: "percent", descending: true },
      studies: [{ kind: "sma", period: 20 }, { kind: "vwap" }],
      compare: ["MSFT", "BF.B"],
    };
    expect(writeView(view)).toBe(
      "?symbol=BRK.B&interval=5m&time=utc&sort=-percent&studies=sma20,vwap&compare=MSFT,BF.B",
    );
    expect(readView(writeView(view))).toEqual(view);
    expect(readView(writeView(DEFAULT_VIEW))).toEqual(DEFAULT_VIEW);
  });

  test("that makes no sense gives what is usual", () => {
    expect(readView("?symbol=%3Cscript%3E&interval=7m&time=mars&sort=-colour")).toEqual(DEFAULT_VIEW);
    expect(readView("?symbol=aapl").symbol).toBe("AAPL");
  });

  test("that says little leaves the rest as it was", () => {
    const before: View = {
      symbol: "IBM",
      interval: "1h",
      zone: "local",
      sort: null,
      studies: [],
      compare: [],
    };
    expect(readView("?interval=1d", before)).toEqual({ ...before, interval: "1d" });
    // Averages are kept like the interval; what is compared belongs to one look.
    const more: View = { ...before, studies: [{ kind: "vwap" }], compare: ["MSFT"] };
    expect(readView("?symbol=IBM", more)).toEqual({ ...more, compare: [] });
    expect(readView("?studies=ema9,ema9,rsi3&compare=msft,%3C,msft", more)).toMatchObject({
      studies: [{ kind: "ema", period: 9 }],
      compare: ["MSFT"],
    });
  });
});

test("a click on a column sorts, turns round, and gives one's own order back", () => {
  const clicks = [nextSort(null, "last")];
  clicks.push(nextSort(clicks[0]!, "last"), nextSort({ column: "last", descending: false }, "last"));
  expect(clicks).toEqual([{ column: "last", descending: true }, { column: "last", descending: false }, null]);
  expect(nextSort({ column: "last", descending: true }, "symbol")).toEqual({
    column: "symbol",
    descending: false,
  });
});

test("a symbol is moved within the list", () => {
  const list = ["A", "B", "C"];
  expect(moved(list, "A", 1)).toEqual(["B", "A", "C"]);
  expect(moved(list, "C", -2)).toEqual(["C", "A", "B"]);
  expect(moved(list, "A", -1)).toBe(list);
  expect(moved(list, "B", 99)).toEqual(["A", "C", "B"]);
  expect(moved(list, "Z", 1)).toBe(list);
});

describe("memory", () => {
  function storage(): Storage {
    const kept = new Map<string, string>();
    const made = {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, text: string) => kept.set(key, text),
    };
    return made as unknown as Storage;
  }

  test("keeps the watchlist, also an empty one", () => {
    const kept = storage();
    const memory = new Memory(() => kept);
    expect(memory.watchlist).toBeNull();
    memory.watchlist = ["AAPL", "MSFT"];
    expect(new Memory(() => kept).watchlist).toEqual(["AAPL", "MSFT"]);
    memory.watchlist = [];
    expect(memory.watchlist).toEqual([]);
  });

  test("believes nothing that is no list of symbols", () => {
    const kept = storage();
    for (const [text, list] of [
      ['["AAPL",7,"<b>","AAPL"]', ["AAPL"]],
      ["{", null],
      ['{"a":1}', null],
    ] as const) {
      kept.setItem("ticker.watchlist", text);
      expect(new Memory(() => kept).watchlist).toEqual(list);
    }
  });

  test("does without a storage that throws", () => {
    const broken = new Memory(() => {
      throw new Error("forbidden");
    });
    broken.theme = "dark";
    expect([broken.theme, broken.watchlist, broken.view]).toEqual(["system", null, DEFAULT_VIEW]);
  });
});
