/** The interval switch: radio buttons in effect, in a row. */

import { h, setAttribute } from "./dom";
import { DIGITS } from "./keys";
import { INTERVALS } from "./messages";
import type { Interval } from "./messages";

const NAMES: Record<string, string> = { s: "second", m: "minute", h: "hour", d: "day", w: "week" };

export class Intervals {
  #buttons: Map<Interval, HTMLButtonElement>;

  constructor(container: HTMLElement, pick: (interval: Interval) => void) {
    this.#buttons = new Map(INTERVALS.map((interval) => [interval, button(interval, pick)]));
    container.append(...this.#buttons.values());
    // One stop for Tab, arrows within, as radio buttons have it.
    container.addEventListener("keydown", (event) => {
      const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
      const from = INTERVALS.findIndex((interval) => this.#buttons.get(interval) === document.activeElement);
      if (!by || from < 0) return;
      event.preventDefault();
      const next = INTERVALS[(from + by + INTERVALS.length) % INTERVALS.length]!;
      pick(next);
      this.#buttons.get(next)!.focus();
    });
  }

  select(selected: Interval): void {
    for (const [interval, element] of this.#buttons) {
      setAttribute(element, "aria-checked", String(interval === selected));
      element.tabIndex = interval === selected ? 0 : -1;
    }
    this.#buttons.get(selected)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

function button(interval: Interval, pick: (interval: Interval) => void): HTMLButtonElement {
  const count = Number(interval.slice(0, -1));
  const name = `${count} ${NAMES[interval.slice(-1)]}${count > 1 ? "s" : ""}`;
  const key = Object.keys(DIGITS).find((digit) => DIGITS[digit] === interval);
  const attributes = {
    type: "button",
    role: "radio",
    "aria-label": name,
    title: key ? `${name} (${key})` : name,
  };
  return h("button", { ...attributes, onclick: () => pick(interval) }, interval);
}
