/** Writes the requests behind what is on the screen, to be used elsewhere: REST and WebSocket, for a shell, JavaScript and Python; pure. */

import type { Interval, Micros } from "./messages";
import { EVERY_MS } from "./subscriptions";

export interface Screen {
  /** Of the service: http://host:port. */
  origin: string;
  symbol: string;
  interval: Interval;
  compare: string[];
  /** How many candles are in sight, and which: the newest, or those that open in [from, to). */
  count: number;
  range: { from: Micros; to: Micros } | null;
  tape: number;
  watchlist: string[];
}

export const LANGUAGES = ["curl", "JavaScript", "Python"] as const;
export type Language = (typeof LANGUAGES)[number];

export interface Snippet {
  title: string;
  door: "REST" | "WebSocket";
  code: Record<Language, string>;
}

const ROWS_MOST = 10_000;

export function snippets(screen: Screen): Snippet[] {
  const { symbol, interval, compare, watchlist } = screen;
  const charted = [symbol, ...compare];
  const named = (symbols: string[]) => symbols.join(",");
  return [
    ...charted.map((each) => candles(screen, each)),
    stream(screen, `Candles of ${named(charted)}, live`, {
      ...{ channel: "candles", interval, symbols: charted },
    }),
    trades(screen),
    stream(screen, `Every trade of ${symbol}, live`, { channel: "trades", symbols: [symbol] }),
    stream(screen, `Every quote of ${symbol}, live`, { channel: "quotes", symbols: [symbol] }),
    ...(watchlist.length ? watched(screen) : []),
  ];
}

function candles(screen: Screen, symbol: string): Snippet {
  const { interval, range, count } = screen;
  const limit = Math.min(Math.max(count, 1), ROWS_MOST);
  const query: Record<string, string> = {
    interval,
    ...(range ? { start: String(range.from), end: String(range.to), limit: String(ROWS_MOST) } : {}),
    ...(range ? {} : { limit: String(limit), forming: "true" }),
  };
  const span = range ? `start=${range.from}, end=${range.to}` : `limit=${limit}, forming=True`;
  const python = `await market.candles("${symbol}", "${interval}", ${span})`;
  return rest(screen, `Candles of ${symbol}, as shown`, `candles/${symbol}`, query, python);
}

function trades(screen: Screen): Snippet {
  const python = `await market.trades("${screen.symbol}", limit=${screen.tape})`;
  const query = { limit: String(screen.tape) };
  return rest(screen, `The newest trades of ${screen.symbol}`, `trades/${screen.symbol}`, query, python);
}

function watched(screen: Screen): Snippet[] {
  const symbols = screen.watchlist;
  const python = `(await market.snapshots([${quoted(symbols)}])).values()`;
  const query = { symbols: symbols.join(",") };
  const latest = { deliver: "latest", every_ms: EVERY_MS.latest };
  return [
    rest(screen, "The watchlist", "snapshots", query, python),
    stream(screen, "The watchlist's last prices, live", { channel: "trades", symbols, ...latest }),
  ];
}

function rest(
  { origin }: Screen,
  title: string,
  path: string,
  query: Record<string, string>,
  python: string,
): Snippet {
  const url = `${origin}/v1/${path}?${search(query)}`;
  return {
    ...{ title, door: "REST" },
    code: {
      curl: `curl '${url}'`,
      JavaScript: `const answer = await fetch("${url}");\nconst rows = await answer.json();`,
      Python: program(origin, [`for row in ${python}:`, "    print(row)"]),
    },
  };
}

interface Wanted {
  channel: string;
  symbols: string[];
  interval?: string;
  deliver?: string;
  every_ms?: number;
}

function stream({ origin }: Screen, title: string, wanted: Wanted): Snippet {
  const { channel, symbols, interval, deliver, every_ms } = wanted;
  const query = {
    channel,
    ...(interval ? { interval } : {}),
    symbols: symbols.join(","),
    ...(deliver ? { deliver, every_ms: String(every_ms) } : {}),
  };
  const url = `${origin.replace(/^http/, "ws")}/v1/stream?${search(query)}`;
  const more = [
    ...(interval ? [`"${interval}"`] : []),
    ...(deliver ? [`deliver="${deliver}"`, `every_ms=${every_ms}`] : []),
  ];
  const named = [`"${channel}"`, `[${quoted(symbols)}]`, ...more].join(", ");
  return {
    ...{ title, door: "WebSocket" },
    code: {
      curl: `curl -N '${url}'`,
      JavaScript: `const socket = new WebSocket("${url}");\nsocket.onmessage = ({ data }) => console.log(JSON.parse(data));`,
      Python: program(origin, [`async for event in market.subscribe(${named}):`, "    print(event)"]),
    },
  };
}

function program(origin: string, lines: string[]): string {
  return [
    "import asyncio",
    "import ticker.client",
    "",
    "",
    "async def main():",
    `    async with ticker.client.connect("${origin}") as market:`,
    ...lines.map((line) => `        ${line}`),
    "",
    "",
    "asyncio.run(main())",
  ].join("\n");
}

function search(query: Record<string, string>): string {
  return new URLSearchParams(query).toString().replaceAll("%2C", ",");
}

function quoted(symbols: string[]): string {
  return symbols.map((symbol) => `"${symbol}"`).join(", ");
}
