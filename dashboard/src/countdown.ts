/** When a candle closes, and how long that is from now, in words; pure. */

import { width } from "./candles";
import { zoneOffset } from "./format";
import type { Interval, Micros } from "./messages";

const SECOND = 1_000_000;
const DAY_S = 86_400;
/** A symbol that has not been traded for so many candles has none that is about to close. */
const QUIET = 3;
/** The clocks of the service and of its feed need not agree to the last bit. */
const SKEW = 2 * SECOND;

/** The end of the candle that a moment falls into; days and weeks end at the market's midnight. */
export function closesAt(time: Micros, interval: Interval, marketZone: string): Micros {
  const fixed = width(interval);
  if (fixed !== null) return time - (time % fixed) + fixed;
  const seconds = Math.floor(time / SECOND);
  const day = Math.floor((seconds + zoneOffset(seconds, marketZone)) / DAY_S);
  // Day 4 of the epoch was a Monday.
  const next = interval === "1w" ? day + 7 - ((((day - 4) % 7) + 7) % 7) : day + 1;
  return midnight(next, marketZone) * SECOND;
}

/** The moment at which a day of a zone begins; the offset at that moment is not yet known, that of a guess nearly always is it. */
function midnight(day: number, zone: string): number {
  const guess = day * DAY_S - zoneOffset(day * DAY_S, zone);
  return day * DAY_S - zoneOffset(guess, zone);
}

/** How long the newest candle stays open; null where it is none of now: a recording, a closed market, a quiet symbol. */
export function remainingMs(
  newest: Micros | undefined,
  interval: Interval,
  marketZone: string,
  nowMs: number,
): number | null {
  if (newest === undefined) return null;
  const now = Math.floor(nowMs * 1000);
  const end = closesAt(Math.max(now, newest), interval, marketZone);
  const fixed = width(interval);
  const isNow =
    fixed === null ? closesAt(newest, interval, marketZone) === end : newest >= end - QUIET * fixed;
  return isNow && newest <= now + SKEW ? Math.max(0, (end - now) / 1000) : null;
}

/** 0:07, 59:59, 3:04:05, and above two days 2 d 3 h. */
export function durationText(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours >= 48) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  const tail = String(seconds % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}
