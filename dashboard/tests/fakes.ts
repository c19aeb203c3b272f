/** A service in the test's hands: sockets that it opens and speaks on, answers of REST that it gives. */

import type { CandlePage, History } from "../src/history";
import type { CandleMessage, Position, TradeMessage } from "../src/messages";
import type { Socket } from "../src/stream";

export class FakeSocket implements Socket {
  readyState = 0;
  sent: Record<string, unknown>[] = [];
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  onerror: Socket["onerror"] = null;

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    this.readyState = 3;
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.(undefined as never);
    this.say({ type: "welcome", version: 1, connection: "c-1", heartbeat_ms: 10_000, time: 0 });
  }

  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  lose(code = 1006, reason = ""): void {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** The last request of a kind. */
  asked(op: string, channel: string): Record<string, unknown> | undefined {
    return this.sent.findLast((request) => request.op === op && request.channel === channel);
  }

  /** Answer the last subscription of a channel: everything stands at this position. */
  join(channel: string, position: Position & { recovered?: boolean }): void {
    const { id, interval, symbols } = this.asked("subscribe", channel) as {
      id: number;
      interval?: string;
      symbols: string[];
    };
    const positions = Object.fromEntries(symbols.map((symbol) => [symbol, position]));
    this.say({ type: "subscribed", id, channel, ...(interval ? { interval } : {}), positions, errors: [] });
  }
}

export const SECOND = 1_000_000;
export const MINUTE = 60 * SECOND;
export const NOON = 1_763_985_600 * SECOND;

export function candle(minute: number, close: number, final = true) {
  const time = NOON + minute * MINUTE;
  return {
    time,
    open: 100,
    high: Math.max(100, close),
    low: Math.min(100, close),
    close,
    volume: 10,
    trades: 2,
    vwap: 100,
    final,
  };
}

export function candleMessage(minute: number, close: number, seq: number, final = false): CandleMessage {
  return { type: "candle", symbol: "AAPL", interval: "1m", ...candle(minute, close, final), seq };
}

export function trade(price: number, seq: number, time: number, size = 1): TradeMessage {
  return { type: "trade", symbol: "AAPL", price, size, time, seq };
}

export function at(seq: number, epoch: string | null = "e1"): Position {
  return { epoch: seq ? epoch : null, seq };
}

/** Asked for candles, it waits until the test answers. */
export class FakeHistory {
  asked: { limit: number; cursor: string | null; end?: number }[] = [];
  #waiting: ((page: CandlePage) => void)[] = [];

  candles(
    _symbol: string,
    _interval: string,
    query: { limit: number; cursor?: string | null; end?: number },
  ): Promise<CandlePage> {
    this.asked.push({ ...query, cursor: query.cursor ?? null });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  async answer(page: CandlePage): Promise<void> {
    const resolve = this.#waiting.shift();
    if (!resolve) throw new Error("nothing was asked");
    resolve(page);
    await settle();
  }

  get asHistory(): History {
    return this as unknown as History;
  }
}

/** Let everything happen that only waits for its turn. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 12; turn += 1) await Promise.resolve();
}
