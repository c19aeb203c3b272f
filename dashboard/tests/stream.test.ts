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
    expect(events).toContainEqual({ kind: "joined", topic: AAPL, position: at(7), recovered: false });
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

describe("several owners", () => {
  const LATEST = { channel: "trades", symbols: ["AAPL"], deliver: "latest", every_ms: 16 };

  test("get every message as long as one of them wants all", async () => {
    stream.subscribe(AAPL, "latest");
    await connected();
    expect(socket().sent.at(-1)).toMatchObject(LATEST);
    socket().join("trades", at(7));
    stream.subscribe(AAPL);
    await settle();
    expect(socket().sent.at(-1)).toEqual({ op: "subscribe", channel: "trades", symbols: ["AAPL"], id: 2 });
    stream.unsubscribe(AAPL);
    await settle();
    expect(socket().sent.at(-1)).toMatchObject(LATEST);
    stream.unsubscribe(AAPL, "latest");
    await settle();
    expect(socket().sent.at(-1)).toMatchObject({ op: "unsubscribe" });
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

describe("a connection that is dropped by hand", () => {
  test("comes back after the time that was given, and resumes", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(7));
    const old = socket();
    stream.drop(5_000);
    expect(old.readyState).toBe(3);
    expect(events.at(-1)).toMatchObject({ kind: "phase", phase: "offline", retryMs: 5_000 });
    await vi.advanceTimersByTimeAsync(4_900);
    expect(sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    socket().open();
    await settle();
    expect(socket().asked("subscribe", "trades")).toMatchObject({ resume: { AAPL: at(7) } });
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

  async function back(): Promise<void> {
    socket().lose(1012);
    await vi.advanceTimersByTimeAsync(2_000);
    socket().open();
    await settle();
  }

  const resumed = () => events.filter(({ kind }) => kind === "resumed");
  const replayed = () => events.filter((event) => event.kind === "message" && event.replayed).length;

  test("goes on from where each topic stood, and what was missed comes before what is new", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(7));
    socket().say(trade(1, 8, 1));
    await back();
    expect(socket().sent.at(-1)).toMatchObject({ op: "subscribe", resume: { AAPL: at(8) } });
    socket().join("trades", { ...at(10), recovered: true });
    expect(events.at(-2)).toMatchObject({ kind: "joined", position: at(10), recovered: true });
    expect(stream.settled).toBe(false);
    for (const seq of [9, 10, 11]) socket().say(trade(1, seq, 1));
    expect(seqs()).toEqual([8, 9, 10, 11]);
    expect(replayed()).toBe(2);
    expect(resumed()).toEqual([{ kind: "resumed", topic: AAPL, replayed: 2, missed: 0 }]);
    expect(stream.settled).toBe(true);
  });

  test("that missed nothing has nothing to replay", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(7));
    await back();
    socket().join("trades", { ...at(7), recovered: true });
    expect([stream.settled, resumed().length, stream.position(AAPL)]).toEqual([true, 0, at(7)]);
  });

  test("that missed what is gone counts it", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(7));
    await back();
    socket().join("trades", { ...at(12), recovered: false });
    const gap = { type: "gap", channel: "trades", symbol: "AAPL", from: 8, to: 11, reason: "trimmed" };
    socket().say(gap);
    socket().say(trade(1, 12, 1));
    expect(resumed()).toEqual([{ kind: "resumed", topic: AAPL, replayed: 1, missed: 4 }]);
  });

  test("into another epoch goes on behind the reset", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(70));
    await back();
    socket().join("trades", { ...at(42, "e2"), recovered: false });
    socket().say({ type: "reset", channel: "trades", symbol: "AAPL", epoch: "e2", seq: 40 });
    for (const seq of [41, 42, 43]) socket().say(trade(1, seq, 1));
    expect(seqs()).toEqual([41, 42, 43]);
    expect(resumed()).toMatchObject([{ replayed: 2, missed: 0 }]);
    expect(stream.position(AAPL)).toEqual(at(43, "e2"));
  });

  test("with nothing behind the reset has come to its end", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(70));
    await back();
    socket().join("trades", { ...at(40, "e2"), recovered: false });
    socket().say({ type: "reset", channel: "trades", symbol: "AAPL", epoch: "e2", seq: 40 });
    expect(stream.settled).toBe(true);
  });

  test("that is lost again before the answer, or while it replays, still knows where it stood", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(7));
    await back();
    await back();
    expect(socket().sent.at(-1)).toMatchObject({ resume: { AAPL: at(7) } });
    socket().join("trades", { ...at(10), recovered: true });
    socket().say(trade(1, 8, 1));
    await back();
    expect(socket().sent.at(-1)).toMatchObject({ resume: { AAPL: at(8) } });
  });

  test("asks from the same place where it may ask again", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(7));
    await back();
    const { id } = socket().sent.at(-1) as { id: number };
    socket().say({ type: "error", id, code: "unavailable", message: "the store is away", retry: true });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(socket().sent).toHaveLength(2);
    expect(socket().sent.at(-1)).toMatchObject({ resume: { AAPL: at(7) } });
  });

  test("asks from now on where going on is refused", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(7));
    await back();
    const { id } = socket().sent.at(-1) as { id: number };
    socket().say({ type: "error", id, code: "bad_request", message: "no", retry: false });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(socket().sent.at(-1)).not.toHaveProperty("resume");
    socket().join("trades", at(9));
    expect(stream.settled).toBe(true);
  });

  test("asks for all while it replays, without a second position, and without losing its own", async () => {
    stream.subscribe(AAPL, "latest");
    await connected();
    socket().join("trades", at(7));
    await back();
    stream.subscribe(AAPL);
    await settle();
    expect(socket().sent.at(-1)).not.toHaveProperty("resume");
    const { id } = socket().sent.at(-1) as { id: number };
    socket().say({
      type: "subscribed",
      id: id - 1,
      channel: "trades",
      positions: { AAPL: { ...at(9), recovered: true } },
      errors: [],
    });
    socket().join("trades", at(9));
    for (const seq of [8, 9]) socket().say(trade(1, seq, 1));
    expect(seqs()).toEqual([8, 9]);
  });

  test("forgets where a topic stood that nobody wants any more", async () => {
    stream.subscribe(AAPL);
    await connected();
    socket().join("trades", at(7));
    socket().lose(1012);
    stream.unsubscribe(AAPL);
    stream.subscribe(AAPL);
    await vi.advanceTimersByTimeAsync(500);
    socket().open();
    await settle();
    expect(socket().sent.at(-1)).not.toHaveProperty("resume");
  });

  test("asks for the newest candle again, which may have closed without another trade", async () => {
    stream.subscribe({ channel: "candles", interval: "1m", symbol: "AAPL" });
    await connected();
    socket().join("candles", at(7));
    await back();
    expect(socket().sent.at(-1)).toMatchObject({ resume: { AAPL: at(6) } });
    socket().join("candles", { ...at(7), recovered: true });
    expect(stream.settled).toBe(true);
    socket().say(candleMessage(3, 1, 9));
    // A late trade corrects an older candle before the service has told of the newest trades.
    socket().say(candleMessage(1, 1, 12, true));
    await back();
    expect(socket().sent.at(-1)).toMatchObject({ interval: "1m", resume: { AAPL: at(8) } });
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
