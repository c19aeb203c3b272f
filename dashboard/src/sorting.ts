/** Puts the watchlist's lines in order; pure. */

import { derived } from "./board";
import type { Line } from "./board";
import type { Column, Sort } from "./state";

/** Symbols by a column, what has no value last in either direction; in one's own order where nothing is sorted. */
export function sorted(
  symbols: string[],
  sort: Sort | null,
  line: (symbol: string) => Line | undefined,
): string[] {
  if (!sort) return symbols;
  const sign = sort.descending ? -1 : 1;
  const { column } = sort;
  if (column === "symbol") return [...symbols].sort((a, b) => sign * a.localeCompare(b, "en"));
  const values = new Map(symbols.map((symbol) => [symbol, value(line(symbol), column)]));
  return [...symbols].sort((a, b) => {
    const [left, right] = [values.get(a) ?? null, values.get(b) ?? null];
    if (left === null || right === null) return left === right ? 0 : left === null ? 1 : -1;
    return sign * (left - right);
  });
}

function value(line: Line | undefined, column: Exclude<Column, "symbol">): number | null {
  if (!line) return null;
  return column === "change" || column === "percent" ? derived(line)[column] : line[column];
}
