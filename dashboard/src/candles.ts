/** Joins candles of history with live ones, by position; pure. */

import type { Candle, CandleMessage, Interval, Micros, Position, TradeMessage } from "./messages";

/** A candle, and the trade number up to which it is known to be complete. */
export interface Row extends Candle {
  seq: number;
  /** Made here from trades, until the service says what the candle is. */
  folded?: boolean;
}

export type Changes = { all: true } | { all: false; rows: Row[] };

const SECOND = 1_000_000;
const UNITS: Record<string, number> = { s: SECOND, m: 60 * SECOND, h: 3600 * SECOND };

/** Of a fixed interval its width, of days and weeks (which a clock change makes longer or shorter) null. */
export function width(interval: Interval): Micros | null {
  const unit = UNITS[interval.slice(-1)];
  return unit === undefined ? null : Number(interval.slice(0, -1)) * unit;
}

/** Whether rows that stand at one position and messages that follow another leave nothing out between them. */
export function joins(rows: Position | null, live: Position): boolean {
  if (!rows || rows.seq < live.seq) return false;
  return live.seq === 0 || rows.epoch === live.epoch;
}

/** The candles of one symbol and interval, oldest first. */
export class CandleBook {
  readonly rows: Row[] = [];
  #width: Micros | null;
  #all = true;
  #changed = new Set<Micros>();
  /** Corrections of candles that are older than all that is loaded. */
  #early = new Map<Micros, CandleMessage>();
  /** The time of the newest trade that was folded, which decides whose price is the close. */
  #foldedAt = 0;

  constructor(interval: Interval) {
    this.#width = width(interval);
  }

  /** The newest page. Older rows are kept where the page reaches them without a hole, else they go. */
  begin(page: Candle[], position: Position | null, keep: boolean): void {
    const seq = position?.seq ?? 0;
    const first = page[0]?.time ?? Infinity;
    const kept = keep && this.reaches(page) ? this.rows.filter((row) => row.time < first) : [];
    this.rows.splice(0, this.rows.length, ...kept, ...page.map((candle) => ({ ...candle, seq })));
    this.#foldedAt = 0;
    this.#all = true;
  }

  /** Whether a page goes back to a closed candle that is here already, so that nothing can be missing between. */
  reaches(page: Candle[]): boolean {
    const first = page[0];
    if (!first || !this.rows.length) return !this.rows.length;
    const newestFinal = this.rows.findLast((row) => row.final)?.time ?? this.rows[0]!.time;
    return first.time <= newestFinal;
  }

  /** Older candles, in front of those that are here; at most those that are not. */
  prepend(page: Candle[]): void {
    const first = this.rows[0]?.time ?? Infinity;
    const older = page.filter((candle) => candle.time < first).map((candle) => ({ ...candle, seq: 0 }));
    this.rows.unshift(...older);
    this.#all = true;
    for (const [time, message] of this.#early) {
      if (older.length && time >= older[0]!.time) {
        this.#early.delete(time);
        this.live(message);
      }
    }
  }

  /** Let go of all but the newest rows; whether there were more. */
  keepNewest(count: number): boolean {
    if (this.rows.length <= count) return false;
    this.rows.splice(0, this.rows.length - count);
    this.#all = true;
    return true;
  }

  /** A live candle: of two with the same time the one with the higher number counts, at equal numbers the final one. */
  live(message: CandleMessage): void {
    const { time, open, high, low, close, volume, trades, vwap, final, seq } = message;
    if (this.rows.length && time < this.rows[0]!.time) {
      const early = this.#early.get(time);
      if (!early || early.seq <= seq) this.#early.set(time, message);
      return;
    }
    const at = this.firstAt(time);
    const row = this.rows[at];
    if (row?.time !== time) {
      this.rows.splice(at, 0, { time, open, high, low, close, volume, trades, vwap, final, seq });
      if (at < this.rows.length - 1) this.#all = true;
    } else if (seq > row.seq || (seq === row.seq && row.folded)) {
      this.rows[at] = { time, open, high, low, close, volume, trades, vwap, final, seq };
    } else if (final && !row.final) {
      // The row has every trade up to its number, so this candle has nothing more; that it is closed is new.
      this.rows[at] = { ...row, final };
    } else {
      return;
    }
    this.#changed.add(time);
  }

  /**
   * A live trade moves the forming candle before the service sends it, which it does some times a second. One that does not
   * follow the row's last trade is left to that: something between them is on another way, or not wanted.
   */
  trade({ time, price, size, seq }: TradeMessage): void {
    const last = this.rows.at(-1);
    if (!last || seq !== last.seq + 1 || time < last.time) return;
    const opened = this.#width === null ? last.time : time - (time % this.#width);
    if (opened > last.time) {
      const made = {
        time: opened,
        open: price,
        high: price,
        low: price,
        close: price,
        volume: size,
        trades: 1,
      };
      this.rows.push({ ...made, vwap: price, final: false, seq, folded: true });
    } else if (last.final) {
      return;
    } else {
      this.rows[this.rows.length - 1] = {
        ...last,
        high: Math.max(last.high, price),
        low: Math.min(last.low, price),
        close: time >= this.#foldedAt ? price : last.close,
        volume: last.volume + size,
        trades: last.trades + 1,
        vwap: last.vwap === null ? price : (last.vwap * last.volume + price * size) / (last.volume + size),
        seq,
        folded: true,
      };
    }
    this.#foldedAt = Math.max(this.#foldedAt, time);
    this.#changed.add(opened);
  }

  /** What has changed since the last time. */
  takeChanges(): Changes {
    const all = this.#all;
    const rows = all
      ? []
      : [...this.#changed].sort((a, b) => a - b).map((time) => this.rows[this.firstAt(time)]!);
    this.#all = false;
    this.#changed.clear();
    return all ? { all } : { all, rows };
  }

  /** The candle of a time, with its index. */
  at(time: Micros): { row: Row; index: number } | null {
    const index = this.firstAt(time);
    const row = this.rows[index];
    return row?.time === time ? { row, index } : null;
  }

  /** The index of the first row at or after a time. */
  firstAt(time: Micros): number {
    let low = 0;
    let high = this.rows.length;
    if (high && this.rows[high - 1]!.time < time) return high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.rows[middle]!.time < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
