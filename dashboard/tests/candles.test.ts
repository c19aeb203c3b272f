import { beforeEach, describe, expect, test } from "vitest";
import { CandleBook, joins, width } from "../src/candles";
import { at, candle, candleMessage, MINUTE, NOON, SECOND, trade } from "./fakes";

let book: CandleBook;

beforeEach(() => {
  book = new CandleBook("1m");
  book.begin([candle(0, 101), candle(1, 102), candle(2, 103, false)], at(50), false);
  book.takeChanges();
});

const closes = () => book.rows.map((row) => row.close);

describe("rows and live messages join", () => {
  test("where the rows reach the number that live messages follow", () => {
    expect(joins(at(50), at(50))).toBe(true);
    expect(joins(at(51), at(50))).toBe(true);
    expect(joins(at(49), at(50))).toBe(false);
    expect(joins(null, at(50))).toBe(false);
  });

  test("only within an epoch, but for a symbol that had no trade yet", () => {
    expect(joins(at(50, "e2"), at(50, "e1"))).toBe(false);
    expect(joins(at(3, "e1"), at(0))).toBe(true);
    expect(joins(at(0), at(0))).toBe(true);
  });
});

describe("a live candle", () => {
  test("takes the place of the row of its time when its number is higher", () => {
    book.live(candleMessage(2, 110, 51));
    expect(closes()).toEqual([101, 102, 110]);
    expect(book.takeChanges()).toMatchObject({ all: false, rows: [{ close: 110, seq: 51 }] });
  });

  test("that the rows contain already changes nothing", () => {
    book.live(candleMessage(2, 99, 50));
    book.live(candleMessage(2, 98, 12));
    expect(closes()).toEqual([101, 102, 103]);
    expect(book.takeChanges()).toEqual({ all: false, rows: [] });
  });

  test("at an equal number wins where it is final", () => {
    book.live(candleMessage(2, 103, 50, true));
    expect(book.rows.at(-1)).toMatchObject({ close: 103, final: true });
  });

  test("never makes a closed candle forming again", () => {
    book.live(candleMessage(2, 103, 50, true));
    book.live(candleMessage(2, 103, 50, false));
    expect(book.rows.at(-1)!.final).toBe(true);
  });

  test("of a new time goes to the end", () => {
    book.live(candleMessage(3, 104, 51));
    expect(closes()).toEqual([101, 102, 103, 104]);
    expect(book.takeChanges().all).toBe(false);
  });

  test("may correct an older one, or stand between two", () => {
    book.live(candleMessage(1, 150, 60, true));
    expect(closes()).toEqual([101, 150, 103]);
    book.live(candleMessage(5, 105, 61));
    book.live(candleMessage(4, 104, 62, true));
    expect(closes()).toEqual([101, 150, 103, 104, 105]);
    expect(book.takeChanges().all).toBe(true);
  });
});

describe("a live trade", () => {
  test("moves the forming candle before the service sends it", () => {
    book.trade(trade(120, 51, NOON + 2 * MINUTE + SECOND, 3));
    expect(book.rows.at(-1)).toMatchObject({ high: 120, close: 120, volume: 13, trades: 3, folded: true });
  });

  test("that the candle has already is not counted twice", () => {
    book.trade(trade(120, 50, NOON + 2 * MINUTE + SECOND));
    expect(closes()).toEqual([101, 102, 103]);
  });

  test("opens the next candle", () => {
    book.trade(trade(90, 51, NOON + 3 * MINUTE + 5 * SECOND));
    expect(book.rows.at(-1)).toMatchObject({
      time: NOON + 3 * MINUTE,
      open: 90,
      low: 90,
      trades: 1,
      final: false,
    });
  });

  test("of an older candle waits for what the service makes of it", () => {
    book.trade(trade(1, 51, NOON + MINUTE));
    book.live(candleMessage(2, 103, 52, true));
    book.takeChanges();
    book.trade(trade(1, 53, NOON + 2 * MINUTE + SECOND));
    expect(closes()).toEqual([101, 102, 103]);
  });

  test("is forgotten for the service's own candle, also at the same number", () => {
    book.trade(trade(120, 51, NOON + 2 * MINUTE + SECOND));
    book.live(candleMessage(2, 119, 51));
    expect(book.rows.at(-1)).toMatchObject({ close: 119, seq: 51 });
    expect(book.rows.at(-1)!.folded).toBeUndefined();
  });

  test("that came late within the candle does not become its close", () => {
    book.trade(trade(120, 51, NOON + 2 * MINUTE + 9 * SECOND));
    book.trade(trade(80, 52, NOON + 2 * MINUTE + 3 * SECOND));
    expect(book.rows.at(-1)).toMatchObject({ close: 120, low: 80, trades: 4 });
  });

  test("is not guessed into days, whose ends the calendar makes", () => {
    const days = new CandleBook("1d");
    days.begin([candle(0, 100, false)], at(1), false);
    days.trade(trade(105, 2, NOON + 2 * 86_400 * SECOND));
    expect(days.rows).toHaveLength(1);
    expect(width("1d")).toBeNull();
    expect([width("15s"), width("4h")]).toEqual([15 * SECOND, 240 * MINUTE]);
  });
});

describe("pages", () => {
  test("of older candles go in front, none twice", () => {
    book.prepend([candle(-2, 98), candle(-1, 99), candle(0, 1)]);
    expect(closes()).toEqual([98, 99, 101, 102, 103]);
    expect(book.takeChanges().all).toBe(true);
  });

  test("do not undo a correction that came before them", () => {
    book.live(candleMessage(-1, 77, 60, true));
    expect(closes()).toEqual([101, 102, 103]);
    book.prepend([candle(-2, 98), candle(-1, 99)]);
    expect(closes()).toEqual([98, 77, 101, 102, 103]);
  });

  test("of a later time leave no hole: older rows stay only where the page reaches them", () => {
    book.begin([candle(1, 102), candle(2, 104), candle(3, 105, false)], at(70), true);
    expect(closes()).toEqual([101, 102, 104, 105]);
    expect(book.reaches([candle(9, 1)])).toBe(false);
    book.begin([candle(9, 109), candle(10, 110, false)], at(90), true);
    expect(closes()).toEqual([109, 110]);
  });

  test("that reach only the candle that was forming do not count: it may have closed since", () => {
    expect(book.reaches([candle(2, 103)])).toBe(false);
    expect(book.reaches([candle(1, 102)])).toBe(true);
  });

  test("may be empty", () => {
    const empty = new CandleBook("1m");
    empty.begin([], at(0), true);
    expect(empty.takeChanges().all).toBe(true);
    empty.live(candleMessage(0, 1, 1));
    expect(empty.rows).toHaveLength(1);
  });
});

test("a candle is found by its time", () => {
  expect(book.at(NOON + MINUTE)).toMatchObject({ index: 1, row: { close: 102 } });
  expect(book.at(NOON + 1)).toBeNull();
});
