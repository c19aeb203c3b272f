/** Keeps the candles of the symbols that are compared with the chart's, as far back as the chart's go. */

import { Comparison } from "./compare";
import type { History } from "./history";
import type { Interval, Micros } from "./messages";
import { Series } from "./series";
import type { Stream } from "./stream";

interface Kept {
  series: Series;
  comparison: Comparison;
}

export class Compared {
  #kept = new Map<string, Kept>();
  #interval: Interval | null = null;
  #oldest: Micros = Infinity;

  constructor(
    private readonly stream: Stream,
    private readonly history: History,
    private readonly changed: () => void,
  ) {}

  /** Compare with these and no others; their lines, in order. */
  set(symbols: string[], interval: Interval): Comparison[] {
    if (interval !== this.#interval) this.#oldest = Infinity;
    for (const [symbol, { series }] of this.#kept) {
      if (interval === this.#interval && symbols.includes(symbol)) continue;
      series.close();
      this.#kept.delete(symbol);
    }
    this.#interval = interval;
    return symbols.map((symbol) => {
      const kept = this.#kept.get(symbol) ?? this.#open(symbol, interval);
      this.#kept.set(symbol, kept);
      // A line that is set anew is made from all its candles.
      return kept.comparison;
    });
  }

  /** The chart's oldest candle: what is compared goes back as far. */
  reach(oldest: Micros): void {
    this.#oldest = oldest;
    for (const { series } of this.#kept.values()) this.#follow(series);
  }

  /** What went wrong with one of them for good. */
  get errors(): Map<string, string> {
    const wrong = [...this.#kept].filter(([, { series }]) => series.error && !series.error.passing);
    return new Map(wrong.map(([symbol, { series }]) => [symbol, series.error!.message]));
  }

  #open(symbol: string, interval: Interval): Kept {
    const events = {
      changed: () => {
        this.#follow(series);
        this.changed();
      },
      state: this.changed,
    };
    // Some times a second is enough for a line of closes.
    const series: Series = new Series(symbol, interval, this.stream, this.history, events, false);
    return { series, comparison: new Comparison(symbol, series.book) };
  }

  #follow(series: Series): void {
    const first = series.book.rows[0];
    if (first && first.time > this.#oldest && series.hasOlder && !series.loadingOlder)
      void series.loadOlder();
  }
}
