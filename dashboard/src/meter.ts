/** Measures what arrives: how late ticks are and how many come a second; pure, times in milliseconds. */

const WINDOW_MS = 5_000;
const BUCKET_MS = 500;
const TRIPS = 8;
/** Ticks older than this are a recording that is played with its own times, not a slow connection. */
const RECORDING_MS = 600_000;

interface Bucket {
  at: number;
  count: number;
  lags: number[];
}

export class Meter {
  #buckets: Bucket[] = [];
  #trips: { ms: number; ahead: number }[] = [];
  #ahead: number | null = null;
  #started = 0;

  /** A new connection: what was counted on the old one says nothing of it. */
  begin(now: number): void {
    this.#buckets = [];
    this.#trips = [];
    this.#started = now;
  }

  /** What a ping tells: the server's clock was `server` somewhere between. The quickest of the last answers is the most exact. */
  pong(sent: number, received: number, server: number): void {
    this.#trips.push({ ms: received - sent, ahead: server - (sent + received) / 2 });
    if (this.#trips.length > TRIPS) this.#trips.shift();
    this.#ahead = this.#trips.reduce((best, trip) => (trip.ms < best.ms ? trip : best)).ahead;
  }

  /** By how much the server's clock is ahead of the one that the times here come from; null before the first answer. */
  get aheadMs(): number | null {
    return this.#ahead;
  }

  get roundTripMs(): number | null {
    return this.#trips.at(-1)?.ms ?? null;
  }

  /** Enough answers have come for the clocks to be compared well. */
  get isSure(): boolean {
    return this.#trips.length >= TRIPS / 2;
  }

  /** One message; `time` is its tick's, null where it has none or may be old on purpose. */
  count(now: number, time: number | null): void {
    let bucket = this.#buckets.at(-1);
    if (!bucket || now - bucket.at >= BUCKET_MS) {
      bucket = { at: now, count: 0, lags: [] };
      this.#buckets.push(bucket);
      while (this.#buckets[0]!.at < now - WINDOW_MS) this.#buckets.shift();
    }
    bucket.count += 1;
    if (time !== null && this.#ahead !== null && bucket.lags.length < 200)
      bucket.lags.push(now + this.#ahead - time);
  }

  /** Messages a second, over the last few. */
  rate(now: number): number {
    const recent = this.#buckets.filter((bucket) => bucket.at >= now - WINDOW_MS);
    const count = recent.reduce((sum, bucket) => sum + bucket.count, 0);
    return (count * 1000) / Math.min(WINDOW_MS, Math.max(now - this.#started, 1000));
  }

  /** The middle age of the last ticks on arrival, by the server's clock; null where none can be given. */
  lagMs(now: number): number | null {
    const lags = this.#buckets
      .filter((bucket) => bucket.at >= now - WINDOW_MS)
      .flatMap((bucket) => bucket.lags);
    lags.sort((a, b) => a - b);
    const middle = lags[lags.length >> 1];
    return middle === undefined || middle > RECORDING_MS ? null : Math.max(0, middle);
  }
}
