/** What the keys do, as a table that the page acts on and the help shows. */

import type { Interval } from "./messages";

/** The nine intervals that people change between most. */
export const DIGITS: Record<string, Interval> = {
  1: "1s",
  2: "15s",
  3: "1m",
  4: "5m",
  5: "15m",
  6: "1h",
  7: "4h",
  8: "1d",
  9: "1w",
};

export interface Keys {
  interval: (interval: Interval) => void;
  neighbour: (by: number) => void;
  step: (by: number) => void;
  zoom: (factor: number) => void;
  newest: () => void;
  search: () => void;
  code: () => void;
  help: () => void;
  escape: () => void;
}

export const HELP: [keys: string[], what: string][] = [
  [["↑", "↓"], "The symbol above or below in the watchlist"],
  [["←", "→"], "Read the chart candle by candle; with Shift, ten"],
  [["1", "…", "9"], Object.values(DIGITS).join(", ")],
  [["+", "−"], "Zoom the chart"],
  [["End"], "Back to the newest candle"],
  [["/"], "Search symbols"],
  [["c"], "The code behind this screen"],
  [["Alt", "↑ ↓"], "Move the watchlist's focused row"],
  [["Delete"], "Remove the watchlist's focused row"],
  [["Esc"], "Leave the search, hide the crosshair"],
  [["?"], "This help"],
];

/** Do what a key stands for; false where it stands for nothing. */
export function press(event: Pick<KeyboardEvent, "key" | "shiftKey">, keys: Keys): boolean {
  const steps = event.shiftKey ? 10 : 1;
  const actions: Record<string, () => void> = {
    ArrowUp: () => keys.neighbour(-1),
    ArrowDown: () => keys.neighbour(1),
    ArrowLeft: () => keys.step(-steps),
    ArrowRight: () => keys.step(steps),
    "+": () => keys.zoom(1 / 1.5),
    "=": () => keys.zoom(1 / 1.5),
    "-": () => keys.zoom(1.5),
    End: keys.newest,
    "/": keys.search,
    c: keys.code,
    "?": keys.help,
    Escape: keys.escape,
  };
  const interval = DIGITS[event.key];
  const action = interval ? () => keys.interval(interval) : actions[event.key];
  action?.();
  return action !== undefined;
}

/** Whether a key pressed there belongs to the element itself: text is typed, a choice is made. */
export function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof Element &&
    target.closest("input, select, textarea, dialog[open], :popover-open") !== null
  );
}
