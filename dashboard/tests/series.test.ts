import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Series } from "../src/series";
import { Stream } from "../src/stream";
import {
  at,
  candle,
  candleMessage,
  FakeHistory,
  FakeSocket,
  MINUTE,
  NOON,
  SECOND,
  settle,
  trade,
} from "./fakes";

let sockets: FakeSocket[];
let stream: Stream;
let history: FakeHistory;
let series: Series;

const socket = () => sockets.at(-1)!;
const closes = () => series.book.rows.map((row) => row.close);
const PAGE = [candle(0, 101), candle(1, 102), candle(2, 103, false)];

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  sockets = [];
  history = new FakeHistory();
  stream = new Stream({
    url: "ws://test",
    connect: () => {
      sockets.push(new FakeSocket());
      return socket();
    },
    random: () => 0,
    now: () => Date.now(),
  });
  series = new Series("AAPL", "1m", stream, history.asHistory, {
    changed: () => undefined,
    state: () => undefined,
  });
  stream.connect();
});

afterEach(() => {
  series.close();
  stream.close();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

async function open(): Promise<void> {
  socket().open();
  await settle();
}

async function joined(): Promise<void> {
  await open();
  socket().join("trades", at(50));
  socket().join("candles", at(50));
  await history.answer({ candles: PAGE, next: "older", position: at(50) });
  expect(series.state).toBe("joined");
}

describe("the start", () => {
  test("joins rows that reach the live position, and applies what came meanwhile", async () => {
    await open();
    socket().join("trades", at(50));
    socket().join("candles", at(50));
    socket().say(candleMessage(2, 104, 51));
    socket().say(candleMessage(3, 105, 53));
    await history.answer({ candles: PAGE, next: null, position: at(52) });
    expect(series.state).toBe("joined");
    expect(closes()).toEqual([101, 102, 103, 105]);
  });

  test("shows rows that came before the connection, and fetches again where they do not reach it", async () => {
    await history.answer({ candles: PAGE, next: null, position: at(50) });
    expect([series.loaded, series.state]).toEqual([true, "loading"]);
    await open();
    socket().join("trades", at(60));
    socket().join("candles", at(60));
    await settle();
    expect(history.waiting).toBe(1);
    await history.answer({
      candles: [...PAGE.slice(0, 2), candle(2, 106), candle(3, 107, false)],
      next: null,
      position: at(61),
    });
    expect(series.state).toBe("joined");
    expect(closes()).toEqual([101, 102, 106, 107]);
  });

  test("needs one request where the rows reach the live position", async () => {
    await history.answer({ candles: PAGE, next: null, position: at(50) });
    await open();
    socket().join("trades", at(50));
    socket().join("candles", at(50));
    await settle();
    expect([series.state, history.asked.length]).toEqual(["joined", 1]);
  });

  test("asks again for rows that are behind the live position", async () => {
    await open();
    socket().join("trades", at(50));
    socket().join("candles", at(50));
    await history.answer({ candles: PAGE, next: null, position: at(49) });
    expect(series.state).toBe("loading");
    await vi.advanceTimersByTimeAsync(150);
    await history.answer({ candles: PAGE, next: null, position: at(50) });
    expect(series.state).toBe("joined");
  });

  test("works where somebody else has the topic already", async () => {
    await joined();
    socket().say(candleMessage(2, 104, 55));
    const second = new FakeHistory();
    const other = new Series("AAPL", "1m", stream, second.asHistory, {
      changed: () => undefined,
      state: () => undefined,
    });
    await settle();
    socket().say(candleMessage(2, 105, 57));
    await second.answer({ candles: PAGE, next: null, position: at(56) });
    expect(other.state).toBe("joined");
    expect(other.book.rows.at(-1)!.close).toBe(105);
    other.close();
  });
});

describe("live", () => {
  test("candles and trades move the chart", async () => {
    await joined();
    socket().say(trade(110, 51, NOON + 2 * MINUTE + SECOND));
    expect(closes()).toEqual([101, 102, 110]);
    socket().say(candleMessage(2, 111, 52));
    expect(closes()).toEqual([101, 102, 111]);
  });

  test("a gap is filled from history", async () => {
    await joined();
    socket().say({ type: "gap", channel: "trades", symbol: "AAPL", from: 51, to: 55, reason: "trimmed" });
    expect(series.state).toBe("filling");
    await settle();
    await history.answer({ candles: [candle(1, 102), candle(2, 120, false)], next: "x", position: at(56) });
    expect([series.state, closes()]).toEqual(["joined", [101, 102, 120]]);
  });

  test("after a reset everything is fetched anew, and nothing of the old epoch stays", async () => {
    await joined();
    socket().say({ type: "reset", channel: "trades", symbol: "AAPL", epoch: "e2", seq: 5 });
    socket().say(candleMessage(3, 130, 6));
    await settle();
    await history.answer({
      candles: [candle(2, 99), candle(3, 128, false)],
      next: null,
      position: at(5, "e2"),
    });
    expect([series.state, closes()]).toEqual(["joined", [99, 130]]);
  });
});

describe("a lost connection", () => {
  async function lost(position = at(90)): Promise<void> {
    await joined();
    socket().lose(1012);
    expect(series.state).toBe("filling");
    await vi.advanceTimersByTimeAsync(300);
    await open();
    socket().join("trades", position);
    socket().join("candles", position);
    await settle();
  }

  test("leaves no hole: rows are fetched until they reach what is there", async () => {
    await lost();
    socket().say(candleMessage(9, 109, 91));
    await history.answer({
      candles: [candle(7, 107), candle(8, 108, false)],
      next: "more",
      position: at(90),
    });
    expect(history.asked.at(-1)!.cursor).toBe("more");
    expect(closes()).toEqual([101, 102, 103]);
    const between = [
      candle(1, 102),
      candle(2, 103.5),
      candle(3, 104),
      candle(4, 104.5),
      candle(5, 105),
      candle(6, 106),
    ];
    await history.answer({ candles: between, next: "rest", position: null });
    expect(series.state).toBe("joined");
    expect(closes()).toEqual([101, 102, 103.5, 104, 104.5, 105, 106, 107, 108, 109]);
  });

  test("goes on where it stood: nothing is fetched, and of each candle the higher number wins", async () => {
    await joined();
    socket().lose(1012);
    await vi.advanceTimersByTimeAsync(300);
    await open();
    socket().join("candles", { ...at(60), recovered: true });
    expect(series.state).toBe("joined");
    socket().say(candleMessage(2, 104, 55, true));
    socket().say(candleMessage(3, 105, 60));
    socket().say(candleMessage(3, 106, 61));
    expect(closes()).toEqual([101, 102, 104, 106]);
    expect(history.asked).toHaveLength(1);
  });

  test("with trades that come before the candles they make ends with what the service says", async () => {
    await joined();
    socket().lose(1012);
    await vi.advanceTimersByTimeAsync(300);
    await open();
    socket().join("trades", { ...at(53), recovered: true });
    socket().say(trade(110, 51, NOON + 2 * MINUTE + SECOND));
    socket().say(trade(111, 52, NOON + 3 * MINUTE + SECOND));
    socket().say(trade(112, 53, NOON + 3 * MINUTE + 2 * SECOND));
    socket().join("candles", { ...at(53), recovered: true });
    expect(closes()).toEqual([101, 102, 110, 112]);
    socket().say(candleMessage(2, 110, 51, true));
    socket().say(candleMessage(3, 112, 53));
    expect(series.book.rows.map((row) => [row.close, row.final, row.folded ?? false])).toEqual([
      [101, true, false],
      [102, true, false],
      [110, true, false],
      [112, false, false],
    ]);
  });

  test("fetches where not all was recovered", async () => {
    await joined();
    socket().lose(1012);
    await vi.advanceTimersByTimeAsync(300);
    await open();
    socket().join("candles", { ...at(90), recovered: false });
    socket().say({ type: "gap", channel: "candles", symbol: "AAPL", from: 51, to: 80, reason: "trimmed" });
    expect(series.state).toBe("filling");
    await settle();
    // The first request was given up for that of the gap.
    await history.answer({ candles: [candle(9, 1)], next: null, position: at(90) });
    await history.answer({
      candles: [candle(1, 102), candle(2, 103.5), candle(3, 104)],
      next: null,
      position: at(90),
    });
    expect([series.state, closes()]).toEqual(["joined", [101, 102, 103.5, 104]]);
  });

  test("that had not been complete before does not go on", async () => {
    await open();
    socket().join("candles", at(50));
    socket().lose(1012);
    await vi.advanceTimersByTimeAsync(300);
    await open();
    socket().join("candles", { ...at(60), recovered: true });
    expect(series.state).toBe("loading");
    await history.answer({ candles: PAGE, next: null, position: at(60) });
    expect(series.state).toBe("joined");
  });

  test("keeps the way to older candles", async () => {
    await lost();
    await history.answer({
      candles: [candle(1, 102), candle(2, 103, false)],
      next: "newer cursor",
      position: at(90),
    });
    void series.loadOlder();
    expect(history.asked.at(-1)!.cursor).toBe("older");
  });

  test("into another epoch begins anew", async () => {
    await lost(at(4, "e2"));
    await history.answer({ candles: [candle(2, 55, false)], next: null, position: at(4, "e2") });
    expect([series.state, closes()]).toEqual(["joined", [55]]);
  });
});

describe("older candles", () => {
  test("are fetched once at a time, until there are none", async () => {
    await joined();
    void series.loadOlder();
    void series.loadOlder();
    expect(history.asked).toHaveLength(2);
    await history.answer({ candles: [candle(-2, 98), candle(-1, 99)], next: null, position: null });
    expect(closes()).toEqual([98, 99, 101, 102, 103]);
    expect(series.hasOlder).toBe(false);
    void series.loadOlder();
    expect(history.asked).toHaveLength(2);
  });
});

test("history that is stored after the page was opened appears in front", async () => {
  await open();
  socket().join("trades", at(50));
  socket().join("candles", at(50));
  await history.answer({ candles: PAGE, next: null, position: at(50) });
  await vi.advanceTimersByTimeAsync(2_000);
  await history.answer({ candles: [], next: null, position: null });
  expect(series.hasOlder).toBe(false);
  await vi.advanceTimersByTimeAsync(3_000);
  expect(history.asked.at(-1)).toMatchObject({ end: PAGE[0]!.time });
  await history.answer({ candles: [candle(-2, 98), candle(-1, 99)], next: "more", position: null });
  expect([closes(), series.hasOlder]).toEqual([[98, 99, 101, 102, 103], true]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(history.asked).toHaveLength(3);
});

test("a series that is open for days lets go of what was scrolled away, and finds it again", async () => {
  await joined();
  const rows = Array.from({ length: 30_001 }, (_, index) => candle(index - 30_000, 100));
  void series.loadOlder();
  await history.answer({ candles: rows, next: null, position: null });
  expect([series.book.rows.length, series.hasOlder]).toEqual([30_003, false]);
  series.trim();
  expect([series.book.rows.length, series.hasOlder]).toEqual([20_000, true]);
  void series.loadOlder();
  expect(history.asked.at(-1)).toEqual({ limit: 2_000, cursor: null, end: series.book.rows[0]!.time });
});

test("a closed series leaves its topics", async () => {
  await joined();
  series.close();
  await settle();
  expect(socket().sent.filter(({ op }) => op === "unsubscribe")).toHaveLength(2);
});
