/** What the service says and is asked over the WebSocket, in the words of its contract; unknown fields are ignored. */

export const INTERVALS = [
  "1s",
  "5s",
  "15s",
  "30s",
  "1m",
  "5m",
  "15m",
  "30m",
  "1h",
  "4h",
  "1d",
  "1w",
] as const;
export type Interval = (typeof INTERVALS)[number];
export type Channel = "trades" | "quotes" | "candles";

/** Microseconds since the Unix epoch, UTC. */
export type Micros = number;

/** Everything up to `seq` and nothing after. */
export interface Position {
  epoch: string | null;
  seq: number;
}

/** One thing that can be subscribed to. */
export interface Topic {
  channel: Channel;
  interval?: Interval;
  symbol: string;
}

export interface Candle {
  time: Micros;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  trades: number;
  vwap: number | null;
  final: boolean;
}

export interface Welcome {
  type: "welcome";
  connection: string;
  heartbeat_ms: number;
  time: Micros;
  timezone?: string;
}

export interface Subscribed {
  type: "subscribed";
  id?: number;
  channel: Channel;
  interval?: Interval;
  /** With `recovered` where a position to resume from was given: whether everything after it will come. */
  positions: Record<string, Position & { recovered?: boolean }>;
  errors: { symbol: string; code: string }[];
}

export interface TradeMessage {
  type: "trade";
  symbol: string;
  price: number;
  size: number;
  time: Micros;
  seq: number;
  snapshot?: boolean;
}

export interface QuoteMessage {
  type: "quote";
  symbol: string;
  bid: number | null;
  bid_size: number;
  ask: number | null;
  ask_size: number;
  time: Micros;
  seq: number;
  snapshot?: boolean;
}

export interface CandleMessage extends Candle {
  type: "candle";
  symbol: string;
  interval: Interval;
  seq: number;
  snapshot?: boolean;
}

export interface Gap {
  type: "gap";
  channel: Channel;
  interval?: Interval;
  symbol: string;
  from: number;
  to: number;
  reason: string;
}

export interface Reset {
  type: "reset";
  channel: Channel;
  interval?: Interval;
  symbol: string;
  epoch: string | null;
  seq: number;
}

export interface Service {
  type: "service";
  state: "stale" | "live";
  reason: string;
  time: Micros;
  symbols?: string[];
}

export interface ErrorMessage {
  type: "error";
  id?: number;
  code: string;
  message: string;
  retry: boolean;
}

export type Message =
  | Welcome
  | Subscribed
  | TradeMessage
  | QuoteMessage
  | CandleMessage
  | Gap
  | Reset
  | Service
  | ErrorMessage
  | { type: "heartbeat"; time: Micros; sent: number }
  | { type: "pong"; id?: number; time: Micros }
  | { type: "slow"; queued_bytes: number; action: string }
  | { type: "unsubscribed"; id?: number };

export type Tick = TradeMessage | QuoteMessage | CandleMessage;

const KNOWN = new Set([
  ...[
    "welcome",
    "subscribed",
    "unsubscribed",
    "trade",
    "quote",
    "candle",
    "gap",
    "reset",
    "service",
    "error",
  ],
  ...["heartbeat", "pong", "slow"],
]);

/** A message from its text; null where it is of a kind that is not known here, or no message at all. */
export function parse(text: string): Message | null {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof found !== "object" || found === null || !("type" in found)) return null;
  return typeof found.type === "string" && KNOWN.has(found.type) ? (found as Message) : null;
}

/** The topic as one text, to look things up by. */
export function topicKey(topic: Topic): string {
  return `${topic.channel} ${topic.interval ?? ""} ${topic.symbol}`;
}

/** The topic that a tick came on. */
export function topicOf(tick: Tick): Topic {
  if (tick.type === "candle") return { channel: "candles", interval: tick.interval, symbol: tick.symbol };
  return { channel: tick.type === "trade" ? "trades" : "quotes", symbol: tick.symbol };
}

export function isInterval(text: string | null): text is Interval {
  return INTERVALS.some((interval) => interval === text);
}
