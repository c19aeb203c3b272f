/** The newest trades of one symbol, newest first: history joined with live ones by number, and holes where something is missing; pure. */

import type { TradeMessage } from "./messages";

export type Trade = Pick<TradeMessage, "time" | "price" | "size" | "seq">;

/** How a trade compares with the one before it. */
export type Way = "up" | "down" | "same";

export interface Print extends Trade {
  way: Way;
}

/** Numbers that will not come. */
export interface Missing {
  from: number;
  to: number;
}

export type Entry = { print: Print } | { missing: Missing };

const KEPT = 200;

export class Tape {
  /** By number, the newest last. */
  #trades: Trade[] = [];
  #missing: Missing[] = [];

  /** Numbers begin again: the trades above one are withdrawn. */
  withdraw(above: number): void {
    this.#trades = this.#trades.filter(({ seq }) => seq <= above);
    this.#missing = this.#missing.filter(({ to }) => to <= above);
  }

  clear(): void {
    this.withdraw(0);
  }

  miss(missing: Missing): void {
    this.#missing = [...this.#missing.slice(-4), missing];
  }

  /** Trades from anywhere, in any order, each number once. */
  add(trades: readonly Trade[]): void {
    const newest = this.#trades.at(-1)?.seq ?? 0;
    const only = trades.length === 1 ? trades[0] : undefined;
    if (only && only.seq > newest) {
      this.#trades.push(only);
      // Not at every trade: each time the list is cut, all of it is moved.
      if (this.#trades.length > 2 * KEPT) this.#trades.splice(0, this.#trades.length - KEPT);
      return;
    }
    const known = new Map([...this.#trades, ...trades].map((trade) => [trade.seq, trade]));
    this.#trades = [...known.values()].sort((a, b) => a.seq - b.seq).slice(-KEPT);
  }

  get newest(): number {
    return this.#trades.at(-1)?.seq ?? 0;
  }

  /** The newest entries, newest first. */
  entries(count: number): Entry[] {
    const found: Entry[] = [];
    for (let at = this.#trades.length - 1; at >= 0 && found.length < count; at -= 1) {
      const [trade, before] = [this.#trades[at]!, this.#trades[at - 1]];
      found.push({ print: { ...trade, way: way(trade.price, before?.price) } });
      const hole = this.#missing.find(({ to }) => to < trade.seq && to > (before?.seq ?? 0));
      if (hole) found.push({ missing: hole });
    }
    return found.slice(0, count);
  }
}

function way(price: number, before: number | undefined): Way {
  if (before === undefined || price === before) return "same";
  return price > before ? "up" : "down";
}
