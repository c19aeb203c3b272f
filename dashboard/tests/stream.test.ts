import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { backoffMs } from "../src/backoff";
import { Stream } from "../src/stream";
import type { StreamEvent } from "../src/stream";
import { at, candleMessage, FakeSocket, settle, trade } from "./fakes";

let sockets: FakeSocket[];
let events: StreamEvent[];
let stream: Stream;

const socket = () => sockets.at(-1)!;
const messages = () => events.flatMap((event) => (event.kind === "message" ? [event.message] : []));
const seqs = () => messages().flatMap((message) => (message.type === "trade" ? [message.seq] : []));
const AAPL = { channel: "trades", symbol: "AAPL" } as const;

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  events = [];
  stream = new Stream({
    url: "ws://test/v1/stream",
    connect: () => {
      sockets.push(new FakeSocket());
      return socket();
    },
    random: () => 0.5,
    now: () => Date.now(),
  });
  stream.on((event) => events.push(event));
});

afterEach(() => {
  stream.close();
  vi.useRealTimers();
});

async function connected(): Promise<void> {
  stream.connect();
  socket().open();
  await settle();
}

describe("backoff", () => {
  test("doubles up to ten seconds and is spread by chance", () => {
    expect([0, 1, 2, 3].map((attempt) => backoffMs(attempt, 1006, 1))).toEqual([250, 500, 1000, 2000]);
    expect(backoffMs(60, 1006, 1)).toBe(10_000);
    expect(backoffMs(60, 1006, 0)).toBe(5_000);
  });

  test("is patient where the service said no", () => {
    for (const code of [1013, 4401, 4429]) expect(backoffMs(0, code, 1)).toBe(5_000);
    for (const code of [1001, 1012, 4508]) expect(backoffMs(0, code, 1)).toBe(250);
  });
});

describe("subscribing", () => {
  test("asks once for all that is wanted at a time, by channel and interval", async () => {
    stream.subscribe(AAPL);
    stream.subscribe({ channel: "trades", symbol: "MSFT" });
    stream.subscribe({ channel: "candles", interval: "1m", symbol: "AAPL" });
    await connected();
    expect(socket().sent).toEqual([
      { op: "subscribe", channel: "trades", symbols: ["AAPL", "MSFT"], id: 1 },
      { op: "subscribe", channel: "candles", interval: "1m", symbols: ["AAPL"], id: 2 },
    ]);
  });

  test("twice asks once, and the first of two owners who leaves takes nothing along", async () => {
    await connected();
    stream.subscribe(AAPL);
    stream.subscribe(AAPL);
    await settle();
    stream.unsubscribe(AAPL);
    await settle();
    expect(socket().sent).toHaveLength(1);
    stream.unsubscribe(AAPL);
    await settle();
    expect(socket().sent.at(-1)).toMatchObject({ op: "unsubscribe", channel: "trades", symbols: ["AAPL"] });
  });

  test("tells where live messages begin, and is settled then", async () => {
    stream.subscribe(AAPL);
    await connected();
    expect(stream.settled).toBe(false);
    socket().join("trades", at(7));
    expect(events).toContainEqual({ kind: "joined", topic: AAPL, position: at(7) });
    expect(stream.position(AAPL)).toEqual(at(7));
    expect(stream.settled).toBe(true);
  });

  test("tells of a symbol that is not known", async () => {
    stream.subscribe({ channel: "trades", symbol: "ZZZZ" });
    await connected();
    const errors = [{ symbol: "ZZZZ", code: "unknown_symbol" }];
    socket().say({ type: "subscribed", id: 1, channel: "trades", positions: {}, errors });
    expect(events.at(-2)).toMatchObject({
      kind: "refused",
      topic: { symbol: "ZZZZ" },
      code: "unknown_symbol",
    });
    expect(stream.settled).toBe(true);
  });

  test("is tried again where the service says that this may help", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().say({ type: "error", id: 1, code: "unavailable", message: "the store is away", retry: true });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(socket().sent.map((request) => request.op)).toEqual(["subscribe", "subscribe"]);
  });
});

describe("messages", () => {
  test("reach the listeners in order, each number once", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(7));
    socket().say({ ...trade(1, 7, 1), snapshot: true });
    for (const seq of [8, 8, 7, 9]) socket().say(trade(1, seq, 1));
    expect(seqs()).toEqual([7, 8, 9]);
    expect(stream.position(AAPL)).toEqual(at(9));
  });

  test("of candles pass also at the number they had before: one of them may be final", async () => {
    stream.subscribe({ channel: "candles", interval: "1m", symbol: "AAPL" });
    await connected();
    socket().join("candles", at(7));
    socket().say(candleMessage(0, 1, 8));
    socket().say(candleMessage(0, 1, 8, true));
    expect(messages().filter(({ type }) => type === "candle")).toHaveLength(2);
  });

  test("count from a reset on", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(7));
    socket().say({ type: "reset", channel: "trades", symbol: "AAPL", epoch: "e2", seq: 3 });
    socket().say(trade(1, 4, 1));
    expect(seqs()).toEqual([4]);
    expect(stream.position(AAPL)).toEqual(at(4, "e2"));
  });

  test("of topics that nobody wants any more go nowhere", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(7));
    stream.unsubscribe(AAPL);
    socket().say(trade(1, 8, 1));
    expect(seqs()).toEqual([]);
  });
});

describe("a lost connection", () => {
  test("is made again after the backoff, with everything that is wanted", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(7));
    socket().lose(1012, "restarting");
    expect(events.at(-1)).toEqual({ kind: "phase", phase: "offline", reason: "restarting", retryMs: 188 });
    expect(stream.position(AAPL)).toBeUndefined();
    expect(stream.settled).toBe(false);
    await vi.advanceTimersByTimeAsync(188);
    expect(sockets).toHaveLength(2);
    socket().open();
    await settle();
    expect(socket().sent).toMatchObject([{ op: "subscribe", channel: "trades", symbols: ["AAPL"] }]);
  });

  test("that was refused again and again is tried ever less often, a good one begins anew", async () => {
    stream.connect();
    const waits: number[] = [];
    for (let attempt = 0; attempt < 3; attempt += 1) {
      socket().lose();
      waits.push((events.at(-1) as { retryMs: number }).retryMs);
      await vi.advanceTimersByTimeAsync(waits.at(-1)!);
    }
    socket().open();
    await vi.advanceTimersByTimeAsync(6_000);
    socket().lose();
    waits.push((events.at(-1) as { retryMs: number }).retryMs);
    expect(waits).toEqual([188, 375, 750, 188]);
  });

  test("is noticed when nothing is heard for two and a half heartbeats", async () => {
    await connected();
    await vi.advanceTimersByTimeAsync(20_000);
    socket().say({ type: "heartbeat", time: 0, sent: 0 });
    await vi.advanceTimersByTimeAsync(24_000);
    expect(stream.phase).toBe("open");
    await vi.advanceTimersByTimeAsync(1_500);
    expect(stream.phase).not.toBe("open");
    expect(sockets[0]!.readyState).toBe(3);
  });

  test("says nothing any more, even if it does", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(7));
    const old = socket();
    old.lose();
    await vi.advanceTimersByTimeAsync(500);
    old.say(trade(1, 8, 1));
    expect(seqs()).toEqual([]);
  });

  test("is tried at once when the network comes back", async () => {
    stream.connect();
    socket().lose(1013);
    stream.retryNow();
    expect(sockets).toHaveLength(2);
    stream.retryNow();
    expect(sockets).toHaveLength(2);
  });

  test("stays lost once the page has closed it", async () => {
    await connected();
    stream.close();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sockets).toHaveLength(1);
  });
});
