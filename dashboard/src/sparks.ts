/** Fetches the small lines of the symbols that are seen, a few at a time, and keeps them current from live prices. */

import type { Board } from "./board";
import { persistently } from "./history";
import type { History } from "./history";
import { Spark, SPARK_CANDLES, SPARK_INTERVAL } from "./spark";
import type { Phase, Stream } from "./stream";

const AT_ONCE = 3;
/** A connection that was lost for less leaves no hole that could be seen. */
const LONG_MS = 15 * 60_000;
/** Where there is no line yet, it is looked for again after so long: a young service may still be storing its history. */
const AGAIN_MS = [3_000, 10_000, 30_000, 60_000];

interface Kept {
  spark: Spark;
  state: "wanted" | "asked" | "here";
  asked: number;
}

export class Sparks {
  #kept = new Map<string, Kept>();
  #queue: string[] = [];
  #running = 0;
  #paused = true;
  #lostAt: number | null = null;
  #run = new AbortController();

  constructor(
    private readonly board: Board,
    private readonly history: History,
    stream: Stream,
    private readonly serverMs: () => number,
    private readonly changed: (symbol: string) => void,
  ) {
    stream.on((event) => {
      if (event.kind === "phase") this.#phase(event.phase);
    });
  }

  /** What matters more has been loaded. */
  begin(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#next();
  }

  /** The symbol's line, which is fetched where it is not here yet. */
  of(symbol: string): Spark {
    let kept = this.#kept.get(symbol);
    if (!kept) {
      kept = { spark: new Spark(), state: "wanted", asked: 0 };
      this.#kept.set(symbol, kept);
    }
    if (kept.state === "wanted") {
      kept.state = "asked";
      this.#queue.push(symbol);
      this.#next();
    }
    return kept.spark;
  }

  /** The symbol has a new last price, perhaps. */
  touch(symbol: string): void {
    const last = this.board.line(symbol)?.last ?? null;
    if (last !== null) this.#kept.get(symbol)?.spark.price(last, this.serverMs() * 1000);
  }

  forget(symbol: string): void {
    this.#kept.delete(symbol);
  }

  #phase(phase: Phase): void {
    if (phase === "offline") this.#lostAt ??= this.serverMs();
    if (phase !== "open" || this.#lostAt === null) return;
    if (this.serverMs() - this.#lostAt > LONG_MS) this.#stale();
    this.#lostAt = null;
  }

  /** While nothing came, prices were missed. */
  #stale(): void {
    for (const kept of this.#kept.values()) if (kept.state === "here") kept.state = "wanted";
  }

  #next(): void {
    while (!this.#paused && this.#running < AT_ONCE && this.#queue.length) {
      this.#running += 1;
      void this.#read(this.#queue.shift()!).finally(() => {
        this.#running -= 1;
        this.#next();
      });
    }
  }

  async #read(symbol: string): Promise<void> {
    const { signal } = this.#run;
    const ask = () => this.history.candles(symbol, SPARK_INTERVAL, { limit: SPARK_CANDLES }, signal);
    try {
      const page = await persistently(ask, signal, () => undefined);
      const kept = this.#kept.get(symbol);
      if (!kept) return;
      kept.spark.begin(page.candles);
      kept.state = "here";
      this.touch(symbol);
      this.changed(symbol);
      const againMs = page.candles.length < 2 ? AGAIN_MS[kept.asked] : undefined;
      kept.asked += 1;
      if (againMs !== undefined) setTimeout(() => (kept.state = "wanted"), againMs);
    } catch {
      // A symbol that is not known has no line; its row says so.
    }
  }
}
