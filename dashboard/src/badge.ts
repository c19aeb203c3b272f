/** Decides what the badge says of the connection, and keeps what happened on it; pure. */

import type { Message, Micros, Service } from "./messages";
import type { Phase } from "./stream";

export type BadgeState = "connecting" | "live" | "stale" | "resuming" | "offline";

export interface Condition {
  phase: Phase;
  /** It has been live before. */
  wasLive: boolean;
  /** All that is shown is joined to live messages. */
  joined: boolean;
  stale: Service[];
}

export function badgeState({ phase, wasLive, joined, stale }: Condition): BadgeState {
  if (phase === "offline") return "offline";
  if (phase === "connecting") return wasLive ? "offline" : "connecting";
  if (!joined) return wasLive ? "resuming" : "connecting";
  return stale.length ? "stale" : "live";
}

export const LABELS: Record<BadgeState, string> = {
  connecting: "Connecting",
  live: "Live",
  stale: "Stale",
  resuming: "Resuming",
  offline: "Offline",
};

const NAMED = 4;
const REASONS: Record<string, string> = {
  store: "the store does not answer",
  ingest: "nothing comes from the ingester",
  feed: "a feed is silent",
};

/** What stands still, for people. */
export function staleText({ reason, symbols }: Service): string {
  const text = REASONS[reason] ?? reason;
  return symbols?.length ? `${text} (${listed(symbols)})` : text;
}

/** Reasons for which the service is stale, kept from its messages. */
export class Staleness {
  #reasons = new Map<string, Service>();

  take(message: Message): boolean {
    if (message.type === "welcome") this.#reasons.clear();
    else if (message.type !== "service") return false;
    else if (message.state === "stale") this.#reasons.set(message.reason, message);
    else this.#reasons.delete(message.reason);
    return true;
  }

  get now(): Service[] {
    return [...this.#reasons.values()];
  }
}

export interface Happening {
  at: Micros | null;
  text: string;
  serious: boolean;
  /** What has befallen these symbols, in words that go before their names. */
  symbols?: { what: string; names: string[] };
}

/** What a message means for people; null where it is no event. */
export function happening(message: Message): Happening | null {
  switch (message.type) {
    case "gap": {
      const [first, last] = [message.from, message.to];
      const numbers = first === last ? `number ${first} is` : `numbers ${first} to ${last} are`;
      const text = `${message.symbol}: ${message.channel}, ${numbers} missing (${message.reason})`;
      return {
        at: null,
        text,
        serious: true,
        symbols: { what: "Ticks are missing", names: [message.symbol] },
      };
    }
    case "reset": {
      const text = `${message.symbol}: ${message.channel} are numbered anew after ${message.seq}`;
      const what = "The store began anew, and with it the numbers of ticks";
      return { at: null, text, serious: true, symbols: { what, names: [message.symbol] } };
    }
    case "service":
      if (message.state === "live")
        return { at: message.time, text: `Live again (${message.reason})`, serious: false };
      return { at: message.time, text: `Stale: ${staleText(message)}`, serious: true };
    case "slow":
      return { at: null, text: "This page does not keep up with the messages", serious: true };
    case "error":
      return { at: null, text: `Refused: ${message.message}`, serious: true };
    default:
      return null;
  }
}

/** Two events as one, where they are of a kind; null where they are not. */
export function together(earlier: Happening, later: Happening): Happening | null {
  if (!earlier.symbols || !later.symbols || earlier.symbols.what !== later.symbols.what) return null;
  const { what } = earlier.symbols;
  const names = [...new Set([...earlier.symbols.names, ...later.symbols.names])];
  return { ...later, text: `${what}: ${listed(names)}`, symbols: { what, names } };
}

function listed(names: string[]): string {
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : "";
  return names.slice(0, NAMED).join(", ") + more;
}
