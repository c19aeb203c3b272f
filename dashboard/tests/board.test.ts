import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Board, derived } from "../src/board";
import type { History, Metadata, Snapshot } from "../src/history";
import { Stream } from "../src/stream";
import { at, candle, FakeSocket, settle, trade } from "./fakes";

const META = { symbol: "AAPL", name: "Apple Inc.", tick_size: 0.01 } as Metadata;
let socket: FakeSocket;
let stream: Stream;
let board: Board;
let changed: string[];
let snapshot: Partial<Snapshot>;

beforeEach(async () => {
  vi.useFakeTimers();
  changed = [];
  snapshot = { trade: { price: 100, size: 5, time: 1, seq: 10 }, quote: null, day: null, previous_close: 80 };
  stream = new Stream({
    url: "ws://test",
    connect: () => (socket = new FakeSocket()),
    now: () => Date.now(),
  });
  const history = {
    snapshots: async (symbols: string[]) =>
      Object.fromEntries(
        symbols.map((symbol) => [
          symbol,
          { symbol, positions: { trades: at(10), quotes: at(0) }, ...snapshot },
        ]),
      ),
    symbol: async () => META,
  };
  board = new Board(stream, history as unknown as History, (symbol) => changed.push(symbol));
  board.watch("AAPL");
  stream.connect();
  socket.open();
  await settle();
  for (const channel of ["trades", "quotes", "candles"]) socket.join(channel, at(10));
});

afterEach(() => {
  stream.close();
  vi.useRealTimers();
});

const line = () => board.line("AAPL")!;
const day = (number: number, close: number, volume: number, seq: number) => {
  const time = candle(0, 1).time + number * 86_400_000_000;
  return { type: "candle", symbol: "AAPL", interval: "1d", ...candle(0, close, false), time, volume, seq };
};

test("a snapshot fills the line, live ticks go on", async () => {
  await vi.advanceTimersByTimeAsync(50);
  expect(line()).toMatchObject({ last: 100, base: 80, meta: META });
  expect(derived(line())).toEqual({ change: 20, percent: 25 });
  socket.say(trade(101, 11, 2));
  expect(line()).toMatchObject({ last: 101, direction: 1, moves: 1 });
  socket.say(trade(99, 12, 3));
  expect(line()).toMatchObject({ last: 99, direction: -1, moves: 2 });
  socket.say({
    type: "quote",
    symbol: "AAPL",
    bid: 98,
    bid_size: 3,
    ask: null,
    ask_size: 0,
    time: 3,
    seq: 11,
  });
  expect(line()).toMatchObject({ bid: 98, ask: null });
});

test("an answer that is older than what came live changes nothing", async () => {
  socket.say(trade(105, 11, 2));
  await vi.advanceTimersByTimeAsync(50);
  expect(line()).toMatchObject({ last: 105, base: 80 });
});

test("the volume is the day candle's, and a new day makes the old close the base", async () => {
  await vi.advanceTimersByTimeAsync(50);
  socket.say(day(0, 104, 700, 11));
  expect(line()).toMatchObject({ volume: 700, base: 80 });
  socket.say(day(1, 106, 20, 12));
  expect(line()).toMatchObject({ volume: 20, base: 104, baseIsOpen: false });
  socket.say(day(0, 90, 1, 13));
  expect(line()).toMatchObject({ volume: 20, base: 104 });
});

test("history that comes in later brings the previous close", async () => {
  snapshot.previous_close = null;
  await vi.advanceTimersByTimeAsync(50);
  socket.say({ ...day(0, 104, 700, 11), trades: 11 });
  socket.say({ ...day(0, 104, 701, 12), trades: 12 });
  snapshot.previous_close = 90;
  await vi.advanceTimersByTimeAsync(50);
  expect(line()).toMatchObject({ base: 100, baseIsOpen: true });
  socket.say({ ...day(0, 104, 9_000, 13), trades: 400 });
  await vi.advanceTimersByTimeAsync(50);
  expect(line()).toMatchObject({ base: 90, baseIsOpen: false, volume: 9_000 });
});

test("without a previous close change is counted from the day's open, and said to be", async () => {
  snapshot.previous_close = null;
  await vi.advanceTimersByTimeAsync(50);
  socket.say(day(0, 104, 700, 11));
  expect(line()).toMatchObject({ base: 100, baseIsOpen: true });
});

test("numbers that begin again after a reset are believed", async () => {
  await vi.advanceTimersByTimeAsync(50);
  snapshot.trade = null;
  socket.say({ type: "reset", channel: "trades", symbol: "AAPL", epoch: "e2", seq: 0 });
  socket.say(trade(50, 1, 9));
  expect(line().last).toBe(50);
});

test("asks for no more than once a second, and after a lost connection only for what was not recovered", async () => {
  await vi.advanceTimersByTimeAsync(50);
  expect(socket.sent.every(({ deliver, every_ms }) => deliver === "latest" && every_ms === 1000)).toBe(true);
  snapshot = { ...snapshot, previous_close: 70 };
  const reconnect = async (recovered: boolean) => {
    socket.lose(1012);
    await vi.advanceTimersByTimeAsync(500);
    socket.open();
    await settle();
    expect(socket.asked("subscribe", "trades")).toMatchObject({ resume: { AAPL: { epoch: "e1" } } });
    socket.join("trades", { ...at(20), recovered });
    socket.say({ ...trade(105, 20, 2), skipped: 9 });
    await vi.advanceTimersByTimeAsync(50);
  };
  await reconnect(true);
  expect(line()).toMatchObject({ last: 105, base: 80 });
  await reconnect(false);
  expect(line()).toMatchObject({ last: 105, base: 70 });
});

test("what nobody watches is let go", async () => {
  board.watch("AAPL");
  board.release("AAPL");
  await settle();
  expect(socket.asked("unsubscribe", "trades")).toBeUndefined();
  board.release("AAPL");
  await settle();
  expect(["trades", "quotes", "candles"].every((channel) => socket.asked("unsubscribe", channel))).toBe(true);
  expect(board.line("AAPL")).toBeUndefined();
});

test("a symbol that is not known is said to be", async () => {
  const errors = [{ symbol: "AAPL", code: "unknown_symbol" }];
  socket.say({ type: "subscribed", channel: "trades", positions: {}, errors });
  expect(line().unknown).toBe(true);
});

test("what is looked at is kept current more often, until it is looked away from", async () => {
  board.look(new Set(["AAPL", "ZZZZ"]));
  await settle();
  expect(socket.asked("subscribe", "quotes")).toMatchObject({ symbols: ["AAPL"], every_ms: 16 });
  const asked = socket.sent.length;
  board.look(new Set(["AAPL"]));
  await settle();
  expect(socket.sent).toHaveLength(asked);
  board.look(new Set());
  await settle();
  expect(socket.asked("subscribe", "quotes")).toMatchObject({ symbols: ["AAPL"], every_ms: 1_000 });
  board.look(new Set(["AAPL"]));
  board.release("AAPL");
  await settle();
  expect(socket.asked("unsubscribe", "quotes")).toMatchObject({ symbols: ["AAPL"] });
});

test("many symbols are described by one answer, what it leaves out one by one", async () => {
  const names = Array.from({ length: 20 }, (_, at) => `S${at}`);
  const asked: string[] = [];
  const history = {
    snapshots: async () => ({}),
    symbols: async () => names.slice(1).map((symbol) => ({ ...META, symbol })),
    symbol: async (symbol: string) => (asked.push(symbol), { ...META, symbol }),
  };
  const many = new Board(stream, history as unknown as History, () => undefined);
  for (const name of names) many.watch(name);
  await vi.advanceTimersByTimeAsync(50);
  expect(asked).toEqual(["S0"]);
  expect(names.every((name) => many.line(name)!.meta?.symbol === name)).toBe(true);
});
