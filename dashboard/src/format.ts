/** Turns numbers and times into what people read. */

import type { Interval, Micros } from "./messages";

export const MINUS = "\u2212";
export const NONE = "\u2013";

const numbers = new Map<string, Intl.NumberFormat>();
const clocks = new Map<string, Intl.DateTimeFormat>();

function fixed(decimals: number): Intl.NumberFormat {
  const key = `fixed ${decimals}`;
  let made = numbers.get(key);
  if (!made) {
    made = new Intl.NumberFormat("en-US", {
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals,
    });
    numbers.set(key, made);
  }
  return made;
}

const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 4 });
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 6 });

/** How many decimals a price has whose step is `tickSize`. */
export function decimalsOf(tickSize: number | undefined): number {
  if (!tickSize || tickSize <= 0) return 2;
  for (let decimals = 0; decimals < 6; decimals += 1) {
    const scaled = tickSize * 10 ** decimals;
    if (Math.abs(scaled - Math.round(scaled)) < 1e-9) return decimals;
  }
  return 6;
}

export function price(value: number | null, decimals: number): string {
  return value === null ? NONE : fixed(decimals).format(value).replace("-", MINUS);
}

/** With its sign, which says without colour which way it went. */
export function signed(value: number | null, decimals: number, unit = ""): string {
  if (value === null) return NONE;
  const text = fixed(decimals).format(Math.abs(value));
  const isZero = Number(text.replaceAll(",", "")) === 0;
  return `${isZero ? "" : value > 0 ? "+" : MINUS}${text}${unit}`;
}

export function volume(value: number | null): string {
  if (value === null) return NONE;
  return value < 10_000 ? whole.format(value) : compact.format(value);
}

/** A label of the volume's axis: short, whatever the number. */
export function roughVolume(value: number): string {
  return compact.format(value);
}

export function size(value: number): string {
  return whole.format(value);
}

export type ZoneChoice = "exchange" | "local" | "utc";

/** The IANA name behind a choice. */
export function zoneName(choice: ZoneChoice, exchange: string): string {
  if (choice === "utc") return "UTC";
  return choice === "local" ? Intl.DateTimeFormat().resolvedOptions().timeZone : exchange;
}

function clock(zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${zone} ${JSON.stringify(options)}`;
  let made = clocks.get(key);
  if (!made) {
    made = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options });
    clocks.set(key, made);
  }
  return made;
}

const TIME = { hour: "2-digit", minute: "2-digit" } as const;
const TIME_S = { ...TIME, second: "2-digit" } as const;
const DAY = { weekday: "short", day: "numeric", month: "short", year: "numeric" } as const;

/** A candle's time as the legend and the crosshair show it: days without a time of day. */
export function candleTime(time: Micros, interval: Interval, zone: string, marketZone: string): string {
  const ms = time / 1000;
  if (interval.endsWith("d") || interval.endsWith("w")) return clock(marketZone, DAY).format(ms);
  const day = clock(zone, { weekday: "short", day: "numeric", month: "short" }).format(ms);
  return `${day} ${clock(zone, interval.endsWith("s") ? TIME_S : TIME).format(ms)}`;
}

/** A moment, to the second. */
export function moment(ms: number, zone: string): string {
  return clock(zone, TIME_S).format(ms);
}

/** How a zone is called at a moment: EST, GMT+1. */
export function zoneLabel(zone: string, ms: number): string {
  if (zone === "UTC") return "UTC";
  const options = { timeZone: zone, timeZoneName: "short" } as const;
  const parts = new Intl.DateTimeFormat("en-US", options).formatToParts(ms);
  return parts.find((part) => part.type === "timeZoneName")?.value ?? zone;
}

export type Mark = "year" | "month" | "day" | "time" | "second";

const MARKS: Record<Mark, Intl.DateTimeFormatOptions> = {
  year: { year: "numeric" },
  month: { month: "short" },
  day: { day: "numeric", month: "short" },
  time: TIME,
  second: TIME_S,
};

/** A label of the time axis. */
export function mark(seconds: number, kind: Mark, zone: string): string {
  return clock(zone, MARKS[kind]).format(seconds * 1000);
}

const offsets = new Map<string, number>();
const HOUR_S = 3600;

/** How far a zone is ahead of UTC at a moment, both in seconds; zones change at whole hours of UTC or halves of them. */
export function zoneOffset(seconds: number, zone: string): number {
  if (zone === "UTC") return 0;
  const half = Math.floor(seconds / (HOUR_S / 2));
  const key = `${zone} ${half}`;
  let offset = offsets.get(key);
  if (offset === undefined) {
    const options = { year: "numeric", month: "numeric", day: "numeric", ...TIME_S } as const;
    const parts = clock(zone, options).formatToParts(half * (HOUR_S / 2) * 1000);
    const at = (type: string) => Number(parts.find((part) => part.type === type)?.value ?? 0);
    const shown =
      Date.UTC(at("year"), at("month") - 1, at("day"), at("hour"), at("minute"), at("second")) / 1000;
    offset = shown - half * (HOUR_S / 2);
    if (offsets.size > 20_000) offsets.clear();
    offsets.set(key, offset);
  }
  return offset;
}

/** A trade's time of day, to the millisecond. */
export function preciseTime(time: Micros, zone: string): string {
  const ms = Math.floor(time / 1000);
  return `${clock(zone, TIME_S).format(ms)}.${String(((ms % 1000) + 1000) % 1000).padStart(3, "0")}`;
}
