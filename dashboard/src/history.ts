/** Asks the service over REST: candles, snapshots and symbols. */

import type { Candle, Interval, Micros, Position } from "./messages";

export interface CandlePage {
  candles: Candle[];
  /** Leads to older ones; null where there are none. */
  next: string | null;
  position: Position | null;
}

export interface TradePage {
  /** In the order of their numbers. */
  trades: { time: Micros; price: number; size: number; seq: number }[];
  next: string | null;
  position: Position | null;
}

export interface Snapshot {
  symbol: string;
  trade: { price: number; size: number; time: Micros; seq: number } | null;
  quote: {
    bid: number | null;
    bid_size: number;
    ask: number | null;
    ask_size: number;
    time: Micros;
    seq: number;
  } | null;
  day: Candle | null;
  previous_close: number | null;
  positions: { trades: Position; quotes: Position };
}

export interface Metadata {
  symbol: string;
  name: string;
  exchange: string;
  currency: string;
  sector: string;
  tick_size: number;
  feed: string;
  simulated?: boolean;
}

/** What went wrong, in the service's words where it had any. */
export class HistoryError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }

  /** Asking again later may help. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

type Query = Record<string, string | number | boolean | null | undefined>;

export class History {
  /** `base` is http://host:port, or nothing in a page of the service itself. */
  constructor(
    private readonly base = "",
    private readonly fetcher: typeof fetch = (input, init) => fetch(input, init),
  ) {}

  /** A page of candles with the forming one, oldest first: the newest before `end`, or those behind a page's cursor. */
  candles(
    symbol: string,
    interval: Interval,
    query: { limit: number; cursor?: string | null; start?: Micros | null; end?: Micros | null },
    signal?: AbortSignal,
  ): Promise<CandlePage> {
    return this.#get(`candles/${encodeURIComponent(symbol)}`, { interval, forming: true, ...query }, signal);
  }

  /** The newest trades. */
  trades(symbol: string, query: { limit: number }, signal?: AbortSignal): Promise<TradePage> {
    return this.#get(`trades/${encodeURIComponent(symbol)}`, query, signal);
  }

  /** Last trade and quote, day, previous close; of unknown symbols nothing. */
  async snapshots(symbols: string[], signal?: AbortSignal): Promise<Record<string, Snapshot>> {
    const query = { symbols: symbols.join(",") };
    return (await this.#get<{ snapshots: Record<string, Snapshot> }>("snapshots", query, signal)).snapshots;
  }

  /** Those with the query in symbol or name. */
  async symbols(query: string, limit: number, signal?: AbortSignal): Promise<Metadata[]> {
    const body = await this.#get<{ symbols: Metadata[] }>("symbols", { query, limit }, signal);
    return body.symbols;
  }

  symbol(symbol: string, signal?: AbortSignal): Promise<Metadata> {
    return this.#get(`symbols/${encodeURIComponent(symbol)}`, {}, signal);
  }

  async #get<T>(path: string, query: Query, signal?: AbortSignal): Promise<T> {
    const given = Object.entries(query).filter(
      ([, value]) => value !== null && value !== undefined && value !== "",
    );
    const search = new URLSearchParams(
      given.map(([name, value]): [string, string] => [name, String(value)]),
    ).toString();
    let answer: Response;
    try {
      answer = await this.fetcher(
        `${this.base}/v1/${path}${search && `?${search}`}`,
        signal ? { signal } : {},
      );
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new HistoryError(0, "unreachable", "the service cannot be reached");
    }
    const body = (await answer.json().catch(() => null)) as (T & { code?: string; detail?: string }) | null;
    if (answer.ok && body) return body;
    throw new HistoryError(
      answer.status,
      body?.code ?? "unexpected",
      body?.detail ?? `the service answered ${answer.status} without saying why`,
    );
  }
}

/** Ask until it is answered, unless asking again cannot help; `again` is told of each failure. */
export async function persistently<T>(
  ask: () => Promise<T>,
  signal: AbortSignal,
  again: (error: HistoryError) => void,
): Promise<T> {
  for (let waitMs = 500; ; waitMs = Math.min(waitMs * 2, 8_000)) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof HistoryError) || !error.passing) throw error;
      again(error);
      await pause(waitMs * (0.75 + Math.random() / 2), signal);
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason as Error)), {
      once: true,
    });
  });
}
