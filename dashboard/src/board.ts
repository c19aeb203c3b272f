/** What the watchlist shows of each symbol: snapshots of REST, kept current by live trades, quotes and day candles. */

import { persistently } from "./history";
import type { History, Metadata, Snapshot } from "./history";
import type { Candle, Position, QuoteMessage, Topic, TradeMessage } from "./messages";
import type { Stream, StreamEvent } from "./stream";

export interface Line {
  symbol: string;
  meta: Metadata | null;
  last: number | null;
  lastSize: number | null;
  /** Up or down against the trade before, 0 before there was one. */
  direction: -1 | 0 | 1;
  /** Rises with every change of the last price, so that whoever draws knows to flash. */
  moves: number;
  bid: number | null;
  bidSize: number;
  ask: number | null;
  askSize: number;
  volume: number | null;
  /** Of the day. */
  low: number | null;
  high: number | null;
  /** What `change` is counted from: the close of the day before, or, where there is none, the day's open. */
  base: number | null;
  baseIsOpen: boolean;
  unknown: boolean;
}

export interface Derived {
  change: number | null;
  percent: number | null;
}

export function derived(line: Line): Derived {
  if (line.last === null || !line.base) return { change: null, percent: null };
  const change = line.last - line.base;
  return { change, percent: (100 * change) / line.base };
}

interface Kept {
  line: Line;
  owners: number;
  epoch: string | null;
  tradeSeq: number;
  quoteSeq: number;
  day: (Candle & { seq: number }) | null;
}

const ASK_MS = 30;
/** More symbols than this are described by one answer. */
const FEW = 8;
const ALL = 10_000;

export class Board {
  #kept = new Map<string, Kept>();
  #seen = new Set<string>();
  #due = new Set<string>();
  #nameless = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #run = new AbortController();

  constructor(
    private readonly stream: Stream,
    private readonly history: History,
    /** Told of each symbol that has changed, many times a frame. */
    private readonly changed: (symbol: string) => void,
  ) {
    stream.on((event) => this.#take(event));
  }

  line(symbol: string): Line | undefined {
    return this.#kept.get(symbol)?.line;
  }

  /** Keep a symbol current, until it is let go as often. */
  watch(symbol: string, meta: Metadata | null = null): void {
    const kept = this.#kept.get(symbol);
    if (kept) {
      kept.owners += 1;
      return;
    }
    this.#kept.set(symbol, {
      line: empty(symbol, meta),
      owners: 1,
      epoch: null,
      tradeSeq: 0,
      quoteSeq: 0,
      day: null,
    });
    for (const topic of topics(symbol)) this.stream.subscribe(topic, "rarely");
    this.#ask(symbol);
    if (!meta) this.#nameless.add(symbol);
  }

  /** Keep these, and no others, current as often as frames are drawn. */
  look(symbols: ReadonlySet<string>): void {
    const seen = new Set([...symbols].filter((symbol) => this.#kept.has(symbol)));
    for (const symbol of seen) {
      if (this.#seen.has(symbol)) continue;
      for (const topic of topics(symbol)) this.stream.subscribe(topic, "latest");
    }
    for (const symbol of this.#seen) if (!seen.has(symbol)) this.#lookAway(symbol);
    this.#seen = seen;
  }

  #lookAway(symbol: string): void {
    for (const topic of topics(symbol)) this.stream.unsubscribe(topic, "latest");
  }

  release(symbol: string): void {
    const kept = this.#kept.get(symbol);
    if (!kept) return;
    kept.owners -= 1;
    if (kept.owners) return;
    this.#kept.delete(symbol);
    if (this.#seen.delete(symbol)) this.#lookAway(symbol);
    for (const topic of topics(symbol)) this.stream.unsubscribe(topic, "rarely");
  }

  #take(event: StreamEvent): void {
    if (event.kind === "joined" && event.topic.channel === "trades")
      this.#joined(event.topic.symbol, event.position, event.recovered);
    else if (event.kind === "refused" && event.code === "unknown_symbol")
      this.#unknown(event.topic.symbol, true);
    if (event.kind !== "message") return;
    const { message } = event;
    if (message.type === "trade") this.#trade(message);
    else if (message.type === "quote") this.#quote(message);
    else if (message.type === "candle" && message.interval === "1d") this.#day(message);
    else if (message.type === "reset") this.#reset(message.symbol);
  }

  #joined(symbol: string, position: Position, recovered: boolean): void {
    const kept = this.#kept.get(symbol);
    if (!recovered && kept?.epoch && position.epoch !== kept.epoch) this.#reset(symbol);
    if (kept) kept.epoch = position.epoch;
    // What was missed comes by itself, and a name whose snapshot was never read is still being asked for.
    if (!recovered) this.#ask(symbol);
  }

  #trade({ symbol, price, size, seq }: Pick<TradeMessage, "symbol" | "price" | "size" | "seq">): void {
    const kept = this.#kept.get(symbol);
    if (!kept || seq <= kept.tradeSeq) return;
    const { line } = kept;
    kept.tradeSeq = seq;
    if (line.last !== null && price !== line.last) {
      line.direction = price > line.last ? 1 : -1;
      line.moves += 1;
    }
    line.last = price;
    line.lastSize = size;
    line.unknown = false;
    this.changed(symbol);
  }

  #quote(quote: Omit<QuoteMessage, "type">): void {
    const kept = this.#kept.get(quote.symbol);
    if (!kept || quote.seq <= kept.quoteSeq) return;
    kept.quoteSeq = quote.seq;
    const { line } = kept;
    [line.bid, line.bidSize, line.ask, line.askSize] = [quote.bid, quote.bid_size, quote.ask, quote.ask_size];
    this.changed(quote.symbol);
  }

  #day(candle: Candle & { symbol: string; seq: number }): void {
    const kept = this.#kept.get(candle.symbol);
    if (!kept) return;
    const { day, line } = kept;
    if (day && (candle.time < day.time || (candle.time === day.time && candle.seq < day.seq))) return;
    if (day && candle.time > day.time) {
      line.base = day.close;
      line.baseIsOpen = false;
    } else if (day && candle.trades - day.trades > candle.seq - day.seq) {
      // It has more trades than there were: history of before the first one has come in, and with it a previous close.
      this.#ask(candle.symbol);
    }
    kept.day = candle;
    [line.volume, line.low, line.high] = [candle.volume, candle.low, candle.high];
    if (line.base === null || line.baseIsOpen) [line.base, line.baseIsOpen] = [candle.open, true];
    this.changed(candle.symbol);
  }

  /** Numbers begin again: what was known under the old ones does not hold back what comes under the new. */
  #reset(symbol: string): void {
    const kept = this.#kept.get(symbol);
    if (!kept) return;
    kept.tradeSeq = kept.quoteSeq = 0;
    kept.day = null;
    kept.line.base = null;
    this.#ask(symbol);
  }

  #ask(symbol: string): void {
    if (!this.#kept.has(symbol)) return;
    this.#due.add(symbol);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#read();
      void this.#describe();
    }, ASK_MS);
  }

  async #read(): Promise<void> {
    const symbols = [...this.#due].filter((symbol) => this.#kept.has(symbol));
    this.#due.clear();
    if (!symbols.length) return;
    const { signal } = this.#run;
    try {
      const ask = () => this.history.snapshots(symbols, signal);
      const found = await persistently(ask, signal, () => undefined);
      for (const symbol of symbols) {
        const snapshot = found[symbol];
        if (snapshot) this.#snapshot(snapshot);
        else this.#unknown(symbol, true);
      }
    } catch {
      // What is wrong for good with this request shows as dashes; live messages go on.
    }
  }

  #snapshot(snapshot: Snapshot): void {
    const { symbol, trade, quote, day, positions } = snapshot;
    const kept = this.#kept.get(symbol);
    if (!kept) return;
    const { line } = kept;
    line.unknown = false;
    if (snapshot.previous_close !== null && (!kept.day || !day || day.time >= kept.day.time)) {
      [line.base, line.baseIsOpen] = [snapshot.previous_close, false];
    }
    if (trade) this.#trade({ symbol, ...trade });
    if (quote) this.#quote({ symbol, ...quote });
    if (day) this.#day({ symbol, ...day, seq: positions.trades.seq });
    this.changed(symbol);
  }

  #unknown(symbol: string, unknown: boolean): void {
    const kept = this.#kept.get(symbol);
    if (!kept) return;
    kept.line.unknown = unknown;
    this.changed(symbol);
  }

  /** A few symbols are asked for one by one, many all at once. */
  async #describe(): Promise<void> {
    const symbols = [...this.#nameless].filter((symbol) => this.#kept.has(symbol));
    this.#nameless.clear();
    const { signal } = this.#run;
    try {
      if (symbols.length > FEW) {
        const ask = () => this.history.symbols("", ALL, signal);
        for (const meta of await persistently(ask, signal, () => undefined)) this.#named(meta);
      }
    } catch {
      // Then one by one.
    }
    const left = symbols.filter((symbol) => this.#kept.get(symbol)?.line.meta === null);
    await Promise.all(left.map((symbol) => this.#describeOne(symbol)));
  }

  async #describeOne(symbol: string): Promise<void> {
    const { signal } = this.#run;
    try {
      const ask = () => this.history.symbol(symbol, signal);
      this.#named(await persistently(ask, signal, () => undefined));
    } catch {
      this.#unknown(symbol, true);
    }
  }

  #named(meta: Metadata): void {
    const kept = this.#kept.get(meta.symbol);
    if (!kept) return;
    kept.line.meta = meta;
    this.changed(meta.symbol);
  }
}

function topics(symbol: string): Topic[] {
  return [
    { channel: "trades", symbol },
    { channel: "quotes", symbol },
    { channel: "candles", interval: "1d", symbol },
  ];
}

function empty(symbol: string, meta: Metadata | null): Line {
  return {
    ...{ symbol, meta, last: null, lastSize: null, direction: 0, moves: 0 },
    ...{ bid: null, bidSize: 0, ask: null, askSize: 0 },
    ...{ volume: null, low: null, high: null, base: null, baseIsOpen: false, unknown: false },
  };
}
