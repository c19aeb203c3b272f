/** Says of each line over the candles what it is and where it stands, and takes it away. */

import { percentSince } from "./compare";
import { h, setAttribute, setText, the } from "./dom";
import { NONE, price, signed } from "./format";
import type { Row } from "./candles";
import type { Overlay } from "./studies";

export interface Pointed {
  rows: readonly Row[];
  /** The row that is told of. */
  at: number;
  /** The first row in sight. */
  first: number;
}

export class OverlayLegend {
  #list = the("overlays");
  #values: HTMLElement[] = [];
  #overlays: Overlay[] = [];
  #own: string | null = null;

  constructor(private readonly remove: (overlay: Overlay) => void) {}

  /** These lines; `own` is the chart's symbol where they are compared with it. */
  show(overlays: Overlay[], own: string | null, errors: Map<string, string>): void {
    [this.#overlays, this.#own] = [overlays, own];
    const shape = JSON.stringify([own, overlays.map(({ key }) => key), [...errors]]);
    if (this.#list.dataset.shape === shape) return;
    this.#list.dataset.shape = shape;
    const items = overlays.map((overlay, at) => this.#item(overlay, at, errors.get(overlay.label)));
    if (own) items.unshift(h("li", { class: "own" }, h("span", {}, own), h("b", {}, NONE)));
    this.#list.replaceChildren(...items);
    this.#values = items.map((item) => item.querySelector("b")!);
    this.#list.hidden = items.length === 0;
  }

  draw({ rows, at, first }: Pointed, decimals: number): void {
    const percents = this.#own
      ? [
          (index: number) => rows[index]?.close,
          ...this.#overlays.map(
            ({ values }) =>
              (i: number) =>
                values[i],
          ),
        ]
      : [];
    percents.forEach((valueAt, index) => {
      const value = percentSince(valueAt, first, at);
      const element = this.#values[index]!;
      setText(element, value === null ? NONE : signed(value, 2, "%"));
      setAttribute(element, "data-way", value ? (value > 0 ? "up" : "down") : null);
    });
    if (this.#own) return;
    this.#overlays.forEach(({ values }, index) => {
      setText(this.#values[index]!, price(values[at] ?? null, decimals));
    });
  }

  #item(overlay: Overlay, at: number, error: string | undefined): HTMLElement {
    const attributes = { type: "button", "aria-label": `Remove ${overlay.label}`, title: "Remove" };
    return h(
      "li",
      { "data-line": at, title: error ?? overlay.title },
      h("span", { class: "swatch", "aria-hidden": "true" }),
      h("span", {}, error ? `${overlay.label}: ${error}` : overlay.label),
      h("b", {}, NONE),
      h("button", { ...attributes, onclick: () => this.remove(overlay) }, "×"),
    );
  }
}
