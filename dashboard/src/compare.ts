/** Other symbols beside the one on the chart: their closes at its candles' times, and how far each has come in per cent; pure. */

import type { CandleBook, Row } from "./candles";
import type { Overlay, Values } from "./studies";

export const COMPARED_MOST = 5;

/** The closes of another symbol's candles, at the times of this one's: the last before or at each. */
export class Comparison implements Overlay {
  readonly key: string;
  readonly title: string;
  values: Values = [];

  constructor(
    readonly label: string,
    private readonly book: CandleBook,
  ) {
    this.key = `compare ${label}`;
    this.title = `${label}, change since the first candle in sight`;
  }

  update(rows: readonly Row[], from: number): void {
    this.values.length = rows.length;
    const others = this.book.rows;
    const first = rows[from];
    if (!first) return;
    let next = this.book.firstAt(first.time);
    for (let at = from; at < rows.length; at += 1) {
      const { time } = rows[at]!;
      while (next < others.length && others[next]!.time <= time) next += 1;
      this.values[at] = others[next - 1]?.close ?? null;
    }
  }

  /** The first of the rows that what has changed in the other symbol's candles concerns; null where nothing has. */
  changedFrom(rows: CandleBook): number | null {
    const changes = this.book.takeChanges();
    if (changes.all) return 0;
    const first = changes.rows[0];
    return first ? rows.firstAt(first.time) : null;
  }
}

/** How far something has come at `at` since its first value at or after `first`, in per cent. */
export function percentSince(
  valueAt: (index: number) => number | null | undefined,
  first: number,
  at: number,
): number | null {
  const now = valueAt(at) ?? null;
  for (let index = Math.max(first, 0); index <= at; index += 1) {
    const base = valueAt(index) ?? null;
    if (base !== null) return now === null || !base ? null : (100 * (now - base)) / base;
  }
  return null;
}
