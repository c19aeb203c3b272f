/** The small line of the last 24 hours that stands beside a symbol: its closes of every quarter of an hour; pure. */

import type { Candle, Micros } from "./messages";

export const SPARK_INTERVAL = "15m";
export const SPARK_CANDLES = 96;
const STEP = 15 * 60 * 1_000_000;
const SPAN = SPARK_CANDLES * STEP;
/** A newest candle that is older than this belongs to a recording or a closed market: now is not its time. */
const LIVE = SPAN;

export interface Point {
  time: Micros;
  price: number;
}

/** What there is to draw: a path in a box, the height of the base in it (null outside), and which side of it the line ends. */
export interface Drawing {
  path: string;
  base: number | null;
  way: "up" | "down" | null;
}

export class Spark {
  #points: Point[] = [];

  /** History; what came live meanwhile and is newer stays. */
  begin(candles: readonly Candle[]): void {
    const newest = candles.at(-1)?.time ?? 0;
    const later = this.#points.filter(({ time }) => time > newest);
    this.#points = [...candles.map(({ time, close }) => ({ time, price: close })), ...later];
    this.#trim();
  }

  /** The last price, at this moment of the service. */
  price(price: number, now: Micros): void {
    const last = this.#points.at(-1);
    const time = now - (now % STEP);
    if (last && time > last.time && now - last.time < LIVE) {
      this.#points.push({ time, price });
      this.#trim();
    } else if (last) {
      last.price = price;
    }
  }

  get points(): readonly Point[] {
    return this.#points;
  }

  /** `base` is what the day's change is counted from. */
  draw(width: number, height: number, base: number | null): Drawing | null {
    const points = this.#points;
    const last = points.at(-1);
    if (!last || points.length < 2) return null;
    const prices = points.map(({ price }) => price);
    const [least, most] = [Math.min(...prices), Math.max(...prices)];
    const start = last.time - SPAN + STEP;
    // The line is one and a half wide: it keeps off the edges.
    const y = (price: number) => 1 + (height - 2) * (most === least ? 0.5 : (most - price) / (most - least));
    const x = (time: Micros) => (width * Math.max(time - start, 0)) / (SPAN - STEP);
    const at = points.map(({ time, price }) => `${x(time).toFixed(1)} ${y(price).toFixed(1)}`);
    const way = base === null || last.price === base ? null : last.price > base ? "up" : "down";
    return {
      path: `M${at.join("L")}`,
      base: base !== null && base >= least && base <= most ? y(base) : null,
      way,
    };
  }

  #trim(): void {
    const newest = this.#points.at(-1)?.time ?? 0;
    this.#points = this.#points.filter(({ time }) => time > newest - SPAN).slice(-SPARK_CANDLES);
  }
}
