/** Writes what the chart shows as CSV, and names the files; pure. */

import type { Row } from "./candles";
import type { Interval, Micros } from "./messages";
import type { Overlay } from "./studies";

const COLUMNS = ["open", "high", "low", "close", "volume", "trades", "vwap", "final"] as const;

/** The rows from `first` to `last`, with a column for each line over them; times in UTC and in microseconds. */
export function csv(rows: readonly Row[], first: number, last: number, overlays: readonly Overlay[]): string {
  const head = ["time", "time_us", ...COLUMNS, ...overlays.map(({ label }) => label)];
  const lines = rows.slice(first, last + 1).map((row, index) => {
    const values = overlays.map(({ values }) => values[first + index] ?? null);
    return [iso(row.time), row.time, ...COLUMNS.map((name) => row[name]), ...values.map(rounded)];
  });
  return [head, ...lines].map((cells) => cells.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** AAPL-1m-20251124T2345.csv: the last candle's time, which sorts. */
export function fileName(symbols: string[], interval: Interval, last: Micros, ending: string): string {
  const time = new Date(last / 1000).toISOString().replace(/[-:]/g, "").slice(0, 15);
  return `${symbols.join("-")}-${interval}-${time}.${ending}`;
}

function iso(time: Micros): string {
  return new Date(time / 1000).toISOString().replace(".000Z", "Z");
}

/** An average has as many decimals as a price may have. */
function rounded(value: number | null): number | null {
  return value === null ? null : Math.round(value * 1e6) / 1e6;
}

function cell(value: string | number | boolean | null): string {
  const text = value === null ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
