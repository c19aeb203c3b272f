/** What is remembered: where one is looking stands in the address, what one keeps is stored in the browser; pure but for `Memory`. */

import type { ZoneChoice } from "./format";
import { isInterval } from "./messages";
import type { Interval } from "./messages";
import { COMPARED_MOST } from "./compare";
import { distinct, readStudy, studyKey } from "./studies";
import type { Study } from "./studies";

export const COLUMNS = ["symbol", "last", "change", "percent", "bid", "ask", "volume"] as const;
export type Column = (typeof COLUMNS)[number];

export interface Sort {
  column: Column;
  descending: boolean;
}

export type Theme = "system" | "light" | "dark";

/** What the address says. */
export interface View {
  symbol: string | null;
  interval: Interval;
  zone: ZoneChoice;
  /** Null: in one's own order. */
  sort: Sort | null;
  studies: Study[];
  /** Other symbols on the same chart. */
  compare: string[];
}

export const DEFAULT_VIEW: View = {
  ...{ symbol: null, interval: "1m", zone: "exchange", sort: null },
  ...{ studies: [], compare: [] },
};

const SYMBOL = /^[A-Z0-9][A-Z0-9.-]{0,15}$/;

export function isSymbol(text: unknown): text is string {
  return typeof text === "string" && SYMBOL.test(text);
}

export function readView(search: string, fallback: View = DEFAULT_VIEW): View {
  const given = new URLSearchParams(search);
  const symbol = given.get("symbol")?.toUpperCase();
  const interval = given.get("interval");
  const zone = given.get("time");
  return {
    symbol: isSymbol(symbol) ? symbol : fallback.symbol,
    interval: isInterval(interval) ? interval : fallback.interval,
    zone: zone === "local" || zone === "utc" || zone === "exchange" ? zone : fallback.zone,
    sort: readSort(given.get("sort")),
    studies: given.has("studies") ? readStudies(given.get("studies")!) : fallback.studies,
    compare: readCompare(given.get("compare")),
  };
}

/** The query of an address that leads to a view; what is usual is left out. */
export function writeView(view: View): string {
  const query = new URLSearchParams();
  if (view.symbol) query.set("symbol", view.symbol);
  query.set("interval", view.interval);
  if (view.zone !== DEFAULT_VIEW.zone) query.set("time", view.zone);
  if (view.sort) query.set("sort", `${view.sort.descending ? "-" : ""}${view.sort.column}`);
  if (view.studies.length) query.set("studies", view.studies.map(studyKey).join(","));
  if (view.compare.length) query.set("compare", view.compare.join(","));
  return `?${query.toString().replaceAll("%2C", ",")}`;
}

function readStudies(text: string): Study[] {
  return distinct(text.split(",").flatMap((word) => readStudy(word) ?? []));
}

function readCompare(text: string | null): string[] {
  const symbols = (text ?? "").toUpperCase().split(",").filter(isSymbol);
  return [...new Set(symbols)].slice(0, COMPARED_MOST);
}

function readSort(text: string | null): Sort | null {
  const descending = text?.startsWith("-") ?? false;
  const column = COLUMNS.find((name) => name === (descending ? text?.slice(1) : text));
  return column ? { column, descending } : null;
}

/** A click on a column's head: numbers first fall, names first rise, the third click brings one's own order back. */
export function nextSort(sort: Sort | null, column: Column): Sort | null {
  const first = column !== "symbol";
  if (sort?.column !== column) return { column, descending: first };
  return sort.descending === first ? { column, descending: !first } : null;
}

/** The same symbols with one of them `by` places further down. */
export function moved(symbols: string[], symbol: string, by: number): string[] {
  const from = symbols.indexOf(symbol);
  const to = Math.min(Math.max(from + by, 0), symbols.length - 1);
  if (from < 0 || from === to) return symbols;
  const rest = symbols.filter((name) => name !== symbol);
  rest.splice(to, 0, symbol);
  return rest;
}

const WATCHLIST = "ticker.watchlist";
const THEME = "ticker.theme";
const LAST_VIEW = "ticker.view";

/** What the browser remembers; where it may not, nothing is. */
export class Memory {
  constructor(private readonly storage: () => Storage | null = ownStorage) {}

  /** Null where there never was a list: an emptied one stays empty. */
  get watchlist(): string[] | null {
    try {
      const found: unknown = JSON.parse(this.#read(WATCHLIST) ?? "null");
      return Array.isArray(found) ? [...new Set(found.filter(isSymbol))] : null;
    } catch {
      return null;
    }
  }

  set watchlist(symbols: string[] | null) {
    this.#write(WATCHLIST, JSON.stringify(symbols));
  }

  get theme(): Theme {
    const found = this.#read(THEME);
    return found === "light" || found === "dark" ? found : "system";
  }

  set theme(theme: Theme) {
    this.#write(THEME, theme);
  }

  get view(): View {
    return readView(this.#read(LAST_VIEW) ?? "");
  }

  set view(view: View) {
    this.#write(LAST_VIEW, writeView(view));
  }

  #read(key: string): string | null {
    try {
      return this.storage()?.getItem(key) ?? null;
    } catch {
      return null;
    }
  }

  #write(key: string, value: string): void {
    try {
      this.storage()?.setItem(key, value);
    } catch {
      // A full or forbidden storage costs the memory, not the page.
    }
  }
}

function ownStorage(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
